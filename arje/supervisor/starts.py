"""The verbs that start services, and what became of each: the service, the word of its result (None: as its state has it),
and what else the answer says. Timed services are armed where others would be started (timers.py has the rule)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

Became = tuple[Service, str | None, dict[str, Any]]

#: States in which a run by hand has something to start.
_IDLE: Final = frozenset({State.STOPPED, State.DONE, State.FAILED, State.BACKOFF})


async def start(supervisor: Supervisor, chosen: list[Service], who: str) -> list[Became]:
    """Start services and what they need; arm timed ones."""
    already = {s.label for s in chosen if s.is_up and s.state is not State.DONE and not s.card.timer}
    for service in chosen:
        if service.label not in already:
            supervisor.start(service.label, who)
    found: list[Became] = []
    for service in chosen:
        if service.card.timer:
            found.append(await armed(supervisor, service))
        else:
            word = "already" if service.label in already else None
            found.append((await supervisor.settled(service.label), word, {}))
    return found


async def trigger(supervisor: Supervisor, chosen: list[Service], who: str) -> list[Became]:
    """Run services now, timed or not; a timer stays armed or not as it is."""
    idle = {service.label for service in chosen if service.state in _IDLE or service.is_armed}
    for label in idle:
        supervisor.want(label, who)
    return [
        (await supervisor.settled(service.label), None, {}) if service.label in idle else (service, "already", {})
        for service in chosen
    ]


async def restart(supervisor: Supervisor, chosen: list[Service], who: str) -> list[Became]:
    """Stop and start services; of timed ones restart the run, or arm them when there is none."""
    only_armed = {s.label for s in chosen if s.card.timer and s.state not in WITH_PROCESS}
    for service in chosen:
        if service.label in only_armed:
            supervisor.start(service.label, who)
        else:
            supervisor.again(service.label, who)
    found: list[Became] = []
    for service in chosen:
        if service.label in only_armed:
            found.append(await armed(supervisor, service))
        else:
            found.append((await supervisor.settled_again(service), None, {}))
    return found


async def armed(supervisor: Supervisor, service: Service) -> Became:
    """Wait until it is known when an armed service is due, and tell."""
    await supervisor.timers.planned(service.label)
    return service, "armed", {"detail": supervisor.timers.due(service.label)}
