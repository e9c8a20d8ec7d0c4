"""The one place that waits for children: a wait4(2) loop until empty, after each SIGCHLD on the signalfd.

A pid is registered right after its clone, with no checkpoint between, so no exit is ever lost. Whoever is not
registered was adopted: we are pid 1, or a subreaper (prctl(2)).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from resource import struct_rusage

import trio

from arje.incarnation import Exit


class ExitSlot:
    """Where the end of one child arrives. ``exit`` is None while it lives; ``used`` is what it has used (getrusage(2))."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.exit: Exit | None = None
        self.used: struct_rusage | None = None
        self._ring = ring
        self._gone: trio.Event | None = None  # most ends nobody waits for but by the bell

    def set(self, exit: Exit, used: struct_rusage | None = None) -> None:
        """Store the end and ring whoever waits for it. The first end counts."""
        if self.exit is not None:
            return
        self.exit, self.used = exit, used
        if self._gone is not None:
            self._gone.set()
        self._ring()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end, at most so many seconds. Returns whether it came."""
        if self.exit is None:
            self._gone = trio.Event() if self._gone is None else self._gone
            with trio.move_on_after(seconds if seconds is not None else float("inf")):
                await self._gone.wait()
        return self.exit is not None


class Reaper:
    """Registered children by pid, and how many strangers were reaped."""

    def __init__(self) -> None:
        self._slots: dict[int, ExitSlot] = {}
        self.orphans = 0

    def register(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        """Expect a child's end. Call it right after the clone."""
        slot = self._slots[pid] = ExitSlot(ring)
        return slot

    def forget(self, pid: int, slot: ExitSlot) -> None:
        """Expect it no more: somebody else has reaped it. A new child that has the pid by now is not forgotten."""
        if self._slots.get(pid) is slot:
            del self._slots[pid]

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        """Let the end that counts be another process's: its exit goes into the slot of the old one, whose own is reaped.

        Returns the slot; None when nobody expects the old one.
        """
        slot = self._slots.pop(old, None)
        if slot is not None:
            self._slots[old] = ExitSlot(lambda: None)
            self._slots[new] = slot
        return slot

    def drain(self) -> None:
        """Reap every child that has ended."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            slot = self._slots.pop(pid, None)
            if slot is None:
                self.orphans += 1
            else:
                slot.set(_exit(status), used)


def _exit(status: int) -> Exit:
    """Return how a child ended: wait4(2) packs what waitid(2) tells in two numbers."""
    if os.WIFEXITED(status):
        return Exit("exited", os.WEXITSTATUS(status))
    return Exit("dumped" if os.WCOREDUMP(status) else "killed", os.WTERMSIG(status))
