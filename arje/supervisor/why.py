"""Why a service is in its state: one causal chain, nearest cause first, across services and all kinds of edges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from arje.card.shelf import taken
from arje.service.faults import circle
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import wishes

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

#: Where a service is because it is wanted, whatever put it there in the end.
_ON: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING, State.BACKOFF, State.DONE})


def chain(supervisor: Supervisor, label: str) -> list[dict[str, Any]]:
    """Return the links of the chain as plain data. Raises NoSuchService."""
    table, found, seen = supervisor.table, list[dict[str, Any]](), set[str]()
    waiting = [(label, 0)]
    while waiting:
        name, depth = waiting.pop(0)
        service = table.get(name)
        if service.label in seen:
            continue
        mark = len(found)
        seen.add(service.label)
        who, detail = service.cause.who, service.cause.detail
        if service.state is State.WAITING:
            detail = "; ".join(filter(None, (detail, waits(supervisor, service))))
        if service.state is State.STOPPED and who == "cards.d" and service.card.enabled and service.card.hooked_to:
            detail = f"started by {', '.join(_hooks(supervisor, service))}"
        if service.state in _ON and who == "supervisor" and (wanted := wishes.words(supervisor, service)):
            detail = f"{detail}; {wanted}"
        detail = "; ".join(filter(None, (detail, supervisor.timers.words(service.label))))
        found.append(_link(service, who, detail))
        found += (_link(service, "cards.d", told) for told in broken(supervisor, service.label))
        found += (_link(service, "cards.d", told) for told in _namesakes(supervisor, service.label))
        found[mark:] = [link | {"depth": depth, "rule": ""} for link in found[mark:]]
        found[mark]["rule"] = _rule(supervisor, service)
        further = [who] if who in table else []
        if service.state is State.WAITING:
            further += (other for wait in supervisor.needs.waits(service.label) for other in wait.providers)
        waiting[:0] = [(other, depth + 1) for other in further]  # each link right below what it caused
    return found


def _rule(supervisor: Supervisor, service: Service) -> str:
    """Return the place in a card of what made it so: file, line and field; empty where no card says it."""
    source, field = service.card.source, ""
    if service.state is State.WAITING:
        field = next((wait.kind for wait in supervisor.needs.waits(service.label)), "")
    elif service.state is State.BACKOFF:
        field = "supervision.restart"
    elif service.failure is not None and service.state in (State.FAILED, State.STOPPING):
        field = service.failure.field or ("requires" if service.lost_dependency else "")
    elif service.state is State.STOPPED and service.card.masked:
        field = "masked"
    line = source.line_of(field) if field else 0
    return f"{source.file_of(field)}:{line}: {field}" if line else ""


def _link(service: Service, who: str, detail: str) -> dict[str, Any]:
    return {
        "label": service.label,
        "state": service.state.value,
        "who": who,
        "detail": detail,
        "wall": service.cause.wall,
    }


def _hooks(supervisor: Supervisor, service: Service) -> Iterator[str]:
    """Yield those that start a service which the manager does not start by itself."""
    for name in service.card.hooked_to:
        known = supervisor.graph.resolve(name, service.label)
        yield f"{name} ({supervisor.table.get(known[0]).state.value if known else 'no such service'})"


def _namesakes(supervisor: Supervisor, label: str) -> Iterator[str]:
    """Yield the files whose cards are left out because this service has their label, with the reason."""
    for problem in supervisor.problems:
        if problem.message.startswith(taken(label)):
            yield f"left out: {problem}"


def waits(supervisor: Supervisor, service: Service) -> str:
    """Return what a service waits for, by the rules of its card; empty when it is about to start."""
    told = [
        f"{wait.kind} {wait.name}{'' if wait.providers or wait.kind == 'conditions' else ' (no such service)'}"
        for wait in supervisor.needs.waits(service.label)
    ]
    if not told and service.awaits:
        return f"waits for {', '.join(service.awaits)}"
    return f"waits: {', '.join(dict.fromkeys(told))}" if told else ""


def broken(supervisor: Supervisor, label: str) -> list[str]:
    """Return the orders at a service that are not kept because they are part of a circle, in words."""
    return [
        f"the order of {edge} is not kept: {circle(supervisor.graph, cycle)}"
        for edge, cycle in supervisor.graph.mended.broken
        if label in (edge.first, edge.then)
    ]
