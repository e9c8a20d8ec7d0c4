"""The file of one service's log: many lines in one write, rotated by size or age, made again where somebody removed it.

Only the threads of ``logwriter.py`` come here: any of these calls may hang for ever when the disk does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from arje.card.log import LogRules
from arje.supervisor.logtext import Chunk, decode, encode

FULL: Final = "disk full"
BROKEN: Final = "disk error"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BATCH: Final = 64 * 1024  # bytes of one write, more or less
_HEAD: Final = 256  # bytes of a file that surely hold the time of its first line


def path_of(directory: Path, label: str, number: int = 0) -> Path:
    """Return the path of a log's file, or of the one that was put aside ``number`` rotations ago."""
    return directory / (f"{label}.log.{number}" if number else f"{label}.log")


class LogFile:
    """One file, opened at the first write. ``dropped`` counts the lines that it could not take, by reason."""

    def __init__(self, directory: Path, label: str) -> None:
        self.rules = LogRules()
        self.dropped: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._directory = directory
        self._label = label
        self._path = path_of(directory, label)
        self._fd = -1
        self._size = 0
        self._born = 0.0

    def write(self, chunks: Iterable[Chunk]) -> None:
        """Append lines. A full or broken disk costs lines, which are counted and told at their place; nothing raises."""
        batch: list[Chunk] = []
        for chunk in chunks:
            batch.append(chunk)
            if sum(len(each.blob) for each in batch) >= _BATCH:
                self._write(batch)
                batch = []
        if batch:
            self._write(batch)

    def _write(self, batch: list[Chunk]) -> None:
        """Write a batch at once; when that fails, chunk by chunk: some may fit."""
        try:
            self._open()
            self._append(b"".join(encode(self._label, chunk) for chunk in (*self._markers(batch[0]), *batch)))
            self._untold.clear()
        except OSError as error:
            self.close()
            if len(batch) > 1:
                for chunk in batch:
                    self._write([chunk])
                return
            reason = FULL if error.errno in _FULL else BROKEN
            self.dropped[reason] += batch[0].lines
            self._untold[reason] += batch[0].lines
            return
        if self._size > self.rules.rotate_size or self._is_old(batch[0].stamp / 1e6):
            with contextlib.suppress(OSError):  # nothing is lost: it is too large, and the next batch tries again
                self._rotate()

    def _markers(self, chunk: Chunk) -> list[Chunk]:
        """What was lost since the last line that the file has, told before the first one that it gets again."""
        lost = list(self._untold.items())
        return [
            Chunk("arje", 0, chunk.stamp - len(lost) + number, dropped(count, reason))
            for number, (reason, count) in enumerate(lost)
        ]

    def _append(self, data: bytes) -> None:
        """Write all of it, or leave the file as it was."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError:
            if written:  # half a line would be read as one
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def _is_old(self, wall: float) -> bool:
        return 0 < self.rules.rotate_every <= wall - self._born

    def _rotate(self) -> None:
        """Put the file aside. Raises OSError."""
        keep = self.rules.rotate_keep
        self.close()
        with contextlib.suppress(FileNotFoundError):
            for number in range(keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    path_of(self._directory, self._label, number).rename(
                        path_of(self._directory, self._label, number + 1)
                    )
            if keep:
                self._path.rename(path_of(self._directory, self._label, 1))
            else:
                self._path.unlink()
            self._discard(keep + 1)

    def _discard(self, number: int) -> None:
        """Remove what an earlier card kept and this one does not."""
        while (path := path_of(self._directory, self._label, number)).exists():
            path.unlink()
            number += 1

    def _open(self) -> None:
        if self._fd >= 0 and os.fstat(self._fd).st_nlink:
            return
        self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(self._path, flags, 0o640)
        except FileNotFoundError:  # the whole directory is gone
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        self._born = self._age_of_file() if self._size else time.time()
        if self._size and os.pread(self._fd, 1, self._size - 1) not in (b"\n", b""):
            self._append(b"\n")  # a manager or a machine died in the middle of a line

    def _age_of_file(self) -> float:
        first = decode(os.pread(self._fd, _HEAD, 0).partition(b"\n")[0])
        return first.wall if first else time.time()

    def close(self) -> None:
        """Close the descriptor. May be called twice; the next write opens it again."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # it is closed all the same (close(2)), and says that the disk is broken
                os.close(self._fd)
            self._fd = -1


def dropped(count: int, reason: str) -> bytes:
    """Return what stands where lines were lost."""
    return f"{count} line{'s' * (count != 1)} dropped: {reason}".encode()
