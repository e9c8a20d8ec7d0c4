"""What a service requires, and whether that is up, on its way, or lost. Reads the table and the graph; changes nothing.

A requirement is *on its way* while it starts, while it waits out a back-off, while it is between the two halves of a
restart, and while it waits for others that are on their way themselves. It is *lost* when nobody who provides it is up
or on its way. A restart is therefore never felt, and a failure for good always is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arje.service.order import Graph
from arje.service.record import Failure, FailureReason, Service
from arje.service.state import State
from arje.service.table import StateTable

_BECAME = {
    State.FAILED: "failed",
    State.DONE: "has ended",
    State.STOPPED: "is stopped",
    State.WAITING: "cannot start itself",
}


#: Without a hand or a recovery, nothing more comes of these; a one-shot that is done is up.
_OVER = frozenset({State.FAILED, State.DONE})


@dataclass(frozen=True, slots=True)
class Loss:
    """A requirement that is lost: by which ``name``, and the ``provider`` that is to blame."""

    asker: str
    name: str
    provider: Service

    @property
    def failure(self) -> Failure:
        """Why the one who required it has failed."""
        return Failure(reason=FailureReason.DEPENDENCY, detail=str(self))

    def __str__(self) -> str:
        return f"{self.asker} requires {self.name}, which {_BECAME.get(self.provider.state, 'is not up')}"


class Needs:
    """The questions. ``graph`` is asked for each time: a new set of cards makes a new one."""

    def __init__(self, table: StateTable, graph: Callable[[], Graph]) -> None:
        self._table = table
        self._graph = graph

    def is_up(self, label: str) -> bool:
        """Whether there is such a service, and it is up."""
        return label in self._table and self._table.get(label).is_up

    def is_coming(self, label: str) -> bool:
        """Whether there is such a service, and a start of it is under way."""
        return label in self._table and self._table.get(label).is_coming

    def waits_for(self, label: str) -> tuple[str, ...]:
        """Return the names that a service which wants to start waits for. Raises NoSuchService."""
        return self._graph().ready(label, self.is_up, self.is_coming)[1]

    def is_held(self, label: str) -> bool:
        """Whether a waiting service waits for something that is not on its way itself. Raises NoSuchService."""
        return not self._comes(label)

    def _comes(self, label: str) -> bool:
        """Whether everything that a waiting service waits for is on its way; who waits in a circle never comes.

        Without recursion, as a chain of services may be longer than Python's stack.
        """
        waits: dict[str, list[tuple[str, ...]]] = {}
        queue = [label]
        for asker in queue:
            if asker in waits:
                continue
            waits[asker] = [self._graph().resolve(name, asker) for name in self.waits_for(asker)]
            queue += (other for providers in waits[asker] for other in providers if self._waits(other))
        coming: set[str] = set()
        grown = True
        while grown and label not in coming:
            grown = False
            for asker in reversed(waits):
                needs = () if asker in coming else waits[asker]
                if asker not in coming and all(any(o in coming or self._starts(o) for o in p) for p in needs):
                    coming.add(asker)
                    grown = True
        return label in coming

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

    def loss(self, label: str) -> Loss | None:
        """Return what a service requires and will not get; None when all is up or on its way. Raises NoSuchService."""
        return self._loss(
            label,
            lambda other: self.is_up(other) or (self._comes(other) if self._waits(other) else self._starts(other)),
        )

    def final_loss(self, label: str) -> Loss | None:
        """Return what a service requires and has failed, or ended, for good. Raises NoSuchService."""
        return self._loss(label, lambda other: self.is_up(other) or self._table.get(other).state not in _OVER)

    def _loss(self, label: str, good: Callable[[str], bool]) -> Loss | None:
        """Return the first requirement none of whose providers is good; a name that nobody has is a problem of the cards.

        Of several providers one that may still be meant to come is blamed.
        """
        for name in self._table.get(label).card.requires:
            providers = [other for other in self._graph().resolve(name, label) if other in self._table]
            if providers and not any(good(other) for other in providers):
                blamed = min(providers, key=lambda other: self._table.get(other).state in _OVER)
                return Loss(label, name, self._table.get(blamed))
        return None

    def askers(self, label: str) -> tuple[str, ...]:
        """Return those who require a service, directly."""
        return self._graph().dependents(label) if label in self._graph() else ()
