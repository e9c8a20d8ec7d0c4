"""What mounts depend on: whose user namespace this is, which ids exist there, and which mounts the kernel grants at all.

``refusals`` puts a small root together in a throw-away child, as a card would have it, and lets every step fail for itself.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from pathlib import Path
from typing import Final

from arje import native
from arje.kernel import process
from arje.native import CLONE_NEW, MOUNT, Op

_INITIAL_USER: Final = "user:[4026531837]"  # PROC_USER_INIT_INO of linux/proc_ns.h
_TTY: Final = 5  # the group that Debian and everybody else gives terminals to
_QUIET: Final = 2 | 4 | 8  # MOUNT_ATTR_NOSUID, NODEV, NOEXEC
_STAGE: Final = 1
_BASE: Final = 2

#: Step of the probe → the features that are lost with it.
_FEATURES: Final = {
    "mount-private": ("mount",),
    "stage": ("root", "read_only_root", "pivot_root", "binds", "files"),
    "bind": ("root", "read_only_root", "pivot_root", "binds", "files", "dev"),  # a base is a bind as well
    "mount-tmpfs": ("tmpfs", "private_tmp", "credentials"),
    "mount-overlay": ("overlay",),
    "mount-proc": ("proc",),
    "mount-sysfs": ("sysfs",),
    "mount-devpts": ("devpts",),
    "mount-mqueue": ("mqueue",),
    "mount-dev": ("dev",),
    "read-only": ("read_only_paths", "read_only_root", "protect_kernel_tunables"),
    "mask": ("masked_paths", "protect_kernel_tunables"),
    "idmap": ("idmapped",),
}

#: All that is tried here.
FEATURES: Final = tuple(dict.fromkeys(feature for features in _FEATURES.values() for feature in features))


@cache
def in_user_namespace() -> bool:
    """Return whether this process lives in another user namespace than the machine's first (user_namespaces(7))."""
    return os.readlink("/proc/self/ns/user") != _INITIAL_USER


@cache
def tty_group() -> int | None:
    """Return the group of terminals; None where it is not mapped and devpts would refuse it with EINVAL."""
    lines = process.parse_id_map(Path("/proc/self/gid_map").read_text())
    return _TTY if any(inside <= _TTY < inside + count for inside, _, count in lines) else None


def _ops(*, user: bool) -> list[Op]:
    """The steps of the probe; ``user``: in a user namespace, where a tree is taken with all that is mounted below it.

    Nothing is made outside of the stage: what stands on a step that failed is left out.
    """
    layers = "lowerdir=../empty,upperdir=../overlay/upper,workdir=../overlay/work" + (",userxattr" if user else "")
    make = MOUNT["make"]
    on_base = [
        Op("mount-overlay", p=b"mode\x000755\0", q=layers.encode(), r=b"over", a=make),
        Op("mount-proc", p=b"proc", r=b"proc", a=make, b=_QUIET),
        Op("mount-sysfs", p=b"sysfs", r=b"sys", a=make, b=_QUIET),
        Op("mount-devpts", p=b"devpts", r=b"pts", a=make),
        Op("mount-mqueue", p=b"mqueue", r=b"mqueue", a=make),
        Op("mount-dev", r=b"dev", a=make),
        Op("bind", p=b"/usr" if user else b"/", r=b"disk", a=make | MOUNT["recursive"] * user),
        Op("read-only", r=b"disk"),
        Op("mask", r=b"dev/null"),
        *([] if user else [Op("idmap", r=b"disk")]),
    ]
    return [
        Op("mount-private", optional=True),
        Op("stage", optional=True, slot=_STAGE, a=1),
        Op("mount-tmpfs", optional=True, p=b"tmpfs", r=b"root", a=MOUNT["base"], needs=_STAGE, slot=_BASE),
        *(op._replace(optional=True, needs=_BASE) for op in on_base),
    ]


def refusals(kinds: tuple[str, ...], *, user: bool) -> dict[str, tuple[int, str]]:
    """Return errno and system call of each feature that the kernel refuses.

    ``kinds`` are the namespaces that the child has besides its mount namespace, ``user``: a user namespace as well.
    Raises OSError when there can be no such child.
    """
    inside = user or in_user_namespace()
    spawner, plan = native.Spawner(), native.Plan(_ops(user=inside), [b""], [b""], [], reaper=False)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    ids = -1
    try:
        if not inside:
            ids = user_namespace(spawner, "0 0 4294967295\n")
        flags = sum(CLONE_NEW[kind] for kind in (*kinds, "mount", *(("user",) if user else ())))
        child = spawner.spawn(plan, (null, null, null), clone_flags=flags, idmap_fd=ids)
        try:
            if user:
                write_own_map(child.pid)
            native.release(child.status_fd)
            failed: dict[str, tuple[int, str]] = {}
            while record := native.receive(child.status_fd, block=True):
                if record.kind == native.DEGRADED:
                    failed[record.step] = (record.errno, record.syscall)
        finally:
            _end(spawner, child)
    finally:
        for fd in (null, ids):
            if fd >= 0:
                os.close(fd)
    if inside:  # mount_setattr(2): of a file system of another user namespace than ours
        failed["idmap"] = (errno.EPERM, "mount_setattr idmap")
    return _by_feature(failed)


def _by_feature(failed: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """What was left out is lost for the reason of what it stood on."""
    first = failed.get("stage") or failed.get("mount-tmpfs")
    found: dict[str, tuple[int, str]] = {}
    for step, features in _FEATURES.items():
        if step in failed:
            answer = failed[step] if failed[step][1] or first is None else first
            found |= {feature: answer for feature in features if feature not in found}
    return found


def user_namespace(spawner: native.Spawner, uid_map: str, gid_map: str = "") -> int:
    """Return a descriptor of a new user namespace with these maps (as the files want them), without any process.

    Only a privileged process can write such maps. Raises OSError.
    """
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        plan = native.Plan([], [b""], [b""], [], reaper=False)
        child = spawner.spawn(plan, (null, null, null), clone_flags=CLONE_NEW["user"])
    finally:
        os.close(null)
    try:
        Path(f"/proc/{child.pid}/gid_map").write_text(gid_map or uid_map)
        Path(f"/proc/{child.pid}/uid_map").write_text(uid_map)
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _end(spawner, child)


def late_user_namespace() -> int:
    """Let a child enter a new user namespace by itself, as after its mounts (unshare(2)). Returns 0 or the errno.

    Raises OSError when there can be no child.
    """
    spawner, ops = native.Spawner(), [Op("unshare", optional=True, a=CLONE_NEW["user"])]
    plan = native.Plan(ops, [b""], [b""], [], reaper=False)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        child = spawner.spawn(plan, (null, null, null), clone_flags=0)
    finally:
        os.close(null)
    try:
        native.release(child.status_fd)
        record = native.receive(child.status_fd, block=True)  # it asks for its maps, or says why there are none
        return record.errno if record and record.kind == native.DEGRADED else 0
    finally:
        _end(spawner, child)


def write_own_map(pid: int) -> None:
    """Map this user and group, and nobody else, in the user namespace of a child that waits. Raises OSError."""
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/gid_map").write_text(f"0 {os.getegid()} 1\n")
    Path(f"/proc/{pid}/uid_map").write_text(f"0 {os.geteuid()} 1\n")


def _end(spawner: native.Spawner, child: native.Child) -> None:
    """Let a child end: EOF at its gate, or it has ended already; then reap it."""
    os.close(child.status_fd)
    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    os.close(child.pidfd)
    spawner.give_back(child)
