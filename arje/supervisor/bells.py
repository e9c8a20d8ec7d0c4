"""Bells: how tasks wait for a service without asking again and again. A bell rings once for all who wait for it."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Bells:
    """One bell per label that somebody waits for; none is kept for the others."""

    def __init__(self) -> None:
        self._bells: dict[str, trio.Event] = {}

    async def wait(self, label: str) -> None:
        """Wait until this bell rings next."""
        await self._bells.setdefault(label, trio.Event()).wait()

    def ring(self, label: str) -> None:
        """Wake everybody who waits for this bell."""
        if (bell := self._bells.pop(label, None)) is not None:
            bell.set()

    def ring_those(self, who: Callable[[str], bool]) -> None:
        """Ring every bell that somebody waits for and whose label ``who`` picks."""
        for label in [label for label in self._bells if who(label)]:
            self.ring(label)
