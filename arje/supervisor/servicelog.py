"""The log of one service: a pipe per stream that outlives restarts, a bounded ring in memory, an outbox for the file.

Any bytes are fine. A line is kept as it was written, one that is longer than the card's ``max_line`` in pieces. What a
talkative service costs is bounded per turn of the loop: one small read, and objects only for lines that somebody will see.
"""

from __future__ import annotations

import array
import fcntl
import os
import termios
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from arje import log
from arje.card.log import LogRules
from arje.supervisor.follower import KEPT, Line, Ring
from arje.supervisor.linerate import RATE, LineBudget
from arje.supervisor.logfile import LogFile, dropped
from arje.supervisor.logtext import Chunk, told
from arje.supervisor.logwriter import BROKEN, LogWriter, Outbox
from arje.supervisor.pipes import Pipes

LOG = log.logger()
_TURN: Final = 8 * 1024  # bytes of one read: at one byte a line still few milliseconds of work
_LONG_TURN: Final = 64 * 1024  # bytes of one read, once the lines were long
_MANY: Final = 512  # lines of one read
_STEP: Final = 10 * 10**6  # microseconds that the clock was set back by, and not merely overtaken by many lines

Tell = Callable[[str, Chunk], None]


class ServiceLog:
    """The log of one service. ``pid`` is written beside each line; ``began`` is when its current life began (wall clock).
    ``pipes`` are those between services, where a card leads its stdout to another one. ``total`` counts the lines that
    memory has had.

    ``drops`` counts lines that are lost by reason, but for those that the file and its outbox count themselves.
    """

    def __init__(self, label: str, directory: Path, writer: LogWriter, tell: Tell, pipes: Pipes) -> None:
        self.label = label
        self.pipes = pipes
        self.pid = 0
        self.began = 0.0
        self.lines = Ring()
        self.total = 0
        self.drops: Counter[str] = Counter()
        self.file = LogFile(directory, label)
        self.box = Outbox(writer, self.file)
        self._tell = tell
        self._budget = LineBudget()
        self._last = 0
        self._turn = _TURN
        self._pipes: dict[str, tuple[int, int]] = {}
        self._rest: dict[str, bytes] = {}

    @property
    def rules(self) -> LogRules:
        """What the card says; a new one holds from the next line on."""
        return self.file.rules

    @rules.setter
    def rules(self, rules: LogRules) -> None:
        self.file.rules = rules

    @property
    def dropped(self) -> dict[str, int]:
        """The lines that somebody was to see and did not, by reason."""
        return dict(self.drops + self.box.dropped + self.file.dropped)

    def descriptor(self, stream: str, nursery: trio.Nursery) -> int:
        """Return the writing end of a stream's pipe; it is made, and its reader started, at the first call."""
        if stream not in self._pipes:
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            self._pipes[stream] = (read, write)
            nursery.start_soon(self._read, stream, read, name=f"log of {self.label}")
        return self._pipes[stream][1]

    async def _read(self, stream: str, fd: int) -> None:
        try:
            while stream in self._pipes:
                await trio.lowlevel.wait_readable(fd)
                await self.box.wait_room()
                if stream in self._pipes:  # its card may have gone meanwhile
                    self._take(stream, fd)
                await trio.lowlevel.checkpoint()  # one talkative service does not starve the others
        except trio.ClosedResourceError:
            pass  # the service's card is gone
        except Exception:  # this task is in the nursery of all lives
            LOG.exception("a service's pipe cannot be read", service=self.label, stream=stream)

    def _take(self, stream: str, fd: int, most: int = _LONG_TURN) -> int:
        """Read once, at most so many bytes. Returns how many it were."""
        try:
            data = os.read(fd, min(most, self._turn))
        except BlockingIOError:
            return 0
        whole, newline, rest = (self._rest.get(stream, b"") + data).rpartition(b"\n")
        longest = self.rules.max_line
        if newline:
            self._turn = _TURN if whole.count(b"\n") >= _MANY else _LONG_TURN
            self._lines(stream, whole, longest)
        else:
            self._turn = _LONG_TURN
        while len(rest) > longest:
            piece, rest = _cut(rest, longest)
            self._keep(stream, piece, more=True)
        self._rest[stream] = rest
        return len(data)

    def _lines(self, stream: str, whole: bytes, longest: int) -> None:
        """Keep whole lines; hardly ever is one too long."""
        if len(whole) <= longest or max(map(len, lines := whole.split(b"\n"))) <= longest:
            self._keep(stream, whole)
            return
        short: list[bytes] = []
        for line in lines:
            while len(line) > longest:
                piece, line = _cut(line, longest)
                self._keep(stream, b"\n".join((*short, piece)), more=True)
                short = []
            short.append(line)
        self._keep(stream, b"\n".join(short))

    async def end_life(self) -> None:
        """Take the last words of a life; what is said from now on is nobody's."""
        await self.drain()
        self.pid = 0

    async def drain(self) -> None:
        """Take what lies in the pipes now: the last words of a service that has just ended.

        A survivor that goes on writing does not make them longer: what counts is what was there at the call (FIONREAD).
        """
        left = {stream: _waiting(read) for stream, (read, _) in self._pipes.items()}
        for stream, (read, _) in list(self._pipes.items()):
            while left[stream] > 0 and stream in self._pipes:
                await self.box.wait_room()
                if stream not in self._pipes or not (taken := self._take(stream, read, left[stream])):
                    break
                left[stream] -= taken
                await trio.lowlevel.checkpoint()
            if rest := self._rest.pop(stream, b""):
                self._keep(stream, rest)
        if lost := self._budget.lost():
            self._add(Chunk("arje", 0, self._stamps(1), dropped(lost, RATE)))

    def _keep(self, stream: str, blob: bytes, *, more: bool = False) -> None:
        """Keep lines of one moment. Whatever goes wrong costs these lines only: neither the service nor its reader."""
        count = blob.count(b"\n") + 1
        try:
            kept, untold = self._budget.take(count, self.rules.rate_limit, time.monotonic())
            if untold:
                self._add(Chunk("arje", 0, self._stamps(1), dropped(untold, RATE)))
            if kept < count:
                self.drops[RATE] += count - kept
                blob, more = b"\n".join(blob.split(b"\n", kept)[:kept]), False
            if kept:
                self._add(Chunk(stream, self.pid, self._stamps(kept), blob, more))
        except Exception:
            self.drops[BROKEN] += count
            LOG.exception("lines of a service are lost", service=self.label, lines=count)

    def _add(self, chunk: Chunk) -> None:
        self.total += chunk.lines
        self.lines.extend(lines_of(self.label, chunk, last=KEPT))
        self._tell(self.label, chunk)
        self.box.put(chunk)

    def _stamps(self, count: int) -> int:
        """Return the time of the first of so many lines, each one microsecond later than the one before: none twice."""
        now = time.time_ns() // 1000
        first = now if now > self._last or now < self._last - _STEP else self._last + 1
        self._last = first + count - 1
        return first

    def close(self, *, in_loop: bool = False) -> None:
        """Close every descriptor. ``in_loop``: the readers are still there, and end."""
        self.box.close()
        pipes, self._pipes = self._pipes, {}
        for read, write in pipes.values():
            if in_loop:
                trio.lowlevel.notify_closing(read)
            os.close(read)
            os.close(write)


def lines_of(label: str, chunk: Chunk, *, first: int | None = None, last: int | None = None) -> list[Line]:
    """Return the first, or the last, so many lines of a chunk."""
    count = chunk.lines
    if first is not None:
        texts, start = chunk.blob.split(b"\n", first)[:first], 0
    else:
        texts = (
            chunk.blob.rsplit(b"\n", last or 0)[-(last or 0) :] if last and count > last else chunk.blob.split(b"\n")
        )
        start = count - len(texts)
    return [
        Line(
            label,
            chunk.stream,
            chunk.pid,
            (chunk.stamp + number) / 1e6,
            told(text),
            chunk.more and number == count - 1,
        )
        for number, text in enumerate(texts, start)
    ]


def _cut(line: bytes, longest: int) -> tuple[bytes, bytes]:
    """Cut off a first piece, not in the middle of a character of UTF-8."""
    at = longest
    while at > longest - 3 and line[at] & 0xC0 == 0x80:
        at -= 1
    return line[:at], line[at:]


def _waiting(fd: int) -> int:
    """Return how many bytes lie in a pipe (FIONREAD, ioctl_pipe(2))."""
    found = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, found)
    return found[0]
