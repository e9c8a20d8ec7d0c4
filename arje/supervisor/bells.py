"""Bells: how tasks wait for a service without asking again and again. A bell rings once for all who wait for it.

Who waits for more than the service itself says for whom: so a change wakes those whom it may concern, and what it costs
does not grow with the number of all services.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import trio

#: Whatever changes may be what is waited for.
ANYBODY: Final = ("",)


class Bells:
    """One bell per label that somebody waits for; none is kept for the others. ``_by``: others → bells they ring, too.

    ``resume`` is called with the label when a bell rings for which a life was parked."""

    def __init__(self, resume: Callable[[str], None]) -> None:
        self._resume = resume
        self._parked: set[str] = set()
        self._bells: dict[str, trio.Event] = {}
        self._by: dict[str, dict[str, None]] = {}
        self._others: dict[str, set[str]] = {}

    async def wait(self, label: str, others: Collection[str] = ()) -> None:
        """Wait until this bell rings next, by itself or because one of the others has changed."""
        for other in others:
            self._by.setdefault(other, {})[label] = None
            self._others.setdefault(label, set()).add(other)
        await self._bells.setdefault(label, trio.Event()).wait()

    def park(self, label: str) -> None:
        """Let a life go on when this bell rings next."""
        self._parked.add(label)

    def ring(self, label: str) -> None:
        """Wake everybody who waits for this bell."""
        for other in self._others.pop(label, ()):
            if (concerned := self._by.get(other)) is not None:
                concerned.pop(label, None)
                if not concerned:
                    del self._by[other]
        if (bell := self._bells.pop(label, None)) is not None:
            bell.set()
        if label in self._parked:
            self._parked.remove(label)
            self._resume(label)

    def changed(self, other: str) -> None:
        """Ring every bell for which somebody waits with this other one in mind, or with anybody."""
        for label in [*self._by.get(other, ()), *self._by.get(ANYBODY[0], ())]:
            self.ring(label)

    def all_changed(self) -> None:
        """Ring every bell for which somebody waits with any other one in mind."""
        for label in list(self._others):
            self.ring(label)
