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
from arje.supervisor.ears import Ears, Room
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

    :meth:`drop` counts lines that are lost by reason, but for those that the file and its outbox count themselves.
    """

    def __init__(
        self, label: str, directory: Path, writer: LogWriter, tell: Tell, pipes: Pipes, ears: Ears | None = None
    ) -> None:
        self.label = label
        self.pipes = pipes
        self._rules = LogRules()
        self.pid = 0
        self.began = 0.0
        self.lines = Ring()
        self.total = 0
        self._drops: Counter[str] | None = None  # most services lose nothing, and an empty one takes 240 bytes
        self._box: Outbox | None = None
        self._directory = directory
        self._writer = writer
        self._ears = ears or Ears()
        self._tell = tell
        self._budget = LineBudget()
        self._last = 0
        self._turn = _TURN
        self._pipes: dict[str, int] = {}  # each one descriptor, open for reading and for writing
        self._rest: dict[str, bytes] = {}

    @property
    def box(self) -> Outbox:
        """What there is for the file. It is made when it is first asked for: most services say nothing."""
        if self._box is None:
            self._box = Outbox(self._writer, LogFile(self._directory, self.label))
            self._box.file.rules = self._rules
        return self._box

    @property
    def file(self) -> LogFile:
        """The log on disk."""
        return self.box.file

    @property
    def rules(self) -> LogRules:
        """What the card says; a new one holds from the next line on."""
        return self._rules

    @rules.setter
    def rules(self, rules: LogRules) -> None:
        self._rules = rules
        if self._box is not None:
            self._box.file.rules = rules

    @property
    def dropped(self) -> dict[str, int]:
        """The lines that somebody was to see and did not, by reason."""
        drops = self._drops or Counter()
        return dict(drops + self._box.dropped + self._box.file.dropped if self._box else drops)

    def drop(self, reason: str, count: int) -> None:
        """Count lines that are lost."""
        self._drops = self._drops or Counter()
        self._drops[reason] += count

    def descriptor(self, stream: str, nursery: trio.Nursery) -> int:
        """Return a new writing end of a stream's pipe, the caller's to close; the pipe is made at the first call.

        We keep one descriptor for both its ends, so that it outlives those who write: fifo(7) says what that means.
        """
        if stream not in self._pipes:
            ends = os.pipe2(os.O_CLOEXEC)
            try:
                fd = os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            finally:
                for end in ends:
                    os.close(end)
            self._pipes[stream] = fd
            self._ears.listen(fd, self, stream, nursery)
        return os.open(f"/proc/self/fd/{self._pipes[stream]}", os.O_WRONLY | os.O_CLOEXEC)

    def hear(self, stream: str, fd: int) -> Room | None:
        """Read once, or return what to wait for when the disk is behind."""
        if self._box is not None and not self._box.takes:
            return self._box.wait_room
        self._take(stream, fd)
        return None

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
        left = {stream: _waiting(fd) for stream, fd in self._pipes.items()}
        for stream, fd in list(self._pipes.items()):
            while left[stream] > 0 and stream in self._pipes:
                await self.box.wait_room()
                if stream not in self._pipes or not (taken := self._take(stream, fd, left[stream])):
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
                self.drop(RATE, count - kept)
                blob, more = b"\n".join(blob.split(b"\n", kept)[:kept]), False
            if kept:
                self._add(Chunk(stream, self.pid, self._stamps(kept), blob, more))
        except Exception:
            self.drop(BROKEN, count)
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

    def close(self) -> None:
        """Close every descriptor."""
        if self._box is not None:
            self._box.close()
        pipes, self._pipes = self._pipes, {}
        for fd in pipes.values():
            self._ears.leave(fd)
            os.close(fd)


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
