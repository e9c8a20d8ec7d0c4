"""What a start or a stop would touch, without touching it: the answer of ``--dry-run``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

#: The verbs that can be asked about.
VERBS: Final = ("start", "stop", "restart", "try-restart", "reload", "reload-or-restart", "trigger")
_RUNS: Final = frozenset({*WITH_PROCESS, State.WAITING, State.BACKOFF})


def would(supervisor: Supervisor, verb: str, chosen: list[Service]) -> Iterator[dict[str, Any]]:
    """Yield each service that a verb would touch, once: what it feels, and to whom it owes that."""
    told = set[str]()
    for service in chosen:
        for label, feels, why in _of(supervisor, verb, service):
            if label not in told:
                told.add(label)
                yield {"label": label, "change": "keep", "feels": feels, "fields": [], "why": why}


def _of(supervisor: Supervisor, verb: str, service: Service) -> Iterator[tuple[str, str, str]]:
    label, runs = service.label, service.state in WITH_PROCESS
    if verb == "stop":
        yield from _stops(supervisor, service)
    elif verb == "try-restart" and not runs:
        yield label, "nothing", "it does not run"
    elif verb == "reload" or (verb == "reload-or-restart" and runs and service.card.supervision.reload):
        can = runs and service.card.supervision.reload
        yield label, "reloads" if can else "nothing", "" if can else "it does not run, or cannot"
    elif runs and verb in ("restart", "try-restart", "reload-or-restart"):
        for other in supervisor.graph.with_parts([label]):
            if other == label or _runs(supervisor, other):
                yield other, "restarts", "" if other == label else f"part of {label}"
    elif verb == "start" and service.card.timer:
        yield label, "arms", ""
    else:
        yield from _starts(supervisor, service)


def _starts(supervisor: Supervisor, service: Service) -> Iterator[tuple[str, str, str]]:
    table, label = supervisor.table, service.label
    closure = supervisor.graph.closure([label], supervisor.needs.is_up)
    for other in closure:
        found = table.get(other)
        if found.is_up or found.is_coming:
            if other == label:
                yield label, "nothing", f"it is {found.state.value} already"
            continue
        required = set(closure).intersection(supervisor.graph.dependents(other))
        timed = other != label and found.card.timer and not required  # as Supervisor.want has it
        yield other, "arms" if timed else "starts", "" if other == label else f"{label} needs it"
        for rival in supervisor.graph.rivals(other):
            if _runs(supervisor, rival):
                yield rival, "stops", f"it conflicts with {other}"


def _stops(supervisor: Supervisor, service: Service) -> Iterator[tuple[str, str, str]]:
    """Yield who stops, in that order: those that need it (without --force they keep it from stopping), then its parts."""
    label, table = service.label, supervisor.table
    if not _runs(supervisor, label):
        yield label, "nothing", f"it is {service.state.value}"
        return
    parts = [other for other in supervisor.graph.with_parts([label]) if other == label or _runs(supervisor, other)]
    for other in supervisor.graph.stopped_with(parts, lambda other: other != label and table.get(other).is_up):
        if other in parts:
            yield other, "stops", "" if other == label else f"part of {label}"
        elif table.get(other).state in WITH_PROCESS:
            yield other, "stops", f"it needs {label}: only with --force"


def _runs(supervisor: Supervisor, label: str) -> bool:
    return label in supervisor.table and supervisor.table.get(label).state in _RUNS
