"""Letting go of file systems at the end: swap off, everything unmounted that can be, the rest read-only, loops detached.

One pass is not enough: what lies on a loop device holds the file system of its image, an overlay holds its layers, and
one that was busy may be free when what stood on it is gone. So passes go on as long as one of them has got further. What
belongs to the kernel stays: it has nothing to be written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.kernel import process
from arje.native import machine

#: These show the kernel itself; nothing of them is on a disk.
KERNELS: Final = frozenset(
    {
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "securityfs", "debugfs", "tracefs"),
        *("pstore", "bpf", "configfs", "efivarfs", "hugetlbfs", "fusectl", "binfmt_misc", "autofs", "rpc_pipefs"),
        *("nsfs", "selinuxfs"),
    }
)
_STAYS: Final = frozenset({"/", "/usr", "/dev", "/proc", "/sys", "/run"})  # we run from it, or need it to the end
_LOOP_CLR_FD: Final = 0x4C01  # loop(4)


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount of /proc/self/mountinfo (proc_pid_mountinfo(5)), options as the mount has them and the file system."""

    place: str
    kind: str
    read_only: bool


def mounts() -> list[Mounted]:
    """Return all mounts, the youngest first: what was mounted last stands on what was mounted before."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        read_only = "ro" in kind[2].split(",")  # of the file system: a bind may be read-only alone
        found.append(Mounted(process.unescape(fields[4]), kind[0], read_only))
    return found[::-1]


def swap_areas(path: Path = Path("/proc/swaps")) -> Iterator[str]:
    """Yield every swap area that is in use (swapon(8))."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines()[1:]:
            yield process.unescape(line.split()[0])


def swap_off() -> list[str]:
    """Use no swap any more; return what was refused, in words."""
    return list(_all(machine.swapoff, swap_areas()))


def unmount(spared: frozenset[str] = frozenset()) -> list[str]:
    """Unmount all that holds data, in passes; what stays becomes read-only. Returns what could not even that, in words."""
    spared |= _STAYS
    while True:
        before = [mount for mount in mounts() if _goes(mount, spared)]
        for mount in before:
            with contextlib.suppress(OSError):
                machine.umount(mount.place)
        detached = detach_loops()
        after = [mount for mount in mounts() if _goes(mount, spared)]
        if not after or (len(after) >= len(before) and not detached):
            break
    return list(remount_read_only())


def remount_read_only() -> Iterator[str]:
    """Make every file system with data read-only, youngest first; yield in words what is refused."""
    for mount in mounts():
        if mount.read_only or mount.kind in KERNELS or mount.kind in ("tmpfs", "ramfs", "rootfs"):
            continue
        try:
            machine.mount("", mount.place, flags=machine.REMOUNT | machine.RDONLY)
        except OSError as error:
            yield f"{mount.place} ({mount.kind}): {error.strerror}"


def _goes(mount: Mounted, spared: frozenset[str]) -> bool:
    return mount.kind not in KERNELS and mount.place not in spared


def detach_loops(base: Path = Path("/sys/block")) -> int:
    """Detach loop devices from their files (loop(4)); return how many are free now. A busy one detaches when it is not."""
    freed = 0
    for path in sorted(base.glob("loop*/loop/backing_file")):
        name = path.parent.parent.name
        with contextlib.suppress(OSError), _opened(f"/dev/{name}") as fd:
            fcntl.ioctl(fd, _LOOP_CLR_FD)
        freed += not path.exists()
    return freed


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def _all(do: Callable[[str], None], names: Iterator[str]) -> Iterator[str]:
    for name in list(names):
        try:
            do(name)
        except OSError as error:
            if error.errno != errno.ENOENT:
                yield f"{name}: {error.strerror}"
