"""What this kernel grants this process: tried once at start, never guessed, with the cause of each no.

``CapabilitySet.detect`` clones throw-away children for the namespaces and reads the rest. Sources: clone(2) and
user_namespaces(7) for the errnos, kernel admin-guide/sysctl for the switches, admin-guide/cgroup-v2 for controllers.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje import native
from arje.incarnation import Cause
from arje.kernel import identity, process, raises

#: Namespace kinds by the names of their features (the cgroup namespace is ``cgroup-ns``; ``cgroup`` is the directory).
KINDS: Final = {("cgroup-ns" if kind == "cgroup" else kind): flag for kind, flag in native.CLONE_NEW.items()}

#: Cgroup limit → the controller it needs and the file it is written to.
CGROUP_FILES: Final = {
    "cpu_weight": ("cpu", "cpu.weight"),
    "cpu_max": ("cpu", "cpu.max"),
    "io_weight": ("io", "io.weight"),
    "memory_max": ("memory", "memory.max"),
    "memory_high": ("memory", "memory.high"),
    "memory_low": ("memory", "memory.low"),
    "memory_swap_max": ("memory", "memory.swap.max"),
    "pids_max": ("pids", "pids.max"),
    "cpuset": ("cpuset", "cpuset.cpus"),
    "cpu_idle": ("cpu", "cpu.idle"),
    "memory_min": ("memory", "memory.min"),
    "memory_oom_group": ("memory", "memory.oom.group"),
    "io_max": ("io", "io.max"),
    "cpuset_mems": ("cpuset", "cpuset.mems"),
}


@dataclass(frozen=True, slots=True)
class Availability:
    """One feature here: granted, granted only together with a user namespace, or not and why.

    ``errno`` is 0 when no system call refused. ``remedy`` is in the imperative.
    """

    feature: str
    available: bool
    needs_user: bool = False
    cause: Cause | None = None
    errno: int = 0
    syscall: str = ""
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class CapabilitySet:
    """Every feature that was tried. ``privileged``: this process has CAP_SYS_ADMIN where it lives."""

    privileged: bool
    features: dict[str, Availability]
    controllers: frozenset[str]
    cgroup_base: Path | None

    def __getitem__(self, feature: str) -> Availability:
        """Return what was found for a feature; one that nobody tried is available until the kernel says no."""
        return self.features.get(feature, Availability(feature, True))

    @classmethod
    def detect(cls, cgroup_base: Path | None, *, probe: Callable[[int], int] = native.probe_clone) -> CapabilitySet:
        """Try everything. ``probe`` is the seam of the tests: clone flags to errno."""
        found = [_namespace(feature, flag, probe) for feature, flag in KINDS.items()]
        controllers: frozenset[str] = frozenset()
        if cgroup_base is None:
            cause = Availability(
                "cgroup",
                False,
                False,
                Cause.NOT_DELEGATED,
                detail="no writable cgroup2 hierarchy",
                remedy="mount cgroup2, or delegate a cgroup to this user",
            )
            found += [cause, *(_without_base(name) for name in (*CGROUP_FILES, "delegate"))]
        else:
            controllers = frozenset((cgroup_base / "cgroup.subtree_control").read_text().split())
            found += [Availability("cgroup", True), *(_limit(name, cgroup_base, controllers) for name in CGROUP_FILES)]
        found += [_raise(*tried) for tried in raises.probe()]
        found += [_helper("newuidmap", "newuidmap"), _sub_ids()]
        return cls(_has_sys_admin(), {entry.feature: entry for entry in found}, controllers, cgroup_base)


def _has_sys_admin() -> bool:
    return bool(int(process.status("self")["CapEff"], 16) >> 21 & 1)


def _namespace(feature: str, flag: int, probe: Callable[[int], int]) -> Availability:
    error = probe(flag)
    if error == 0:
        return Availability(feature, True)
    user = KINDS["user"]
    if flag != user and probe(flag | user) == 0:
        return Availability(feature, True, needs_user=True)
    cause, detail, remedy = cause_of_errno(error, feature)
    return Availability(feature, False, False, cause, error, "clone3", detail, remedy)


def _raise(feature: str, error: int, syscall: str) -> Availability:
    if error == 0:
        return Availability(feature, True)
    cause, detail, remedy = cause_of_errno(error, feature)
    return Availability(feature, False, False, cause, error, syscall, detail, remedy)


def _without_base(name: str) -> Availability:
    return Availability(
        f"cgroup.{name}",
        False,
        False,
        Cause.NOT_DELEGATED,
        detail="no cgroup of our own",
        remedy="mount cgroup2, or delegate a cgroup to this user",
    )


def _limit(name: str, base: Path, controllers: frozenset[str]) -> Availability:
    controller, file = CGROUP_FILES[name]
    if controller in controllers and (base / file).exists():
        return Availability(f"cgroup.{name}", True)
    if controller in controllers:
        return Availability(
            f"cgroup.{name}",
            False,
            False,
            Cause.KERNEL_TOO_OLD,
            detail=f"the {controller} controller of this kernel has no {file}",
            remedy="use a kernel that has it",
        )
    if controller in (base.parent / "cgroup.controllers").read_text().split():
        return Availability(
            f"cgroup.{name}",
            False,
            False,
            Cause.NOT_DELEGATED,
            detail=f"the {controller} controller is not handed down to {base}",
            remedy=f"enable it: echo +{controller} > {base.parent}/cgroup.subtree_control",
        )
    v1 = Path("/sys/fs/cgroup", controller).is_dir() or _bound_to_v1(controller)
    where = "cgroup v1 holds it" if v1 else "this kernel does not offer it"
    return Availability(
        f"cgroup.{name}",
        False,
        False,
        Cause.CONTROLLER_MISSING,
        detail=f"{file}: the {controller} controller is not in cgroup2; {where}",
        remedy="boot with cgroup_no_v1=all" if v1 else f"use a kernel with the {controller} controller",
    )


def _bound_to_v1(controller: str) -> bool:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return any(controller in line.split(":")[1].split(",") for line in lines)


def _helper(feature: str, program: str) -> Availability:
    if shutil.which(program):
        return Availability(feature, True)
    return Availability(
        feature,
        False,
        False,
        Cause.HELPER_MISSING,
        detail=f"{program} is not installed",
        remedy="install the package uidmap",
    )


def _sub_ids() -> Availability:
    uid = os.getuid()
    if identity.sub_ids("/etc/subuid", uid) and identity.sub_ids("/etc/subgid", uid):
        return Availability("subuid", True)
    return Availability(
        "subuid",
        False,
        False,
        Cause.NOT_DELEGATED,
        detail=f"/etc/subuid and /etc/subgid give user {uid} no range",
        remedy=f"add a line such as {uid}:100000:65536 to both files",
    )


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name.replace(".", "/")).read_text().strip()
    except OSError:
        return ""


#: sysctl, the value that forbids, and the command that allows.
_SWITCHES: Final = (
    ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
)
_LIMIT_NAMES: Final = {"mount": "mnt", "cgroup-ns": "cgroup"}


def cause_of_errno(error: int, feature: str) -> tuple[Cause, str, str]:
    """Return cause, detail and remedy of a kernel's no (clone(2), user_namespaces(7))."""
    if (known := raises.explain(error, feature)) is not None:
        return known
    if error == errno.ENOSPC:
        name = f"user.max_{_LIMIT_NAMES.get(feature, feature)}_namespaces"
        value = _sysctl(name)
        if value == "0":
            return Cause.SYSCTL, f"{name} is 0", f"sysctl {name}=10000"
        return Cause.LIMIT, f"{name} is {value or 'unknown'}, or nesting is too deep", f"raise {name}"
    if error in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
        return Cause.KERNEL_TOO_OLD, f"this kernel does not know {feature}", "use a kernel that has it"
    if error == errno.EROFS:
        return Cause.READ_ONLY, "the file system is read-only", "mount it writable"
    if error == errno.EBUSY:
        return Cause.BUSY, "it is in use", "stop what uses it"
    if not _has_sys_admin():
        for name, forbids, remedy in _SWITCHES:
            if _sysctl(name) == forbids:
                return Cause.SYSCTL, f"{name} is {forbids}", remedy
    if process.status("self").get("Seccomp") == "2":
        return Cause.SECCOMP, "a seccomp filter is over this process", "allow the call in the outer sandbox"
    if not _has_sys_admin():
        return Cause.NO_CAPABILITY, "CAP_SYS_ADMIN is missing", "run as root, or ask for a user namespace as well"
    return Cause.LSM, "a security module refused", "look into the kernel's log"
