"""The file of one service's log: many lines in one write, rotated by size, made again where somebody removed it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

ROTATE: Final = 4 * 2**20  # bytes; one older file is kept


class LogFile:
    """One file, opened at the first write. ``dropped`` counts the lines that it could not take."""

    def __init__(self, directory: Path, label: str) -> None:
        self.dropped = 0
        self._path = directory / f"{label}.log"
        self._label = label
        self._fd = -1
        self._size = 0
        self._second = 0
        self._stamp = ""

    def write(self, stream: str, pid: int, wall: float, texts: list[str]) -> None:
        """Append lines of one moment. A full disk costs lines, never an exception."""
        lead = f"{self._stamp_of(wall)} {self._label}[{pid}] {stream}: "
        data = (lead + f"\n{lead}".join(texts) + "\n").encode(errors="replace")
        try:
            self._open()
            while data:
                written = os.write(self._fd, data)
                self._size += written
                data = data[written:]
            if self._size > ROTATE:
                self._path.rename(self._path.with_suffix(".log.1"))
                self.close()
        except OSError:
            self.dropped += data.count(b"\n")
            self.close()

    def _stamp_of(self, wall: float) -> str:
        if int(wall) != self._second:
            self._second = int(wall)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
        return self._stamp

    def _open(self) -> None:
        if self._fd >= 0 and os.fstat(self._fd).st_nlink:
            return
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags, 0o640)
        except FileNotFoundError:  # the whole directory is gone
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the descriptor. May be called twice; the next write opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
