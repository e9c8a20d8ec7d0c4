"""The few verbs that the supervisor asks of the world. What keeps services knows no kernel and no clock but through them.

A test, or a replay, is a host of its own: under a virtual clock of trio's it plays the processes, and every wait of the
supervisor takes no time. What makes that work:

* **There are two clocks with one pace.** Waits are trio's (``move_on_after``); times in records are :meth:`Host.now`. A
  host's clock runs as trio's does, only its zero may differ: so one waits for a time by the difference from now.
* **Nothing else goes to a thread.** A virtual clock jumps when every task waits, and does not see threads: questions that
  may hang are put with :meth:`Host.ask`.
* **What the world does is an input, and has a name.** A replay gives the answers of :meth:`Host.ask` and
  :meth:`Host.heed` by that name and in their order, and the lots of :meth:`Host.draw`.
* **No checkpoint lies between the start of a child and its registration** (:meth:`Host.begin`, :meth:`Host.expect`), so
  no exit is ever lost.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import resource
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import tzinfo
from typing import Final, Protocol, TypeVar

import trio

from arje.card.card import Card
from arje.incarnate import mark
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.neighbours import Neighbours
from arje.incarnate.outcome import Outcome
from arje.incarnate.pending import Pending
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation
from arje.kernel.clock import local_zone, machine_id
from arje.kernel.memory import MemoryEvents
from arje.kernel.process import Process
from arje.supervisor import notify
from arje.supervisor.notify import NotifySocket
from arje.supervisor.reaper import ExitSlot, Reaper
from arje.supervisor.servicelog import ServiceLog
from arje.supervisor.stdio import opened
from arje.supervisor.wall_clock import WallClock

_RESERVE: Final = 24  # descriptors that services do not get: arjectl is to be answered when they run out

Answer = TypeVar("Answer")


class Living(Protocol):
    """A running incarnation in the hands of its keeper: what a life and a status ask of it (outcome.py has the words)."""

    incarnation: Incarnation
    plan: Blueprint | None

    @property
    def frozen(self) -> bool: ...
    @property
    def oom_killed(self) -> bool: ...
    @property
    def is_loose(self) -> bool: ...
    def exit_of(self, leader: Exit) -> Exit: ...
    def signal_main(self, number: int) -> str: ...
    def kill_tree(self) -> str: ...
    def thaw(self) -> None: ...
    def owns(self, pid: int) -> bool: ...
    def follow(self, pid: int) -> None: ...
    @property
    def main_fd(self) -> int: ...
    def sweep(self) -> str: ...
    def close_at_once(self) -> bool: ...
    def close(self) -> None: ...
    def processes(self) -> tuple[Process, ...]: ...
    def cgroup_file(self, name: str) -> str | None: ...
    def memory_events(self, most: int) -> MemoryEvents: ...
    def memory_used(self) -> int: ...


class Unborn(Protocol):
    """An incarnation between its clone and its confirmed exec. ``helper_pids`` are children of ours that serve it."""

    @property
    def leader_pid(self) -> int: ...
    @property
    def helper_pids(self) -> tuple[int, ...]: ...

    async def confirmed(self) -> None:
        """Wait for the end of the set-up, good or bad."""

    def finish(self) -> Living:
        """Return the running incarnation. Raises SetupFailed, IncarnationRefused; its child is reaped then."""

    async def abort(self) -> None:
        """Kill and reap the child, and clean up. Somebody else may have reaped it already; may be called again."""


class Host(Protocol):
    """The world, as the supervisor sees it. Pids are what :meth:`begin` told; the kernel's, or a play's."""

    def now(self) -> float:
        """Return the time of now: CLOCK_MONOTONIC in seconds."""

    def wall(self) -> float:
        """Return CLOCK_REALTIME in seconds: for people and calendars, never for other decisions."""

    def zone(self) -> tzinfo:
        """Return the machine's time zone."""

    async def clock_changed(self) -> None:
        """Wait until somebody sets the wall clock or the time zone, or the machine has slept.

        What happens between two calls is not lost."""

    def machine_id(self) -> str:
        """Return what tells this machine from others."""

    def stdio(self, card: Card, log: ServiceLog, nursery: trio.Nursery) -> AbstractAsyncContextManager[StdioFds]:
        """Open what a card wants as descriptors 0, 1 and 2. Raises SetupFailed, and OSError when they run out."""

    async def furnish(self, card: Card, given: Given = NOTHING) -> None:
        """Do what of a start may hang, before :meth:`begin`; whoever cancels does not wait for it. Raises SetupFailed."""

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Unborn:
        """Begin an incarnation with what it is ``given``, without a wait. Raises SetupFailed and IncarnationRefused.

        Nothing is left then.
        """

    def expect(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        """Return where the end of a child arrives; ``ring`` is called then. Call it right after :meth:`begin`."""

    def forget(self, pid: int, slot: ExitSlot) -> None:
        """Expect the end of a child no more: somebody else has reaped it."""

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        """Let the end that counts be another process's; return where it arrives. None when nobody expected the old one."""

    def kill(self, pid: int) -> None:
        """Kill a child of ours, unless it has been reaped already."""

    async def close(self, living: Living) -> str:
        """Kill what a leader that has ended left behind, and let go. Returns how, when a walk had to look for it.

        Raises OSError when something does not die.
        """

    def notify_socket(self, label: str) -> NotifySocket:
        """Return a new socket on which a service tells of itself. Raises OSError."""

    async def ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """Put a question that may hang, as to a dead mount; whoever cancels does not wait for it. ``what`` names it."""

    async def descriptor(self, what: str, make: Callable[[], int]) -> int:
        """Put a question whose answer is a new descriptor, which is the caller's to close."""

    async def heed(self, what: str, wait: Callable[[], Awaitable[Answer]]) -> Answer:
        """Wait in the loop for something that the world does beside all this: a line, a connection. ``what`` names it."""

    def draw(self, what: str) -> float:
        """Draw lots: a number from 0 to 1. ``what`` names for whom."""

    async def sweep(self) -> tuple[int, str]:
        """Kill every process below us that was not there before us. Returns how many went, and why one is left."""

    def introduce(self, neighbours: Neighbours) -> None:
        """Let services join the namespaces of others: ``neighbours`` finds a running one."""

    @property
    def incarnator(self) -> Incarnator:
        """Who knows what this machine can isolate: for doctor, forecast, heal and harden; lives do not ask."""

    @property
    def orphans(self) -> int:
        """How many strangers were reaped."""


class Conceived:
    """A :class:`~arje.incarnate.pending.Pending` that is waited for in trio's loop."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self.leader_pid = pending.leader_pid
        self.helper_pids = pending.helper_pids

    async def confirmed(self) -> None:
        """Wait for the end of the set-up."""
        while not self._pending.advance():
            await trio.lowlevel.wait_readable(self._pending.status_fd)

    def finish(self) -> Outcome:
        """Return the running incarnation, read back from the kernel."""
        return self._pending.finish()

    async def abort(self) -> None:
        """Kill and reap the child, and clean up, in a thread: it waits for the kernel."""
        await trio.to_thread.run_sync(self._pending.abort)


class Machine:
    """This machine."""

    def __init__(self, incarnator: Incarnator, reaper: Reaper) -> None:
        self._incarnator = incarnator
        self._reaper = reaper
        self._wall_clock = WallClock()
        self._zone: tzinfo | None = None
        self.courtesy = 0.0  # seconds for what services have left to go by itself
        self._strangers = frozenset(mark.children())  # they were here before us, and are not ours to kill

    def now(self) -> float:
        """Return CLOCK_MONOTONIC; trio's own clock is the same with another zero."""
        return time.monotonic()

    def wall(self) -> float:
        """Return CLOCK_REALTIME."""
        return time.time()

    def zone(self) -> tzinfo:
        """Return ``$TZ`` or /etc/localtime, read again after a change."""
        if self._zone is None:
            self._zone = local_zone()
        return self._zone

    async def clock_changed(self) -> None:
        """Watch the clock and /etc/localtime (wall_clock.py)."""
        await self._wall_clock.changed()
        self._zone = None

    def machine_id(self) -> str:
        """Return machine-id(5)."""
        return machine_id()

    @asynccontextmanager
    async def stdio(self, card: Card, log: ServiceLog, nursery: trio.Nursery) -> AsyncIterator[StdioFds]:
        """Open the three descriptors while there are some left for arje itself (stdio.py)."""
        keep_descriptors()
        async with opened(card, log, nursery) as found:
            yield found

    async def furnish(self, card: Card, given: Given = NOTHING) -> None:
        """Let a thread read and make what may lie on a dead mount, if there is any of it (furnishing.py)."""
        if self._incarnator.may_hang(card):
            made = await self.ask(card.label, functools.partial(self._incarnator.furnish, card, given))
            self._incarnator.furnished(made)

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Conceived:
        """Clone, configure, decide and open the gate (spawn.py)."""
        return Conceived(self._incarnator.begin(card, stdio, given))

    def expect(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        """Register a child with the reaper."""
        return self._reaper.register(pid, ring)

    def forget(self, pid: int, slot: ExitSlot) -> None:
        """Take a child back from the reaper."""
        self._reaper.forget(pid, slot)

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        """Tell the reaper."""
        return self._reaper.transfer(old, new)

    def kill(self, pid: int) -> None:
        """Send KILL, unless somebody has reaped the child already and the number may be another's."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            os.kill(pid, signal.SIGKILL)
        except (ChildProcessError, ProcessLookupError, PermissionError):
            return

    async def close(self, living: Living) -> str:
        """Sweep a loose service and close it, in threads where that waits until what is left has been killed."""
        swept = await trio.to_thread.run_sync(living.sweep) if living.is_loose else ""
        if not living.close_at_once():
            await trio.to_thread.run_sync(living.close)
        return swept

    def notify_socket(self, label: str) -> NotifySocket:
        """Bind one below the runtime directory."""
        return NotifySocket(self._incarnator.runtime_dir / notify.DIRECTORY / label)

    async def ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """Let a thread ask; one that hangs is left to itself."""
        return await trio.to_thread.run_sync(question, abandon_on_cancel=True)

    async def descriptor(self, what: str, make: Callable[[], int]) -> int:
        """Let a thread make it. One that hangs is left to itself, and closes what nobody waits for any more."""
        gone = threading.Event()

        def made() -> int:
            keep_descriptors()
            fd = make()
            if gone.is_set():
                os.close(fd)
            return fd

        try:
            return await self.ask(what, made)
        except trio.Cancelled:
            gone.set()
            raise

    async def heed(self, what: str, wait: Callable[[], Awaitable[Answer]]) -> Answer:
        """Wait."""
        return await wait()

    def draw(self, what: str) -> float:
        """Draw as random does."""
        return random.random()

    async def sweep(self) -> tuple[int, str]:
        """Walk all that is below us, in a thread (mark.py)."""
        self._incarnator.close()  # who makes namespaces ahead is below us, too
        return await trio.to_thread.run_sync(mark.sweep_all, self._strangers, self.courtesy)

    def introduce(self, neighbours: Neighbours) -> None:
        """Tell the incarnator who else runs here."""
        self._incarnator.neighbours = neighbours

    @property
    def incarnator(self) -> Incarnator:
        """Who makes processes of cards here."""
        return self._incarnator

    @property
    def orphans(self) -> int:
        """How many strangers the reaper has reaped."""
        return self._reaper.orphans


def keep_descriptors() -> None:
    """Raise EMFILE while some are left. The kernel gives the lowest free number (dup(2)): all below are taken."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        return
    os.close(lowest := fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 0))
    if lowest >= max(0, most - _RESERVE):
        raise OSError(errno.EMFILE, f"{lowest} of {most} descriptors are taken")
