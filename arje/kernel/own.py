"""The manager's own facts: those of its start, but for its mounts, which are read again when the kernel says so."""

from __future__ import annotations

import os
import select

from arje.kernel.facts import Facts


class Own(Facts):
    """The facts of this process. Belongs to one thread, and to a process that does not leave its mount namespace."""

    def __init__(self) -> None:
        super().__init__(Facts.of_process("self").texts)
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._changed = select.poll()
        self._changed.register(self._fd, select.POLLPRI)  # proc_pid_mounts(5): at each mount and unmount
        self._now: Facts | None = None

    @property
    def now(self) -> Facts:
        """The mounts at this moment. Asking whether they changed costs 1 µs, reading them 60 and more. Raises OSError."""
        if self._changed.poll(0) or self._now is None:  # asked first: what changes meanwhile is told the next time
            self._now = None
            pieces, size = [], 0
            while piece := os.pread(self._fd, 65536, size):
                pieces.append(piece)
                size += len(piece)
            self._now = Facts({"mountinfo": os.fsdecode(b"".join(pieces))})
        return self._now

    def __del__(self) -> None:
        """Close the descriptor: a program may make many managers, one after the other."""
        if hasattr(self, "_fd"):
            os.close(self._fd)
