"""How much a service may say: so many lines in a time, the others dropped and counted. Pure."""

from __future__ import annotations

from typing import Final

from arje.card.log import LineRate

RATE: Final = "rate limit"


class LineBudget:
    """One window after the other. Times are CLOCK_MONOTONIC in seconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._taken = 0
        self._lost = 0

    def take(self, count: int, rate: LineRate, now: float) -> tuple[int, int]:
        """Return how many of so many lines may be kept, and how many lost ones are to be told before them."""
        kept, untold = count, 0
        if rate.lines:
            if not self._taken or now - self._began >= rate.interval:
                self._began, self._taken = now, 0
            kept = min(count, rate.lines - self._taken)
            self._taken += kept
        if kept:
            untold, self._lost = self._lost, 0
        self._lost += count - kept
        return kept, untold

    def lost(self) -> int:
        """Return how many lines were lost that nobody has told yet."""
        lost, self._lost = self._lost, 0
        return lost
