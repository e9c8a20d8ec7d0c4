"""What services say: a pipe per stream that outlives restarts, a bounded ring in memory, a file that rotates by size.

Any bytes are fine: what is not UTF-8 is shown with replacement characters, a line without end is cut at
:data:`LONGEST`. A full disk costs the file its lines (counted as dropped), never the service or arje.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import trio

LONGEST: Final = 16 * 1024  # bytes of one line
KEPT: Final = 500  # lines per service in memory
_LAST_WORDS: Final = 32  # reads of 64 KiB: twice what a pipe holds, should a survivor go on writing
ROTATE: Final = 4 * 2**20  # bytes; one older file is kept


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a service. ``wall`` is CLOCK_REALTIME in seconds, ``pid`` the payload's at that time (0: none)."""

    label: str
    stream: str
    pid: int
    wall: float
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return asdict(self)


class ServiceLog:
    """The log of one service."""

    def __init__(self, label: str, directory: Path, tell: Callable[[Line], None]) -> None:
        self.label = label
        self.pid = 0
        self.dropped = 0
        self.lines: deque[Line] = deque(maxlen=KEPT)
        self._tell = tell
        self._path = directory / f"{label}.log"
        self._file = -1
        self._size = 0
        self._pipes: dict[str, tuple[int, int]] = {}
        self._rest: dict[str, bytes] = {}

    def descriptor(self, stream: str, nursery: trio.Nursery) -> int:
        """Return the writing end of a stream's pipe; it is made, and its reader started, at the first call."""
        if stream not in self._pipes:
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            self._pipes[stream] = (read, write)
            nursery.start_soon(self._read, stream, read)
        return self._pipes[stream][1]

    async def _read(self, stream: str, fd: int) -> None:
        while True:
            await trio.lowlevel.wait_readable(fd)
            self._take(stream, fd)
            await trio.lowlevel.checkpoint()  # one talkative service does not starve the others

    def _take(self, stream: str, fd: int) -> bool:
        """Read once. Returns False when the pipe is empty."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        for line in lines:
            for start in range(0, len(line) or 1, LONGEST):
                self.add(stream, line[start : start + LONGEST])
        while len(rest) > LONGEST:
            self.add(stream, rest[:LONGEST])
            rest = rest[LONGEST:]
        self._rest[stream] = rest
        return True

    def drain(self) -> None:
        """Take what lies in the pipes now: the last words of a service that has just ended."""
        for stream, (read, _) in self._pipes.items():
            for _ in range(_LAST_WORDS):
                if not self._take(stream, read):
                    break
            if rest := self._rest.pop(stream, b""):
                self.add(stream, rest)

    def add(self, stream: str, data: bytes) -> None:
        """Keep one line."""
        line = Line(self.label, stream, self.pid, time.time(), data[:LONGEST].decode(errors="replace"))
        self.lines.append(line)
        self._tell(line)
        self._write(line)

    def _write(self, line: Line) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(line.wall))
        data = f"{stamp}Z {line.label}[{line.pid}] {line.stream}: {line.text}\n".encode()
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
                self._size = os.fstat(self._file).st_size
            self._size += os.write(self._file, data)
            if self._size > ROTATE:
                self._path.rename(self._path.with_suffix(".log.1"))
                self._shut()
        except OSError:
            self.dropped += 1
            self._shut()

    def _shut(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Close every descriptor; the readers have ended with the nursery that they were given."""
        self._shut()
        for pair in self._pipes.values():
            for fd in pair:
                os.close(fd)
        self._pipes.clear()


class Logs:
    """The logs of all services, and those who follow them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._logs: dict[str, ServiceLog] = {}
        self._followers: set[trio.MemorySendChannel[Line]] = set()

    def of(self, label: str) -> ServiceLog:
        """Return the log of a service; it is made at the first call."""
        if label not in self._logs:
            self._logs[label] = ServiceLog(label, self._directory, self._tell)
        return self._logs[label]

    def follow(self) -> trio.MemoryReceiveChannel[Line]:
        """Return a channel of every line from now on. Who does not read loses lines, and hurts nobody."""
        send, receive = trio.open_memory_channel[Line](1000)
        self._followers.add(send)
        return receive

    def _tell(self, line: Line) -> None:
        for follower in tuple(self._followers):
            try:
                follower.send_nowait(line)
            except trio.WouldBlock:
                continue
            except trio.BrokenResourceError:
                self._followers.discard(follower)

    def close(self) -> None:
        """Close every descriptor and end every follower."""
        for log in self._logs.values():
            log.close()
        for follower in self._followers:
            follower.close()
