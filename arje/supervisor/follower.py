"""Lines of logs as data, and one who follows them: bounded, told what it was too slow for, and nobody's burden."""

from __future__ import annotations

import base64
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import trio

KEPT: Final = 500  # lines per service in memory
SLOW_READER: Final = "reader too slow"
_KEPT_BYTES: Final = 128 * 1024  # of them
_LINE_COST: Final = 160  # bytes of a line beside its text
_WAITING: Final = 1000  # lines that a follower has not taken yet


@dataclass(slots=True)
class Line:
    """One line of a service. ``wall`` is CLOCK_REALTIME in seconds, ``pid`` the payload's at that time (0: none).

    ``stream`` is stdout or stderr; arje for what arje itself has to say at this place. Bytes that are not UTF-8 stand in
    ``text`` as ``surrogateescape`` has them. ``more``: it was too long, and goes on in the next line of this stream.
    """

    label: str
    stream: str
    pid: int
    wall: float
    text: str
    more: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it fit for JSON; ``raw`` holds the bytes (base64) where text cannot."""
        text, raw = self.text, None
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                data = text.encode(errors="surrogateescape")
                text, raw = data.decode(errors="replace"), base64.b64encode(data).decode()
        return {
            "label": self.label,
            "stream": self.stream,
            "pid": self.pid,
            "wall": self.wall,
            "text": text,
            "more": self.more,
            "raw": raw,
        }


class Ring:
    """The last lines of a service: at most :data:`KEPT`, and 128 KiB of them."""

    def __init__(self) -> None:
        self._lines: deque[Line] | None = None  # an empty one takes 600 bytes, and most services say nothing
        self._size = 0

    def extend(self, lines: Iterable[Line]) -> None:
        """Add lines; the oldest make room."""
        kept = self._lines = deque() if self._lines is None else self._lines
        for line in lines:
            kept.append(line)
            self._size += len(line.text) + _LINE_COST
        while len(kept) > KEPT or (self._size > _KEPT_BYTES and len(kept) > 1):
            self._size -= len(kept.popleft().text) + _LINE_COST

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines or ())

    def __len__(self) -> int:
        return len(self._lines or ())

    def __getitem__(self, index: int) -> Line:
        return (self._lines or deque())[index]


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

    def tell(self, label: str, lines: Sequence[Line], count: int) -> int:
        """Take the first lines of a burst of ``count``: as many as there is room for. Return how many are lost to it."""
        fits = self.room()
        if fits and self._lost:
            self._tell_lost()
        self._lines.extend(lines[:fits])
        if lost := count - min(fits, len(lines)):
            self._lost[label] += lost
        self._bell.set()
        return lost

    def _tell_lost(self) -> None:
        for label, count in self._lost.items():
            text = f"{count} lines dropped: this reader is too slow"
            self._lines.append(Line(label, "arje", 0, time.time(), text))
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
