"""Whose a manager's cgroup is: a mark on the directory that names the manager, seen wherever the directory is.

Two managers may meet in one cgroup: those of containers that share it, of chroots, of a machine and a test on it. Each has
a runtime directory of its own, so no lock tells them apart, and what one takes for a dead manager's leavings may be the
other's living services. The mark is an extended attribute (cgroups take ``user.`` ones since Linux 5.7), which every mount
of the hierarchy shows, also in another cgroup namespace; a flock(2) would not do, as each of these has inodes of its own.

The mark names a pid namespace, a pid in it and that process's start. Of a pid namespace that is not ours we cannot tell
whether the manager lives, so it is taken to live, unless we are in the first one, where every process can be seen.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from arje.kernel import process

_MARK: Final = "user.arje.manager"
_FIRST: Final = 4026531836  # the inode of the first pid namespace (PROC_PID_INIT_INO)
_UNABLE: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOSPC})


def _namespace(pid: int | str = "self") -> int:
    return os.stat(f"/proc/{pid}/ns/pid").st_ino


def identity() -> str:
    """Return what tells this process from all others of the machine; an execve(2) changes nothing of it."""
    return f"{_namespace()} {os.getpid()} {process.start_time(os.getpid())}"


def claim(base: Path) -> str:
    """Make a cgroup ours unless a living manager has it; return who that is, empty when it is ours now. Raises OSError."""
    if _foreign(base):
        return "processes of another pid namespace"
    ours = identity()
    for _ in range(2):
        try:
            os.setxattr(base, _MARK, ours.encode(), os.XATTR_CREATE)
            return ""
        except FileExistsError:
            found = _read(base)
            if found == ours:
                return ""
            if _may_live(found):
                return f"the manager with pid {found.split()[1]}" if found.count(" ") == 2 else "another manager"
            _forget(base)
        except OSError as error:
            if error.errno in _UNABLE:  # then only what can be seen counts
                return ""
            raise
    return "another manager, which was quicker"


def _read(base: Path) -> str:
    try:
        return os.getxattr(base, _MARK).decode(errors="replace")
    except OSError:
        return ""


def _forget(base: Path) -> None:
    try:
        os.removexattr(base, _MARK)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


def _may_live(mark: str) -> bool:
    """Whether the manager that a mark names lives, as far as we can see."""
    numbers = mark.split()
    if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        return bool(mark)
    space, pid, start = map(int, numbers)
    if space == _namespace():
        try:
            return process.start_time(pid) == start
        except (FileNotFoundError, ProcessLookupError):
            return False
    return _namespace() != _FIRST or _is_inhabited(space)


def _is_inhabited(space: int) -> bool:
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names are wanted
        try:
            if _namespace(name) == space:
                return True
        except OSError:
            continue
    return False


def _foreign(base: Path) -> bool:
    """Whether processes live there that have no number in our pid namespace: they read as 0 (admin-guide/cgroup-v2)."""
    for directory, _, _ in os.walk(base):
        try:
            if "0" in Path(directory, "cgroup.procs").read_text().split():
                return True
        except OSError:  # it has gone, or is threaded
            continue
    return False
