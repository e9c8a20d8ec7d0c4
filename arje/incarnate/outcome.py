"""A running incarnation in the hands of its keeper: signals, the whole tree's end, and what is left to clean."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import replace

from arje import native
from arje.card.soma import Soma
from arje.incarnate import mark
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.held import Held
from arje.incarnation import Exit, Incarnation
from arje.kernel import cgroup, memory, process
from arje.kernel.cgroup import Cgroup
from arje.kernel.memory import MemoryEvents


class Outcome:
    """What ``incarnate`` returns. ``pidfd`` is the leader's: the child to be waited for."""

    def __init__(
        self,
        incarnation: Incarnation,
        child: native.Child,
        group: Cgroup | None,
        held: Sequence[Held] = (),
        plan: Blueprint | None = None,
    ) -> None:
        self.incarnation = incarnation
        self.pidfd = child.pidfd
        self._verdict_fd = child.verdict_fd
        self._verdict: tuple[int, int] | None = None
        self._main_fd = -1
        self._group = group
        self._held = held
        self.plan = plan
        self.soma = plan.soma if plan else Soma()
        """What is in force: the card's, as planned, and the limits that were changed since."""
        self.drifted: set[str] = set()
        """The features that were granted, and of which a later look has seen that they are so no more."""

    @property
    def ended(self) -> bool:
        """Whether the leader has ended, or this is closed."""
        if self.pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def exit_of(self, leader: Exit) -> Exit:
        """Return how the payload ended: the reaper's verdict when there is one, else the leader's own end."""
        if self._verdict is None and self._verdict_fd >= 0:  # it can be read once
            self._verdict = native.read_verdict(self._verdict_fd)
        return Exit.from_wait(*self._verdict) if self._verdict else leader

    def signal_main(self, number: int) -> str:
        """Send the payload a signal; a reaper passes it on, but for KILL, which ends its whole namespace.

        Returns why the kernel does not let us, which is a program with another user's rights; empty when it does.
        """
        try:
            signal.pidfd_send_signal(self._main_fd if self._main_fd >= 0 else self.pidfd, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            return mark.refusal(self.incarnation.pid if self._main_fd >= 0 else self.incarnation.leader_pid)
        return ""

    def signal_all(self, number: int) -> str:
        """Send every process of the service a signal. Returns why one that is still there did not get it."""
        trouble = ""
        for one in self.processes():
            try:
                fd = os.pidfd_open(one.pid)
            except ProcessLookupError:
                continue
            try:
                if self.owns(one.pid):
                    signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                trouble = mark.refusal(one.pid)
            finally:
                os.close(fd)
        return trouble

    def kill_tree(self) -> str:
        """Kill every process of the service. Returns the way that was used, or why there is none."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                self._group.kill()
                return "cgroup.kill"
        if self._verdict_fd >= 0:
            return self.signal_main(signal.SIGKILL) or "pid namespace"
        for pid in mark.of_service(self.incarnation.label, self.incarnation.leader_pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return self.signal_main(signal.SIGKILL) or "subreaper walk"

    @property
    def is_loose(self) -> bool:
        """Whether neither a cgroup nor a pid namespace holds the service's processes: only :meth:`sweep` finds them."""
        return self._group is None and self._verdict_fd < 0

    def sweep(self) -> str:
        """Kill what a loose service has left behind its leader. Returns the way when there was something, else empty."""
        killed, refused = mark.sweep(self.incarnation.label, self.incarnation.leader_pid)
        return f"subreaper walk: {refused}" if refused else "subreaper walk" if killed else ""

    def processes(self) -> tuple[process.Process, ...]:
        """Return the process tree of the service."""
        if self._group is not None:
            with contextlib.suppress(FileNotFoundError):
                return process.tree(self._group.pids())
        leader = self.incarnation.leader_pid
        if self.is_loose:
            return process.tree(mark.of_service(self.incarnation.label, leader))
        return process.tree([leader, *process.descendants(leader)])

    def owns(self, pid: int) -> bool:
        """Whether a living process is one of the service's: in its cgroup, its pid namespace, or below its leader."""
        if pid in (self.incarnation.pid, self.incarnation.leader_pid):
            return True
        try:
            if self._group is not None:
                inside, place = process.cgroup(pid), cgroup.place_of(self._group.path)
                return inside == place or inside.startswith(place + "/")
            if self._verdict_fd >= 0:
                return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.incarnation.pid}/ns/pid")
        except OSError:
            return False
        return pid in mark.of_service(self.incarnation.label, self.incarnation.leader_pid)

    def follow(self, pid: int) -> None:
        """Let another process of the service be its main one. Raises OSError, and ValueError for a stranger."""
        if self._verdict_fd >= 0:
            raise ValueError("in a pid namespace the first process is the main one")
        fd = os.pidfd_open(pid)
        if not self.owns(pid):
            os.close(fd)
            raise ValueError(f"process {pid} is not one of the service's")
        if self._main_fd >= 0:
            os.close(self._main_fd)
        self._main_fd = fd
        self.incarnation = replace(self.incarnation, pid=pid)

    @property
    def main_fd(self) -> int:
        """The pidfd of the main process, where that is not the leader; else -1."""
        return self._main_fd

    @property
    def populated(self) -> bool:
        """Whether processes of the service are left; only a cgroup can tell."""
        return self._group is not None and self._group.populated()

    def close_at_once(self) -> bool:
        """Close if that waits for nothing, and return whether it did: :meth:`close` ends what is left of the service, or
        takes a network apart (50 ms). Whether a cgroup is empty, its rmdir(2) says best."""
        if self._held or (self._group is not None and not self._group.remove_empty()):
            return False
        self._group = None
        self.close()
        return True

    @property
    def helper_pids(self) -> tuple[int, ...]:
        """Children of ours that serve this incarnation; ``close`` ends them."""
        return tuple(thing.helper_pid for thing in self._held if thing.helper_pid)

    @property
    def cgroup(self) -> Cgroup | None:
        """The service's cgroup; None when it has none, or is closed."""
        return self._group

    @property
    def frozen(self) -> bool:
        """Whether every process of the service is frozen, whoever did it."""
        return self._group is not None and self._group.frozen

    def freeze(self, *, frozen: bool) -> bool:
        """Freeze or thaw every process; return whether it is so within a second. Raises OSError, also without a cgroup."""
        if self._group is None:
            raise FileNotFoundError(errno.ENOENT, "the service has no cgroup of its own")
        return self._group.freeze(frozen=frozen)

    def thaw(self) -> None:
        """Let a frozen service run, so that it hears a signal. Raises nothing: it may have no cgroup, or be gone."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                self._group.write("cgroup.freeze", "0")

    def cgroup_file(self, name: str) -> str | None:
        """Return what a file of the service's cgroup says (``memory.current``); None when there is none."""
        try:
            return self._group.read(name) if self._group else None
        except OSError:
            return None

    def memory_events(self, most: int) -> MemoryEvents:
        """Let the kernel tell when the service uses more than so many bytes. Raises OSError where it cannot."""
        if self._group is None:
            raise FileNotFoundError(errno.ENOENT, "the service has no cgroup of its own")
        return MemoryEvents(self._group, most)

    def memory_used(self) -> int:
        """Return the bytes that the service uses, without what the kernel can take back. May take a while: ask a thread."""
        counted = memory.of_cgroup(self.cgroup_file)
        return memory.of_processes(one.pid for one in self.processes()) if counted is None else counted

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel killed any of its processes for want of memory (memory.events; cgroup-v2)."""
        events = (self.cgroup_file("memory.events") or "").splitlines()
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in events)

    def close(self) -> None:
        """Kill what is left in the service's cgroup, remove it, close every descriptor. May be called twice.

        Raises OSError when the cgroup cannot be removed: something in it does not die. Every descriptor is closed then too.
        """
        held, self._held = self._held, ()
        group, self._group = self._group, None
        with contextlib.ExitStack() as last_first:
            for fd in (self.pidfd, self._verdict_fd, self._main_fd):
                if fd >= 0:
                    last_first.callback(os.close, fd)
            self.pidfd = self._verdict_fd = self._main_fd = -1
            if group is not None:
                last_first.callback(group.close)
                last_first.callback(discard, group)
            for thing in held:
                last_first.callback(thing.release)


def discard(group: Cgroup) -> None:
    """Kill what lives in a cgroup, wait for its end (cgroup.events says so), and remove it."""
    with contextlib.suppress(FileNotFoundError):
        try:
            group.remove()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            group.kill()
            _wait_empty(group)
            group.remove()


def _wait_empty(group: Cgroup) -> None:
    """Wait for ``populated 0``. Kernel-bound: everything in it was just killed. A second is for the uninterruptible."""
    fd = os.open(group.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while b"populated 1" in os.pread(fd, 4096, 0):
            if not poll.poll(1000):
                return
    finally:
        os.close(fd)
