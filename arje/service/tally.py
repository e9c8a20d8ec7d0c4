"""How often services did what, counted over the manager's life: what metrics call counters. Pure; hears the state table.

A record forgets its restarts when a hand starts the service again; a counter never does, or its rate would lie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from arje.card import signals
from arje.incarnation import Exit
from arje.service.record import Service
from arje.service.state import State


@dataclass(slots=True)
class Counts:
    """One service's: ``exits`` by how (``exited``, ``killed``, ``dumped``, ``unknown``) and code or signal."""

    starts: int = 0
    restarts: int = 0
    exits: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class Tally:
    """The counts of every service. ``heard`` is a subscriber of the state table."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}

    def of(self, label: str) -> Counts:
        """Return the counts of a service; all zero for one that has never done anything."""
        return self._counts.get(label) or Counts()

    def heard(self, old: Service, new: Service) -> None:
        """Count what a change of a record means."""
        if new.state is old.state and new.last_exit is old.last_exit and new.restarts == old.restarts:
            return
        counts = self._counts.setdefault(new.label, Counts())
        if new.state is State.STARTING and old.state is not State.STARTING:
            counts.starts += 1
        counts.restarts += max(0, new.restarts - old.restarts)
        if new.last_exit is not None and new.last_exit is not old.last_exit:
            counts.exits[new.last_exit.kind, _code(new.last_exit)] += 1
        if new.state is State.FAILED and old.state is not State.FAILED and new.failure is not None:
            counts.failures[new.failure.reason.value] += 1

    def keep(self, labels: Collection[str]) -> None:
        """Forget services that are none any more."""
        for label in self._counts.keys() - set(labels):
            del self._counts[label]


def _code(exit: Exit) -> str:
    return str(exit.code) if exit.kind in ("exited", "unknown") else signals.name_of(exit.code)
