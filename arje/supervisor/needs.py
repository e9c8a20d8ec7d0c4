"""What a service requires, and whether that is up, on its way, or lost. Reads the table and the graph; changes nothing.

A requirement is *on its way* while it starts, while it waits out a back-off, while it is between the two halves of a
restart, and while it waits for others that are on their way themselves. It is *lost* when too few of those who provide
it are up or on their way. A restart is therefore never felt, and a failure for good always is. One that is up without
the isolation that a requirement asks for is not good enough for that requirement, and is not on its way either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from arje.card.edges import Term
from arje.service.cycles import Edge, path
from arje.service.order import Graph
from arje.service.record import Failure, FailureReason, Service
from arje.service.requirement import Requirement, View, Wait
from arje.service.state import WITH_PROCESS, State
from arje.service.table import StateTable

_BECAME = {
    State.FAILED: "failed",
    State.DONE: "has ended",
    State.STOPPED: "is stopped",
    State.WAITING: "cannot start itself",
}


#: Without a hand or a recovery, nothing more comes of these; a one-shot that is done is up.
_OVER = frozenset({State.FAILED, State.DONE})

#: The waits that are about the services that they name, and nobody else.
_NEAR: Final = frozenset({"requires", "requisite", "required_by", "contracts", "waits_for", "conflicts", "conditions"})

#: What is said of live conditions between the wish for a service and the first look at them.
UNSEEN: Final = "the conditions have not been looked at yet"


@dataclass(frozen=True, slots=True)
class Loss:
    """A requirement of ``asker`` that is lost, the ``provider`` that is to blame, and what is ``wrong``."""

    asker: str
    requirement: Requirement
    provider: Service
    wrong: str

    @property
    def failure(self) -> Failure:
        """Why the one who required it has failed."""
        rule = (
            f"it does not start again by itself: {self.requirement.field}.{self.requirement.names[0]}.recover = false"
        )
        hint = "" if self.requirement.recovers else rule
        return Failure(reason=FailureReason.DEPENDENCY, detail=str(self), hint=hint)

    def __str__(self) -> str:
        return f"{self.asker} requires {self.requirement}, {self.wrong}"


class Needs:
    """The questions. ``graph`` is asked for each time: a new set of cards makes a new one. ``unmet``: by label, which of
    the live conditions does not hold, in words (watched.py)."""

    def __init__(self, table: StateTable, graph: Callable[[], Graph]) -> None:
        self.unmet: dict[str, str] = {}
        self._table = table
        self._graph = graph
        self._view = View(self.is_up, self.is_coming, self._has_been_up, self._runs, self.lacks)

    def is_up(self, label: str) -> bool:
        """Whether there is such a service, and it is up."""
        return label in self._table and self._table.get(label).is_up

    def is_coming(self, label: str) -> bool:
        """Whether there is such a service, and a start of it is under way."""
        return label in self._table and self._table.get(label).is_coming

    def _has_been_up(self, label: str) -> bool:
        return label in self._table and self._table.get(label).reached

    def _runs(self, label: str) -> bool:
        return label in self._table and self._table.get(label).state in WITH_PROCESS

    def lacks(self, label: str, term: Term) -> str:
        """Return what a service lacks of the isolation that a term asks for, by name; empty when nothing."""
        if not term.is_strict or label not in self._table:
            return ""
        lost = [loss.feature for loss in self._table.get(label).degradations]
        if not term.undegraded:
            asked = term.granted
            lost = [name for name in lost if any(name == each or name.startswith(f"{each}.") for each in asked)]
        return ", ".join(dict.fromkeys(lost))

    def waits(self, label: str) -> tuple[Wait, ...]:
        """Return what a service that wants to start waits for. Raises NoSuchService."""
        found = self._graph().waits(label, self._view)
        return (*found, Wait("conditions", self.unmet[label], ())) if label in self.unmet else found

    def waits_for(self, label: str) -> tuple[str, ...]:
        """Return the names of what a service that wants to start waits for. Raises NoSuchService."""
        return tuple(dict.fromkeys(wait.name for wait in self.waits(label)))

    def decided_by(self, label: str) -> frozenset[str]:
        """Return the services without whose change nothing of what one waits for ends; empty when that may be anybody's.

        An order alone ends when a start is given up, which may be felt from afar. Raises NoSuchService.
        """
        waits = self.waits(label)
        if not all(wait.kind in _NEAR for wait in waits):
            return frozenset()
        return frozenset(other for wait in waits for other in wait.providers)

    def is_held(self, label: str) -> bool:
        """Whether a waiting service waits for something that is not on its way itself. Raises NoSuchService."""
        return not self._comes(label)

    def _comes(self, label: str) -> bool:
        """Whether everything that a waiting service waits for is on its way; who waits in a circle never comes.

        Without recursion, as a chain of services may be longer than Python's stack.
        """
        waits: dict[str, tuple[Wait, ...]] = {}
        queue = [label]
        for asker in queue:
            if asker in waits:
                continue
            waits[asker] = self.waits(asker)
            queue += (other for wait in waits[asker] for other in wait.providers if self._waits(other))
        coming: set[str] = set()
        grown = True
        while grown and label not in coming:
            grown = False
            for asker in reversed(waits):
                if asker not in coming and all(self._is_met(wait, coming) for wait in waits[asker]):
                    coming.add(asker)
                    grown = True
        return label in coming

    def _is_met(self, wait: Wait, coming: set[str]) -> bool:
        """Whether a wait ends when those in ``coming`` have come."""
        if wait.kind == "conditions":
            return wait.name == UNSEEN
        if wait.kind == "conflicts":
            return all(self._ends(other) for other in wait.providers)
        return sum(other in coming or self._starts(other) for other in wait.providers) >= wait.count

    def _ends(self, label: str) -> bool:
        if label not in self._table:
            return True
        service = self._table.get(label)
        return service.state not in WITH_PROCESS or (service.state is State.STOPPING and not service.is_stuck)

    def _waits(self, label: str) -> bool:
        return label in self._table and self._table.get(label).state is State.WAITING

    def _starts(self, label: str) -> bool:
        """Whether a service that does not wait for others is on its way."""
        if label not in self._table:
            return False
        service = self._table.get(label)
        if service.state is State.STOPPED:
            return service.wanted  # it stopped to start again
        return service.state in (State.STARTING, State.STOPPING, State.BACKOFF)

    def circle(self, label: str) -> tuple[Edge, ...]:
        """Return the circle of hard edges that keeps a service from ever starting; empty when there is none."""
        return (self._graph().mended.circles or {}).get(label, ())

    def loss(self, label: str) -> Loss | None:
        """Return what a service requires and will not get; None when all is up or on its way. Raises NoSuchService."""
        return self._loss(label, lambda other: self._comes(other) if self._waits(other) else self._starts(other))

    def final_loss(self, label: str) -> Loss | None:
        """Return what a service requires and has failed, or ended, for good. Raises NoSuchService."""
        return self._loss(label, lambda other: not self.is_up(other) and self._table.get(other).state not in _OVER, 1)

    def _loss(self, label: str, is_coming: Callable[[str], bool], degraded_comes: int = 0) -> Loss | None:
        """Return the first requirement of which too few are good or coming; a name that nobody has is a card's problem.

        Of several providers one that may still be meant to come is blamed. ``degraded_comes``: one that is up, if not as
        it should be, may be healed.
        """
        if label not in self._graph():
            return None
        if cycle := self.circle(label):
            return self._stuck(label, cycle)
        for requirement in self._graph().needs(label):
            providers = [other for other in self._graph().providers(requirement, label) if other in self._table]
            bad = [
                other
                for other in providers
                if not self._view.is_good(other, requirement)
                and not (degraded_comes and self.is_up(other))
                and not is_coming(other)
            ]
            if providers and len(providers) - len(bad) < requirement.at_least and bad:
                blamed = min(bad, key=lambda other: self._table.get(other).state in _OVER)
                return Loss(label, requirement, self._table.get(blamed), self._wrong(requirement, blamed, bad))
        return None

    def _wrong(self, requirement: Requirement, blamed: str, bad: list[str]) -> str:
        service = self._table.get(blamed)
        if service.is_up and requirement.term:
            return f"which lacks {self.lacks(blamed, requirement.term)}"
        became = _BECAME.get(service.state, "is not up")
        if requirement.field == "contracts":
            return f"of which too few are left: {', '.join(f'{each} {self._became(each)}' for each in bad)}"
        return f"which {became}"

    def _became(self, label: str) -> str:
        return _BECAME.get(self._table.get(label).state, "is not up")

    def _stuck(self, label: str, cycle: tuple[Edge, ...]) -> Loss:
        edge = next(edge for edge in cycle if edge.then == label)
        requirement = Requirement(edge.field, edge.owner, (edge.first,))
        wrong = f"and that in the end requires {label}: {path(cycle)}"
        return Loss(label, requirement, self._table.get(edge.first), wrong)

    def askers(self, label: str) -> tuple[str, ...]:
        """Return those who require a service, directly."""
        return self._graph().dependents(label) if label in self._graph() else ()
