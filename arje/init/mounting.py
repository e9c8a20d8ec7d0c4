"""The file systems that a kernel shows of itself and a machine works with: each mounted where nothing is, never stacked.

Those of the kernel (proc, sysfs, devtmpfs, cgroup2) come first; what is mounted is read from /proc/self/mountinfo, as a
bind of one directory on another of the same file system is a mount too, though no device number says so.
"""

from __future__ import annotations

import errno
import grp
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.init import fstab
from arje.kernel import process
from arje.native import machine
from arje.native.machine import NODEV, NOEXEC, NOSUID


@dataclass(frozen=True, slots=True)
class Api:
    """One file system: its type, where it belongs, how it is mounted; ``plain``: options for a kernel that refuses those.

    ``otherwise`` is what is so without it.
    """

    kind: str
    place: str
    flags: int
    options: str
    otherwise: str
    plain: str = ""


MOUNTS: Final = (
    Api("proc", "/proc", NOSUID | NODEV | NOEXEC, "", "nothing is known of processes: no service can be verified"),
    Api("sysfs", "/sys", NOSUID | NODEV | NOEXEC, "", "devices and cgroups cannot be seen"),
    Api("devtmpfs", "/dev", NOSUID, "mode=0755", "devices are what lies in /dev already"),
    Api(
        "devpts", "/dev/pts", NOSUID | NOEXEC, "mode=0620,gid={tty},ptmxmode=0666", "no new terminals", "ptmxmode=0666"
    ),
    Api("tmpfs", "/dev/shm", NOSUID | NODEV, "mode=1777", "shared memory by name is on /dev"),
    Api("mqueue", "/dev/mqueue", NOSUID | NODEV | NOEXEC, "", "message queues are not seen as files"),
    Api("tmpfs", "/run", NOSUID | NODEV, "mode=0755", "what ends with the machine lies on the disk"),
    Api("tmpfs", "/tmp", NOSUID | NODEV, "mode=1777", "temporary files lie on the disk"),
    Api(
        *("cgroup2", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC, "nsdelegate,memory_recursiveprot"),
        "services have no cgroup: no limits, and their processes are found by marks",
    ),
)


def is_mounted(place: str) -> str:
    """Return the type of what is mounted at a place, empty for nothing. Raises OSError when /proc cannot be read."""
    found = ""
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        if process.unescape(left.split(" ")[4]) == place:
            found = right.split(" ", 1)[0]
    return found


def provide(api: Api) -> str:
    """Mount a file system where nothing is mounted; return what was done, empty when something is there. Raises OSError."""
    if api.kind == "proc" and Path("/proc/self/mountinfo").exists():
        return ""
    if api.kind != "proc" and is_mounted(api.place):
        return ""
    if api.kind == "tmpfs" and api.place in {fields[1] for fields in fstab.lines()}:
        return ""
    os.makedirs(api.place, exist_ok=True)  # noqa: PTH103 - a string is wanted
    options = api.options.format(tty=_tty_group())
    try:
        machine.mount(api.kind, api.place, api.kind, api.flags, options)
    except OSError as error:
        if error.errno != errno.EINVAL or not options:
            raise
        machine.mount(api.kind, api.place, api.kind, api.flags, api.plain)
        options = api.plain
    return f"{api.kind} on {api.place}" + (f" ({options})" if options else "")


def _tty_group() -> int:
    """Return the group that terminals belong to (pts(4))."""
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return 5
