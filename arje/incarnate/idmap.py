"""Writing a user namespace's maps from outside (user_namespaces(7)): each file once, gid before uid.

A privileged manager writes any line. An ordinary user writes one line for itself with setgroups denied, and ranges
through newuidmap(1) and newgidmap(1), which know /etc/subuid.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Iterator

from arje import native
from arje.card.soma import IdMap
from arje.kernel import process


@contextlib.contextmanager
def target(pid: int, *, parent: int | None) -> Iterator[int]:
    """Lend a descriptor of /proc/PID, so that a number that was recycled meanwhile is never written to.

    ``parent`` is the child of ours that ``pid`` must be below, None for a child of ours, whose number is safe until it is
    reaped. Raises OSError: ProcessLookupError when ``pid`` is somebody else's by now.
    """
    directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if parent is not None and int(process.parse_status(_read(directory, "status"))["PPid"]) != parent:
            raise ProcessLookupError(errno.ESRCH, "the child is gone")
        yield directory
    finally:
        os.close(directory)


def write(
    spawner: native.Spawner, pid: int, directory: int, uid_map: tuple[IdMap, ...], gid_map: tuple[IdMap, ...]
) -> None:
    """Write both maps of the namespace that a process is in; ``directory`` is its :func:`target`. Raises OSError."""
    privileged = os.geteuid() == 0
    if not privileged:
        _write(directory, "setgroups", "deny")
    for name, lines, own, helper in (
        ("gid_map", gid_map, os.getegid(), "newgidmap"),
        ("uid_map", uid_map, os.geteuid(), "newuidmap"),
    ):
        if privileged or (len(lines) == 1 and lines[0].outside == own and lines[0].count == 1):
            _write(directory, name, text(lines))
        else:
            _by_helper(spawner, helper, pid, lines)


def text(lines: tuple[IdMap, ...]) -> str:
    """Return the lines as a map's file wants them."""
    return "".join(f"{line.inside} {line.outside} {line.count}\n" for line in lines)


def _read(directory: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)) as file:
        return file.read()


def _write(directory: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())  # one write: a map is taken whole or not at all
    finally:
        os.close(fd)


def _by_helper(spawner: native.Spawner, helper: str, pid: int, lines: tuple[IdMap, ...]) -> None:
    path = shutil.which(helper)
    if path is None:
        raise FileNotFoundError(2, f"{helper} is not installed")
    words = [str(pid), *(str(number) for line in lines for number in (line.inside, line.outside, line.count))]
    plan = native.Plan([], [path.encode()], [helper.encode(), *map(str.encode, words)], [], reaper=False)
    with open("/dev/null", "r+b", buffering=0) as null:
        child = spawner.spawn(plan, (null.fileno(), null.fileno(), null.fileno()), clone_flags=0)
    try:
        native.release(child.status_fd)
        while native.receive(child.status_fd, block=True):
            pass
        info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        if info is None or info.si_status != 0:
            raise PermissionError(1, f"{helper} {' '.join(words)} refused")
    except BaseException:  # its stack is not given back before it has ended
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        raise
    finally:
        for fd in (child.pidfd, child.status_fd):
            os.close(fd)
        spawner.give_back(child)
