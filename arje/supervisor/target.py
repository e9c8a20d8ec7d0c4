"""Targets: a group and all that it pulls in runs, everything else stops (``arjectl target``, systemctl's isolate)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from arje.card.payload import Virtual
from arje.service.record import Service
from arje.service.state import STOP_WITH, State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_AT_REST: Final = frozenset({State.STOPPED, State.FAILED, State.DONE})


def is_target(service: Service) -> bool:
    """Whether a service is a group, which has no process of its own."""
    return isinstance(service.card.payload, Virtual)


async def switch(supervisor: Supervisor, label: str, who: str) -> list[Service]:
    """Start a target and stop all that it does not pull in, those first that come later; return what was stopped.

    Cards that ``ignore_isolate``, and what these need, stay. Raises NoSuchService.
    """
    table = supervisor.table
    ignoring = [s.label for s in table if s.card.ignore_isolate and s.state in STOP_WITH]
    keep = _kept(supervisor, [label, *ignoring])
    going = [s.label for s in table if s.label not in keep and _is_on(s)]
    supervisor.want(label, who)
    for service in table:
        if service.label not in keep and not service.card.ignore_isolate:
            supervisor.timers.disarm(service.label, who)
    async with trio.open_nursery() as nursery:
        for other in going:
            nursery.start_soon(_stop_in_turn, supervisor, other, frozenset(going), f"{who}: target {label}")
    return [table.get(other) for other in going if other in table]


async def clear(supervisor: Supervisor, label: str, who: str, *, everything: bool) -> list[Service]:
    """Stop all that a service does not need, those first that come later, before it is started; return what was stopped.

    Cards that ``ignore_isolate``, and what these need, stay, unless it is ``everything``.
    """
    table = supervisor.table
    ignoring = [s.label for s in table if not everything and s.card.ignore_isolate and s.state in STOP_WITH]
    keep = _kept(supervisor, [label, *ignoring])
    going = [s.label for s in table if s.label not in keep and _is_on(s)]
    for service in table:
        if service.label not in keep and (everything or not service.card.ignore_isolate):
            supervisor.timers.disarm(service.label, who)
    async with trio.open_nursery() as nursery:
        for other in going:
            nursery.start_soon(_stop_in_turn, supervisor, other, frozenset(going), f"{who}: {label}")
    return [table.get(other) for other in going if other in table]


def _is_on(service: Service) -> bool:
    """Whether a service is up, or will be by itself: what has failed or ended for good is left to be read."""
    return service.state not in _AT_REST or service.is_up or service.lacks_dependency


def _kept(supervisor: Supervisor, labels: list[str]) -> set[str]:
    """Return services, all that they pull in, and what they require that is up without being pulled in."""
    graph = supervisor.graph
    keep = set(graph.closure(labels, supervisor.needs.is_up))
    while True:
        more = {
            other
            for label in keep
            for requirement in graph.needs(label)
            if not requirement.pulls
            for other in graph.providers(requirement, label)
            if supervisor.needs.is_up(other)
        } - keep
        if not more:
            return keep
        keep |= set(graph.closure(more, supervisor.needs.is_up))


async def _stop_in_turn(supervisor: Supervisor, label: str, going: frozenset[str], who: str) -> None:
    for follower in supervisor.graph.followers(label):
        if follower in going:
            await supervisor.at_rest(follower)
    supervisor.unwant(label, who)
    await supervisor.at_rest(label)
