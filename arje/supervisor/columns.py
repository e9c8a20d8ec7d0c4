"""The table of ``arjectl status`` in columns: what there is to say of a thousand services, in as many bytes as it takes.

Most services are *plain*: they run as they were asked to, are done, or are disabled and never ran; a few figures say all
of them. The others come as ``List`` has them. What of a plain one does not change with time is remembered with the
record that says so: records are frozen, so that a new one means new columns, and the same one the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import snapshot

if TYPE_CHECKING:
    from arje.supervisor.host import Living
    from arje.supervisor.supervisor import Supervisor

#: The columns, as the type ``Columns`` of the interface has them; since_s and memory are read anew each time.
NAMES: Final = ("label", "description", "state", "pid", "ready", "restarts", "requested")
_WELL: Final = frozenset({State.RUNNING, State.DONE})

Plain = tuple[str, str, str, int | None, bool | None, int, int]


class Columns:
    """What is remembered of the plain services of one manager.

    ``froze`` are those that a hand has ever frozen: only they are asked, as each question to the kernel costs what a
    whole row does. A freeze by strangers is for ``status X`` to see.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.froze: set[str] = set()
        self._known: dict[str, tuple[Service, Plain | None]] = {}

    def told(self) -> dict[str, Any]:
        """Return the columns of the plain services, the others in brief, and the places of these among all."""
        supervisor, known = self._supervisor, self._known
        now, outcomes = supervisor.host.now(), supervisor.outcomes
        counts_memory = "memory" in supervisor.incarnator.capabilities.controllers
        plain: list[Plain] = []
        since: list[float] = []
        memory: list[int | None] = []
        others: list[dict[str, Any]] = []
        places: list[int] = []
        fresh: dict[str, tuple[Service, Plain | None]] = {}
        for place, service in enumerate(supervisor.table):
            label = service.label
            entry = known.get(label)
            if entry is None or entry[0] is not service:
                entry = (service, _plain(service))
            fresh[label] = entry
            outcome = outcomes.get(label)
            if entry[1] is None or (label in self.froze and outcome is not None and outcome.frozen):
                places.append(place)
                others.append(snapshot.brief(supervisor, service))
                continue
            plain.append(entry[1])
            since.append(round(now - service.since, 1))
            memory.append(_memory(outcome) if counts_memory and outcome is not None else None)
        self._known = fresh
        columns = zip(*plain, strict=True) if plain else ([] for _ in NAMES)
        named = {name: list(column) for name, column in zip(NAMES, columns, strict=True)}
        return {"plain": named | {"since_s": since, "memory": memory}, "others": others, "places": places}


def _plain(service: Service) -> Plain | None:
    """Return what is constant of a plain service; None for one of which there is more to say."""
    card, running = service.card, service.incarnation
    well = service.state in _WELL and service.cause.who != "condition"
    asleep = service.state is State.STOPPED and not card.enabled and service.last_exit is None and not service.wanted
    if asleep and (service.cause.who == "condition" or service.cause.detail.startswith("skipped: ")):
        return None
    if not (well or asleep) or service.degradations or card.masked or card.pinned or card.timer:
        return None
    if not all(grant.ok for grant in service.grants):
        return None
    pid = running.pid if running and not snapshot.has_no_process(service) else None
    return (
        service.label,
        card.description,
        service.state.value,
        pid,
        service.ready,
        service.restarts,
        len(service.grants),
    )


def _memory(outcome: Living) -> int | None:
    text = outcome.cgroup_file("memory.current")
    return int(text) if text and text.isdigit() else None
