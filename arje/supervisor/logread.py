"""Reading logs back from their files, the newest line first, in a thread: such a disk may hang, or hold gigabytes.

All files of a log are opened before the first is read, the newest first. A rotation meanwhile renames what is open
already, which is then seen twice, and known again by its inode. When the newest file is another one at the end, they are
opened again: two rotations would bring younger lines where older ones are expected.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.supervisor.follower import Line
from arje.supervisor.logfile import path_of
from arje.supervisor.logtext import decode, stamp_text

MOST: Final = 4 * 2**20  # bytes of lines in one answer
_BLOCK: Final = 64 * 1024
_LONGEST: Final = 2**20 + 256  # bytes: a line that is longer is none of ours
_FILES: Final = 102
_TRIES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which lines: the last ``lines`` of those not before ``since`` and not after ``until`` (wall clock, in seconds), of a
    stream, with a text in them. ``life``: only those of the service's current or latest life."""

    lines: int = 100
    since: float | None = None
    until: float | None = None
    stream: str = ""
    grep: str = ""
    life: bool = False

    def picks(self, line: Line) -> bool:
        """Whether a line is meant. What arje tells of lost lines belongs to every stream, and to every text."""
        if (self.since is not None and line.wall < self.since) or (self.until is not None and line.wall > self.until):
            return False
        if line.stream == "arje":
            return True
        return (not self.stream or line.stream == self.stream) and self.grep in line.text


def read(directory: Path, label: str, query: Query, most: int = MOST) -> tuple[list[Line], bool]:
    """Return the lines of a log's files that a query picks, the oldest first, and whether there was room for all.

    At most ``most`` bytes of them. Raises OSError.
    """
    found: list[Line] = []
    size = 0
    # Raw, before anything is decoded: most lines of a large file are of no interest.
    least = stamp_text(query.since) if query.since is not None else b""
    latest = stamp_text(query.until) if query.until is not None else b""
    text = query.grep.encode(errors="surrogateescape")
    with contextlib.closing(_backwards(directory, label, least)) as raws:
        for raw in raws:
            if (latest and raw[: len(latest)] > latest) or (text and text not in raw and b" arje: " not in raw):
                continue
            line = decode(raw)
            if line is None or line.label != label or not query.picks(line):
                continue
            if len(found) == query.lines:
                break
            found.append(line)
            size += len(raw)
            if size > most:
                return found[::-1], False
    return found[::-1], True


def _backwards(directory: Path, label: str, least: bytes) -> Generator[bytes, None, None]:
    """Yield the lines, the newest first, until a block has none that is as young as ``least``."""
    with contextlib.ExitStack() as stack:
        for fd in _opened(directory, label, stack):
            for lines in _blocks(fd):
                yield from reversed(lines)
                if least and lines and max(line[: len(least)] for line in lines) < least:
                    return


def _opened(directory: Path, label: str, stack: contextlib.ExitStack) -> list[int]:
    """Open what there is of a log, the newest file first; again when that one was put aside meanwhile."""
    for _ in range(_TRIES):
        with contextlib.ExitStack() as attempt:
            found = list(_one_by_one(directory, label, attempt))
            if not found or _is_newest(directory, label, found[0]):
                stack.push(attempt.pop_all())
                return found
    return list(_one_by_one(directory, label, stack))


def _is_newest(directory: Path, label: str, fd: int) -> bool:
    for number in (0, 1):  # right after a rotation there is no file 0
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), path_of(directory, label, number).stat())
    return False


def _one_by_one(directory: Path, label: str, stack: contextlib.ExitStack) -> Iterator[int]:
    """Open one file after the other. Between two renames of a rotation one number is missing."""
    seen, missing = set[tuple[int, int]](), 0
    for number in range(_FILES):
        try:
            fd = os.open(path_of(directory, label, number), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            missing += 1
            if missing == 2:
                return
            continue
        stack.callback(os.close, fd)
        missing, facts = 0, os.fstat(fd)
        if (facts.st_dev, facts.st_ino) not in seen:
            seen.add((facts.st_dev, facts.st_ino))
            yield fd


def _blocks(fd: int) -> Iterator[list[bytes]]:
    """Yield the whole lines of a file, block by block from its end; what has no newline yet is no line."""
    at = os.fstat(fd).st_size
    rest, whole = b"", False
    while at > 0:
        start = max(0, at - _BLOCK)
        data = os.pread(fd, at - start, start) + rest
        at = start
        if not whole:
            data, newline, _ = data.rpartition(b"\n")
            whole = bool(newline)
            if not whole:
                rest = b""
                continue
        first, *lines = data.split(b"\n")
        if not at:
            yield [first, *lines]
            return
        rest = first if len(first) <= _LONGEST else b""
        yield lines
