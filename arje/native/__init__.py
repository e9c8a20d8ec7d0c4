"""The typed door to the trampoline: the only module that touches cffi.

A :class:`Plan` is encoded once per card and spawned often; a :class:`Spawner` owns the guard-paged stacks and lends one
to each spawn until its status channel says EOF. Every function raises :class:`OSError` with the kernel's errno, and the
import raises :class:`~arje.errors.NativeError` when the compiled part is missing or is another version's.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from arje.errors import NativeError

try:
    from arje.native import _native  # type: ignore[attr-defined, unused-ignore]
except ImportError as error:
    raise NativeError(f"the compiled trampoline is missing ({error}); run make, or pip install .") from error

_ABI: Final = 20
_ffi: Any = _native.ffi
_lib: Any = _native.lib
if _lib.arje_abi() != _ABI:
    raise NativeError(f"the compiled trampoline speaks ABI {_lib.arje_abi()}, arje speaks {_ABI}; run make again")

#: Names of the child's steps, by number, as the C enum has them (``mount-private``).
STEPS: Final = tuple(
    name.removeprefix("ARJE_").lower().replace("_", "-")
    for _, name in sorted(_ffi.typeof("enum arje_step").elements.items())[:-1]
)
STEP_NUMBER: Final = {name: number for number, name in enumerate(STEPS)}
DEGRADED: Final = int(_lib.ARJE_DEGRADED)
FATAL: Final = int(_lib.ARJE_FATAL)
MAPS: Final = int(_lib.ARJE_MAPS)
FACTS: Final = int(_lib.ARJE_FACTS)
APART: Final = int(_lib.ARJE_APART)
WAITING: Final = int(_lib.ARJE_WAITING)
HOT: Final = int(_lib.ARJE_HOT)
EXEC_FAILED: Final = int(_lib.ARJE_EXEC_FAILED)
LISTENER: Final = int(_lib.ARJE_LISTENER)
TRIED: Final = int(_lib.ARJE_TRIED)

#: What a child can tell of itself (``report`` op) by the names of the C enum; ``wait``: and wait until it was judged.
FACT: Final = {
    name.removeprefix("ARJE_FACT_").lower(): int(bit) for bit, name in _ffi.typeof("enum arje_fact").elements.items()
}

#: How a mount op mounts (``a``), by the names of the C enum: make, missing, recursive, base, in-place, copy.
MOUNT: Final = {
    name.removeprefix("ARJE_MOUNT_").lower().replace("_", "-"): int(bit)
    for bit, name in _ffi.typeof("enum arje_mount").elements.items()
}

CLONE_NEW: Final = {
    "time": 0x00000080,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}


_NO_JOINS: Final = [-1] * int(_lib.ARJE_JOINS)


class Op(NamedTuple):
    """One step for the child: its name, whether its failure may be survived, and what the step needs (see abi.h)."""

    step: str
    optional: bool = False
    a: int = 0
    p: bytes | Sequence[int] | None = None
    q: bytes | None = None
    r: bytes | None = None
    b: int = 0
    slot: int = 0
    needs: int = 0


class Record(NamedTuple):
    """One message of a child. ``pid`` is the sender as we see it, ``monotonic_ns`` its clock, ``syscall`` what refused,
    ``data`` the facts of a FACTS record: name, NUL, text, NUL, and so on."""

    kind: int
    step: str
    op_index: int
    errno: int
    monotonic_ns: int
    syscall: str
    pid: int
    data: bytes


class Child(NamedTuple):
    """A cloned child that waits at its gate; the descriptors belong to the caller now. ``verdict_fd`` -1: no reaper."""

    pid: int
    pidfd: int
    status_fd: int
    verdict_fd: int
    stack: Any
    plan: Plan  # kept alive: the child reads it until its status channel says EOF


class Plan:
    """What a spawn does, encoded for C. Keeps alive whatever C points into; may be used for many spawns, in turn."""

    def __init__(
        self,
        ops: Sequence[Op],
        paths: Sequence[bytes],
        argv: Sequence[bytes],
        envp: Sequence[bytes],
        *,
        reaper: bool,
        reaper_death_signal: int = 0,
        reaper_session: bool = True,
        pid_variables: Sequence[bytes] = (),
        nofile: int = 0,
    ) -> None:
        """``pid_variables``: names of variables that say the payload's pid, as it sees it itself. ``nofile``: its soft
        limit of descriptors, 0 for the manager's."""
        self._keep: list[Any] = []
        array = _ffi.new("struct arje_op[]", max(1, len(ops)))
        for slot, op in zip(array, ops, strict=False):
            slot.step, slot.flags, slot.a = STEP_NUMBER[op.step], int(op.optional), op.a
            slot.b, slot.slot, slot.needs = op.b, op.slot, op.needs
            slot.p, slot.q, slot.r = self._pointer(op.p), self._pointer(op.q), self._pointer(op.r)
        self.c = _ffi.new("struct arje_plan *")
        self.c.cgroup_fd = -1
        self.c.reaper_fd = _reaper_fd() if reaper else -1
        self.c.reaper_death_signal = reaper_death_signal
        self.c.reaper_session = reaper_session
        self.c.nofile = nofile
        self.c.idmap_fd, self.c.joins = -1, _NO_JOINS
        self.c.spare_net = self.c.spare_user = -1
        self.c.op_count, self.c.ops = len(ops), array
        with_pid = [_ffi.new("char[]", name + b"=" + bytes(_lib.ARJE_DIGITS)) for name in pid_variables]
        pids = _ffi.new("char *[]", [text + len(name) + 1 for text, name in zip(with_pid, pid_variables, strict=True)])
        self.c.pid_count, self.c.pids = len(with_pid), pids
        self.c.paths, self.c.argv = self._strings(paths), self._strings(argv)
        self.c.envp = self._strings(envp, with_pid)
        self._keep += [array, pids, *with_pid]

    def _pointer(self, value: bytes | Sequence[int] | None) -> Any:
        if value is None:
            return _ffi.NULL
        kept = _ffi.new("char[]", value) if isinstance(value, bytes) else _ffi.new("uint32_t[]", list(value) or [0])
        self._keep.append(kept)
        return kept

    def _strings(self, values: Sequence[bytes], more: Sequence[Any] = ()) -> Any:
        array = _ffi.new("const char *[]", [*(self._pointer(value) for value in values), *more, _ffi.NULL])
        self._keep.append(array)
        return array

    def passing(self, fds: Sequence[int]) -> None:
        """Let these descriptors become 3, 4 and so on of the next payload. They stay the caller's."""
        self._passed = _ffi.new("int32_t[]", list(fds)) if fds else _ffi.NULL
        self.c.passed_count, self.c.passed = len(fds), self._passed


@functools.cache
def _hide_memory() -> None:
    """Let nobody without CAP_SYS_PTRACE here into our memory (ptrace(2)), for children share it until they execute.

    Uid 0 without any capability has all of them over a user namespace that uid 0 made, and so over a child of ours in it.
    An ordinary user's own processes may look into the manager anyway, and it must own its files of /proc.
    """
    if os.geteuid() != 0:
        return
    _lib.arje_dumpable(0)
    if os.stat("/proc/self/uid_map").st_uid != 0:  # we were executed outside of our user namespace
        _lib.arje_dumpable(1)


class Spawner:
    """Clones children. Belongs to one thread: PR_SET_PDEATHSIG follows the thread that cloned (prctl(2))."""

    def __init__(self) -> None:
        self._stacks: list[Any] = []
        self._child = _ffi.new("struct arje_child *")
        self._stdio = _ffi.new("int[3]")
        _hide_memory()

    def spawn(
        self,
        plan: Plan,
        stdio: tuple[int, int, int],
        *,
        clone_flags: int,
        early_unshare: int = 0,
        cgroup_fd: int = -1,
        idmap_fd: int = -1,
        apart: bool = False,
        joins: Sequence[int] = (),
        pid_namespace: int = -1,
        passed: Sequence[int] = (),
        spare_net: int = -1,
        spare_user: int = -1,
    ) -> Child:
        """Clone one child; it waits at its gate. Raises OSError (clone3(2), socketpair(2), mmap(2)).

        ``apart``: in memory of its own. ``joins``: namespaces that its ``join`` steps enter. ``pid_namespace``: where
        it is born (setns(2)), or -1. ``passed``: descriptors that become 3, 4 and so on. ``spare_net`` and ``spare_user``:
        what it takes in place of new ones.
        """
        stack = self._stacks.pop() if self._stacks else _lib.arje_stack_new()
        if stack == _ffi.NULL:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._stdio[0], self._stdio[1], self._stdio[2] = stdio
        plan.c.clone_flags, plan.c.early_unshare, plan.c.cgroup_fd = clone_flags, early_unshare, cgroup_fd
        plan.c.apart = apart
        plan.passing(passed)
        if joins:
            plan.c.joins = [*joins, *_NO_JOINS[len(joins) :]]
        plan.c.idmap_fd = idmap_fd
        plan.c.spare_net, plan.c.spare_user = spare_net, spare_user
        answer = self._spawn(plan, stack, pid_namespace)
        if answer < 0:
            self._stacks.append(stack)
            _raise(answer)
        child = self._child
        return Child(child.pid, child.pidfd, child.status_fd, child.verdict_fd, stack, plan)

    def _spawn(self, plan: Plan, stack: Any, pid_namespace: int) -> int:
        """A pid namespace is entered by those who are born from now on: ours is put back at once."""
        if pid_namespace < 0:
            return int(_lib.arje_spawn(plan.c, stack, self._stdio, self._child))
        own = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = _lib.arje_setns(pid_namespace, CLONE_NEW["pid"])
            if answer == 0:
                answer = _lib.arje_spawn(plan.c, stack, self._stdio, self._child)
                while _lib.arje_setns(own, CLONE_NEW["pid"]) == -errno.ENOMEM:  # the only way to fail that is left
                    pass
        finally:
            os.close(own)
        return int(answer)

    def __del__(self) -> None:
        """Unmap the stacks that are not lent: a probe's spawner lives for one look at the machine."""
        for stack in self._stacks:
            _lib.arje_stack_free(stack)

    def give_back(self, child: Child) -> None:
        """Take back the stack of a child whose status channel said EOF (or that was killed and reaped)."""
        if len(self._stacks) < 16:
            self._stacks.append(child.stack)
        else:
            _lib.arje_stack_free(child.stack)


_message: Final = _ffi.new("struct arje_message *")
_record: Final = _message.record


def release(status_fd: int) -> None:
    """Let a child pass its gate. Raises OSError (EPIPE: it is gone)."""
    _check(_lib.arje_release(status_fd))


def receive(status_fd: int, *, block: bool = False) -> Record | None:
    """Return the next record, or None at EOF. Raises BlockingIOError when there is none yet and ``block`` is False."""
    while (answer := _lib.arje_receive(status_fd, block, _message)) == -errno.EINTR:
        pass
    if answer == 0:
        return None
    _check(answer)
    syscall = _ffi.string(_record.detail).decode() if _record.error else ""
    data = bytes(_ffi.buffer(_message.data, _message.length)) if _message.length else b""
    step = STEPS[_record.step]
    pid = _message.pid
    return Record(_record.kind, step, _record.op_index, _record.error, _record.monotonic_ns, syscall, pid, data)


def read_verdict(verdict_fd: int) -> tuple[int, int] | None:
    """Return waitid(2)'s si_code and si_status of a payload as its reaper wrote them; None when it wrote nothing."""
    size = _ffi.sizeof("struct arje_verdict")
    try:
        data = os.read(verdict_fd, size)
    except BlockingIOError:
        return None
    if len(data) != size:
        return None
    return int.from_bytes(data[:4], "little", signed=True), int.from_bytes(data[4:], "little", signed=True)


def probe_clone(flags: int) -> int:
    """Clone and reap a child with these CLONE_NEW* flags that only leaves. Returns 0 or the errno."""
    return -int(_lib.arje_probe_clone(flags))


def probe_setns() -> int:
    """Call setns(2) with no namespace. Returns EBADF, which is what it should say, or the errno of who refuses the call."""
    return -int(_lib.arje_setns(-1, 0))


def exec_error(child: Child) -> int:
    """Return the errno with which execve failed in a child, 0 when it did not. Only between EOF and :meth:`give_back`."""
    return int(_lib.arje_exec_error(child.stack))


def signalfd(signals: Iterable[int]) -> int:
    """Return a non-blocking signalfd(2) for these signal numbers, which the caller has blocked. Raises OSError."""
    numbers = list(signals)
    return _check(_lib.arje_signalfd(numbers, len(numbers)))


def read_signals(fd: int) -> list[tuple[int, int, int]]:
    """Return (signal, sender's pid, sender's uid) of each waiting signal. Raises BlockingIOError when there is none."""
    out = _ffi.new("int[48]")
    count = _check(_lib.arje_read_signals(fd, out, 16))
    return [(out[3 * i], out[3 * i + 1], out[3 * i + 2]) for i in range(count)]


def inotify_init() -> int:
    """Return a non-blocking inotify(7) descriptor. Raises OSError."""
    return _check(_lib.arje_inotify_init())


def inotify_add(fd: int, path: str | os.PathLike[str], mask: int) -> int:
    """Watch a path and return the watch's number. Raises OSError (inotify_add_watch(2))."""
    return _check(_lib.arje_inotify_add(fd, os.fsencode(path), mask))


def mq_open(name: str, mode: int, messages: int = 0, size: int = 0) -> int:
    """Open or make a message queue, ``/name``, of so many messages of at most ``size`` bytes; 0: as the machine has it.

    The descriptor does not wait, and can be polled. Raises OSError (mq_overview(7)).
    """
    return _check(_lib.arje_mq_open(os.fsencode(name.removeprefix("/")), mode, messages, size))


def mq_unlink(name: str) -> None:
    """Remove a message queue, ``/name``. Raises OSError (mq_unlink(3))."""
    _check(_lib.arje_mq_unlink(os.fsencode(name.removeprefix("/"))))


def ioprio_get(tid: int) -> int:
    """Return class << 13 | level of a thread's io priority (ioprio_set(2)). Raises OSError."""
    return _check(_lib.arje_ioprio_get(tid))


def ioprio_set(tid: int, value: int) -> None:
    """Give a thread an io priority: class << 13 | level (ioprio_set(2)). Raises OSError."""
    _check(_lib.arje_ioprio_set(tid, value))


def prctl_subreaper() -> None:
    """Make this process adopt the orphans below it (PR_SET_CHILD_SUBREAPER). Raises OSError."""
    _check(_lib.arje_subreaper())


def bench(plan: Plan, stdio: tuple[int, int, int], *, clone_flags: int, cgroup: str, count: int) -> list[int]:
    """Spawn a plan ``count`` times in C alone; nanoseconds of each from clone to confirmed exec. For bench/ only."""
    plan.c.clone_flags, plan.c.early_unshare = clone_flags, 0
    times = _ffi.new("int64_t[]", count)
    path = _ffi.new("char[]", os.fsencode(cgroup)) if cgroup else _ffi.NULL
    _check(_lib.arje_bench(plan.c, _ffi.new("int[3]", stdio), path, count, times))
    return list(times)


_reaper: list[int] = []


def _reaper_fd() -> int:
    """The static reaper as a memfd, made once. Raises OSError (memfd_create(2); sysctl vm.memfd_noexec=2 forbids it)."""
    if not _reaper:
        mfd_exec = 0x10  # Linux 6.3; older kernels say EINVAL and need no permission
        try:
            fd = os.memfd_create("arje-reaper", os.MFD_CLOEXEC | mfd_exec)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fd = os.memfd_create("arje-reaper", os.MFD_CLOEXEC)
        image = bytes(_ffi.buffer(_ffi.addressof(_lib, "arje_reaper_image"), _lib.ARJE_REAPER_SIZE))
        try:
            os.write(fd, image)
            _reaper.append(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))  # ETXTBSY while open for writing
        finally:
            os.close(fd)
    return _reaper[0]


def _check(answer: int) -> int:
    if answer < 0:
        _raise(answer)
    return answer


def _raise(answer: int) -> None:
    raise OSError(-answer, os.strerror(-answer))
