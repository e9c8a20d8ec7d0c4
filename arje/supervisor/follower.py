"""Lines of logs as data, and one who follows them: bounded, told what it was too slow for, and nobody's burden."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import trio

_WAITING: Final = 1000  # lines that a follower has not taken yet


@dataclass(slots=True)
class Line:
    """One line of a service. ``wall`` is CLOCK_REALTIME in seconds, ``pid`` the payload's at that time (0: none).

    ``stream`` is stdout or stderr; arje for what arje itself has to say at this place.
    """

    label: str
    stream: str
    pid: int
    wall: float
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return asdict(self)


class Follower:
    """One who follows services, all of them when ``labels`` is None. Iterate over it; close it, or let the logs do so."""

    def __init__(self, labels: frozenset[str] | None) -> None:
        self._labels = labels
        self._lines: deque[Line] = deque()
        self._lost: Counter[str] = Counter()
        self._closed = False
        self._bell = trio.Event()

    def follows(self, label: str) -> bool:
        """Whether it wants to hear of a service."""
        return self._labels is None or label in self._labels

    def room(self) -> int:
        """Return for how many more lines there is room. Who has lost some first catches up half of what waits."""
        room = max(0, _WAITING - len(self._lines))
        return 0 if self._lost and room < _WAITING // 2 else room

    def tell(self, label: str, lines: Sequence[Line], count: int) -> None:
        """Take the first lines of a burst of ``count``: as many as there is room for. The others are counted as lost."""
        fits = self.room()
        if fits and self._lost:
            self._tell_lost()
        self._lines.extend(lines[:fits])
        if lost := count - min(fits, len(lines)):
            self._lost[label] += lost
        self._bell.set()

    def _tell_lost(self) -> None:
        for label, count in self._lost.items():
            self._lines.append(Line(label, "arje", 0, time.time(), f"{count} lines dropped: this reader is too slow"))
        self._lost.clear()

    def close(self) -> None:
        """End the iteration after what was taken already."""
        self._closed = True
        self._bell.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Line:
        while True:
            if not self._lines and self._lost:
                self._tell_lost()
            if self._lines:
                await trio.lowlevel.checkpoint()
                return self._lines.popleft()
            if self._closed:
                raise StopAsyncIteration
            self._bell = trio.Event()
            await self._bell.wait()
