"""The text of a log file: a line of a service as bytes, and back. Pure.

::

    2026-11-25T10:00:00.000123Z web[1489] stdout: GET /health 200
    2026-11-25T10:00:00.000124Z web[1489] stdout+: the first piece of a line that is too long, which goes on in the next

UTC, so that no change of the clock's zone reorders a file; microseconds, which differ for every line of a log: by its time
a line is known again. What the service wrote stands there byte for byte, whatever bytes they are, so that nothing has to
be unescaped and ``grep -a`` finds what was said. Only a newline ends a line.
"""

from __future__ import annotations

import functools
import re
import time
from datetime import datetime
from typing import Final, NamedTuple

from arje.supervisor.follower import Line

_MICROS: Final = 10**6
_LINE: Final = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z ([^ ]+)\[(\d{1,10})\] (stdout|stderr|arje)(\+?): (.*)", re.DOTALL
)


class Chunk(NamedTuple):
    """Lines of one moment, as the service wrote them: ``blob`` holds them with a newline between two.

    ``stamp`` is the time of the first in microseconds since the epoch; each further line is one later. ``more``: the last
    line goes on in the next chunk of this stream.
    """

    stream: str
    pid: int
    stamp: int
    blob: bytes
    more: bool = False

    @property
    def lines(self) -> int:
        """How many lines these are."""
        return self.blob.count(b"\n") + 1


def encode(label: str, chunk: Chunk) -> bytes:
    """Return the lines as they stand in the file, each with its newline."""
    tail = f"Z {label}[{chunk.pid}] {chunk.stream}: ".encode()
    second, micro = divmod(chunk.stamp, _MICROS)
    head, out = _head(second), []
    for text in chunk.blob.split(b"\n"):
        out.append(b"%s.%06d%s%s\n" % (head, micro, tail, text))
        micro += 1
        if micro == _MICROS:
            second, micro = second + 1, 0
            head = _head(second)
    if chunk.more:
        out[-1] = out[-1].replace(b": ", b"+: ", 1)
    return b"".join(out)


@functools.lru_cache(64)
def _head(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


def stamp_text(wall: float) -> bytes:
    """Return a time as the file has it, up to the microseconds: fit to be compared with the beginning of a line."""
    second, micro = divmod(micros(wall), _MICROS)
    return b"%s.%06d" % (_head(second), micro)


def micros(wall: float) -> int:
    """Return a time in microseconds since the epoch."""
    return round(wall * _MICROS)


def decode(raw: bytes) -> Line | None:
    """Return the line that a text of the file says, without its newline; None when it is none of ours."""
    if (found := _LINE.fullmatch(raw)) is None:
        return None
    head, micro, label, pid, stream, more, text = found.groups()
    try:
        wall = _second(head) + int(micro) / _MICROS
    except ValueError:  # the thirteenth month
        return None
    return Line(label.decode(errors="replace"), stream.decode(), int(pid), wall, told(text), bool(more))


def told(text: bytes) -> str:
    """Return what a service wrote as text; what is not UTF-8 comes back with ``surrogateescape``."""
    return text.decode(errors="surrogateescape")


@functools.lru_cache(1024)
def _second(head: bytes) -> float:
    return datetime.fromisoformat(f"{head.decode()}+00:00").timestamp()
