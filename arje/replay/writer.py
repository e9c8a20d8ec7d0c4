"""The file of a recording, written beside the loop: a queue with an end, and one thread that empties it.

A disk that is slow or full, and a file that has grown too large, end the recording with a last line that says so; the
manager feels nothing. Command lines and environments are in cards, so that the file is its owner's alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from pathlib import Path
from typing import Any, Final

LARGEST: Final = 256 * 2**20  # bytes
_WAITING: Final = 50_000  # lines
_FLUSH: Final = 2.0  # seconds for the last lines


class Writer:
    """One file; what was there is kept as ``FILE.1``. Raises OSError when it cannot be made."""

    def __init__(self, file: Path, largest: int = LARGEST) -> None:
        with contextlib.suppress(FileNotFoundError):
            file.rename(file.with_name(f"{file.name}.1"))
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._largest = largest
        self._size = 0
        self._queue: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._over = False
        self._lost: float | None = None  # when there was no room for a line
        self._thread: threading.Thread | None = None

    def put(self, line: dict[str, Any]) -> None:
        """Take a line. Never waits; nothing follows a line that could not be taken."""
        if self._over:
            return
        if self._thread is None:  # signals are blocked by now (daemon.py)
            self._thread = threading.Thread(target=self._run, name="arje-record", daemon=True)
            self._thread.start()
        text = json.dumps(line, separators=(",", ":"), default=str) + "\n"
        self._size += len(text)
        if self._size > self._largest:
            text, self._over = _end(line["t"], f"the recording is larger than {self._largest} bytes"), True
        try:
            self._queue.put_nowait(text)
        except queue.Full:  # the thread writes the end when it comes to it
            self._over, self._lost = True, line["t"]

    def close(self, t: float) -> None:
        """Write what there is, for two seconds at most, and close the file."""
        self.put({"t": t, "step": -1, "is": "end", "why": ""})
        self._over = True
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_FLUSH)
                self._thread.join(_FLUSH)

    def _run(self) -> None:
        while (text := self._queue.get()) is not None:
            lines = [text]
            with contextlib.suppress(queue.Empty):
                while (more := self._queue.get_nowait()) is not None:
                    lines.append(more)
                self._queue.put(None)
            try:
                self._write("".join(lines).encode())
                if self._lost is not None and self._queue.empty():
                    self._write(_end(self._lost, "the disk was too slow for the recording").encode())
                    return
            except OSError:  # what is there can be read
                self._over = True
                return

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]


def _end(t: float, why: str) -> str:
    return json.dumps({"t": t, "step": -1, "is": "end", "why": why}, separators=(",", ":")) + "\n"
