"""What services say: a pipe per stream that outlives restarts, a bounded ring in memory, a file that rotates by size.

Any bytes are fine: what is not UTF-8 is shown with replacement characters, a line without end is cut at
:data:`LONGEST`. A full disk costs the file its lines (counted as dropped), never the service or arje. What a talkative
service costs is bounded per turn of the loop: one small read, one write, and objects only for lines that somebody will
see.
"""

from __future__ import annotations

import array
import fcntl
import os
import termios
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from arje import log
from arje.supervisor.follower import Follower, Line
from arje.supervisor.logfile import LogFile

LOG = log.logger()
LONGEST: Final = 16 * 1024  # bytes of one line
KEPT: Final = 500  # lines per service in memory
_TURN: Final = 8 * 1024  # bytes of one read: at one byte a line still few milliseconds of work
_LONG_TURN: Final = 64 * 1024  # bytes of one read, once the lines were long
_MANY: Final = 512  # lines of one read

Tell = Callable[[str, str, int, float, list[str]], None]


class ServiceLog:
    """The log of one service. ``pid`` is written beside each line."""

    def __init__(self, label: str, directory: Path, tell: Tell) -> None:
        self.label = label
        self.pid = 0
        self.lines: deque[Line] = deque(maxlen=KEPT)
        self._tell = tell
        self._file = LogFile(directory, label)
        self._broken = 0
        self._turn = _TURN
        self._pipes: dict[str, tuple[int, int]] = {}
        self._rest: dict[str, bytes] = {}

    @property
    def dropped(self) -> int:
        """The lines that are not in the file: the disk was full, or gone."""
        return self._file.dropped + self._broken

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
        lines = whole.split(b"\n") if newline else []
        while len(rest) > LONGEST:
            lines.append(rest[:LONGEST])
            rest = rest[LONGEST:]
        self._rest[stream] = rest
        self._turn = _TURN if len(lines) > _MANY else _LONG_TURN
        self._keep(stream, lines)
        return len(data)

    async def drain(self) -> None:
        """Take what lies in the pipes now: the last words of a service that has just ended.

        A survivor that goes on writing does not make them longer: what counts is what was there at the call (FIONREAD).
        """
        left = {stream: _waiting(read) for stream, (read, _) in self._pipes.items()}
        for stream, (read, _) in list(self._pipes.items()):
            while left[stream] > 0 and stream in self._pipes and (taken := self._take(stream, read, left[stream])):
                left[stream] -= taken
                await trio.lowlevel.checkpoint()
            if rest := self._rest.pop(stream, b""):
                self._keep(stream, [rest])

    def _keep(self, stream: str, lines: list[bytes]) -> None:
        """Keep lines of one moment. Whatever goes wrong costs these lines only: neither the service nor its reader."""
        if not lines:
            return
        try:
            self._add(stream, [text.decode(errors="replace") for text in _cut(lines)])
        except Exception:
            self._broken += len(lines)
            LOG.exception("lines of a service are lost", service=self.label, lines=len(lines))

    def _add(self, stream: str, texts: list[str]) -> None:
        now = time.time()
        self.lines.extend(Line(self.label, stream, self.pid, now, text) for text in texts[-KEPT:])
        self._tell(self.label, stream, self.pid, now, texts)
        self._file.write(stream, self.pid, now, texts)

    def close(self, *, in_loop: bool = False) -> None:
        """Close every descriptor. ``in_loop``: the readers are still there, and end."""
        self._file.close()
        pipes, self._pipes = self._pipes, {}
        for read, write in pipes.values():
            if in_loop:
                trio.lowlevel.notify_closing(read)
            os.close(read)
            os.close(write)


def _waiting(fd: int) -> int:
    """Return how many bytes lie in a pipe (FIONREAD, ioctl_pipe(2))."""
    found = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, found)
    return found[0]


def _cut(lines: list[bytes]) -> list[bytes]:
    """Cut what is too long; hardly ever is anything."""
    if max(map(len, lines)) <= LONGEST:
        return lines
    return [line[start : start + LONGEST] for line in lines for start in range(0, len(line) or 1, LONGEST)]


class Logs:
    """The logs of all services, and those who follow them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._logs: dict[str, ServiceLog] = {}
        self._followers: set[Follower] = set()

    def of(self, label: str) -> ServiceLog:
        """Return the log of a service; it is made at the first call."""
        if label not in self._logs:
            self._logs[label] = ServiceLog(label, self._directory, self._tell)
        return self._logs[label]

    def forget(self, label: str) -> None:
        """Let go of a service's log: its card is gone. The file stays."""
        if (gone := self._logs.pop(label, None)) is not None:
            gone.close(in_loop=True)

    def follow(self, labels: frozenset[str] | None = None) -> Follower:
        """Return a follower of every line from now on. Who does not read loses lines, and hurts nobody."""
        follower = Follower(labels)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Tell a follower nothing more."""
        self._followers.discard(follower)
        follower.close()

    def _tell(self, label: str, stream: str, pid: int, wall: float, texts: list[str]) -> None:
        followers = [follower for follower in self._followers if follower.follows(label)]
        if not followers:
            return
        room = max(follower.room() for follower in followers)
        lines = [Line(label, stream, pid, wall, text) for text in texts[:room]]
        for follower in followers:
            follower.tell(label, lines, len(texts))

    def close(self) -> None:
        """Close every descriptor and end every follower."""
        for service_log in self._logs.values():
            service_log.close()
        for follower in self._followers:
            follower.close()
