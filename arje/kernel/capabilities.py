"""What this kernel grants this process: tried once at start, never guessed, with the cause of each no.

``CapabilitySet.detect`` clones throw-away children for the namespaces and reads the rest. Sources: clone(2) and
user_namespaces(7) for the errnos, kernel admin-guide/sysctl for the switches, admin-guide/cgroup-v2 for controllers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from arje import native
from arje.incarnation import Cause
from arje.kernel import delegation, landlock, mounts, network, process, raises, seccomp
from arje.kernel.powers import SETPCAP, SYS_ADMIN, Powers
from arje.native import filtering

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
    powers: Powers = field(default_factory=Powers.detect)

    def __getitem__(self, feature: str) -> Availability:
        """Return what was found for a feature or its family; what nobody tried is available until the kernel says no."""
        found = self.features.get(feature) or self.features.get(feature.partition(".")[0])
        return found or Availability(feature, True)

    @classmethod
    def detect(cls, cgroup_base: Path | None, *, probe: Callable[[int], int] = native.probe_clone) -> CapabilitySet:
        """Try everything. ``probe`` is the seam of the tests: clone flags to errno."""
        found = [_clone(probe(0)), *_namespaces(probe), _join()]
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
        powers = Powers.detect()
        user = _late_user(next(entry for entry in found if entry.feature == "user"))
        found.append(user)
        found += _mounts({entry.feature: entry for entry in found})
        found += [*_filters(), _libseccomp(), _veth(), _pasta()]
        found += [_raise(*tried) for tried in raises.probe()]
        found += _identities(powers, user, probe)
        return cls(_has_sys_admin(), {entry.feature: entry for entry in found}, controllers, cgroup_base, powers)


def _has_sys_admin() -> bool:
    return bool(int(process.status("self")["CapEff"], 16) >> 21 & 1)


def _clone(error: int) -> Availability:
    """Whether a child can be made at all, without any namespace of its own."""
    if error == 0:
        return Availability("clone", True)
    cause, detail, remedy = cause_of_errno(error, "clone")
    return Availability("clone", False, False, cause, error, "clone3", detail, remedy)


def _join() -> Availability:
    """Whether namespaces can be entered, as far as that does not hang on which."""
    error = native.probe_setns()
    if error == errno.EBADF:
        return Availability("join", True)
    cause, detail, remedy = cause_of_errno(error, "join")
    return Availability("join", False, False, cause, error, "setns", detail, remedy)


def _namespaces(probe: Callable[[int], int]) -> list[Availability]:
    """Try all that a root has in one child, and one by one only what that does not settle: a child takes a millisecond."""
    user = KINDS["user"]
    together = sum(flag for flag in KINDS.values() if flag != user)
    had = probe(together) == 0
    return [
        Availability(feature, True) if had and flag != user else _namespace(feature, flag, probe)
        for feature, flag in KINDS.items()
    ]


def _namespace(feature: str, flag: int, probe: Callable[[int], int]) -> Availability:
    error = probe(flag)
    if error == 0:
        return Availability(feature, True)
    user = KINDS["user"]
    if flag != user and probe(flag | user) == 0:
        return Availability(feature, True, needs_user=True)
    cause, detail, remedy = cause_of_errno(error, feature)
    return Availability(feature, False, False, cause, error, "clone3", detail, remedy)


def _late_user(user: Availability) -> Availability:
    """Try a user namespace as the child of a privileged manager makes it: by itself, after its mounts."""
    if not (user.available and _has_sys_admin()):
        return user
    with contextlib.suppress(OSError):
        if error := mounts.late_user_namespace():
            cause, detail, remedy = cause_of_errno(error, "user")
            return Availability("user", False, False, cause, error, "unshare", detail, remedy)
    return user


def _mounts(found: dict[str, Availability]) -> list[Availability]:
    """Try the mounts in a child that has whatever namespaces can be had; without a mount namespace there is none."""
    user, mount = not _has_sys_admin(), found["mount"]
    kinds = tuple(kind for kind in ("pid", "net", "ipc") if found[kind].available)
    if not mount.available:
        return [replace(mount, feature=name, detail=f"needs mount: {mount.detail}") for name in mounts.FEATURES]
    try:
        refused = mounts.refusals(kinds, user=user)
    except OSError:  # the namespaces' own entries say why
        return []
    entries = [replace(mount, feature=feature) for feature in mounts.FEATURES if feature not in refused]
    for feature, (error, syscall) in refused.items():
        cause, detail, remedy = cause_of_errno(error, feature)
        if feature == "idmapped" and error == errno.EINVAL:
            detail, remedy = (
                "the root's file system cannot be id-mapped",
                "use a file system that can (ext4, xfs, btrfs)",
            )
        elif feature == "idmapped" and (error, syscall) == (errno.EPERM, "mount_setattr idmap"):
            cause, detail = Cause.NO_CAPABILITY, "the file systems belong to another user namespace than this one"
            remedy = "run the manager as root of the machine"
        entries.append(Availability(feature, False, False, cause, error, syscall, detail, remedy))
    return entries


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


def _filters() -> Iterator[Availability]:
    """Yield what this kernel has of seccomp(2) and landlock(7), the rights of later ABIs one by one."""
    for feature, probe in (*seccomp.PROBES.items(), *landlock.PROBES.items()):
        try:
            answer = probe()
            yield Availability(feature, True, detail=f"ABI {answer}" if answer else "")
        except OSError as error:
            call = "landlock_create_ruleset" if feature == "landlock" else "seccomp"
            number = error.errno or 0
            cause, detail, remedy = cause_of_errno(number, feature)
            yield Availability(feature, False, False, cause, number, call, detail, remedy)
    abi = landlock.abi()
    for name, right in landlock.LATER.items():
        detail, remedy = f"landlock ABI {abi} has no {name}", f"use Linux {right.linux} or newer"
        no = Availability(f"landlock.{name}", False, False, Cause.KERNEL_TOO_OLD, detail=detail, remedy=remedy)
        yield Availability(f"landlock.{name}", True) if abi >= right.abi else no


def _libseccomp() -> Availability:
    if filtering.has_libseccomp():
        return Availability("libseccomp", True)
    detail, remedy = "libseccomp is not installed", "install the package libseccomp2"
    return Availability("libseccomp", False, False, Cause.HELPER_MISSING, detail=detail, remedy=remedy)


def _identities(powers: Powers, user: Availability, probe: Callable[[int], int]) -> Iterator[Availability]:
    """Yield what of other ids, and of rights over its own processes, is to be had."""
    for feature, no in (delegation.helpers(powers, probe) | delegation.files(powers)).items():
        if no is None:
            yield Availability(feature, True)
        else:
            yield Availability(feature, False, False, no.cause, no.errno, detail=no.detail, remedy=no.remedy)
    for feature in ("capabilities.bounding", "securebits"):
        if powers.has(SETPCAP):
            yield Availability(feature, True)
        else:
            yield replace(user, feature=feature, needs_user=True)
    if user.available and os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        detail, remedy = "/proc/sys is mounted read-only", "mount it writable"
        yield Availability("disable_nested_userns", False, False, Cause.READ_ONLY, detail=detail, remedy=remedy)
    else:
        yield replace(user, feature="disable_nested_userns", needs_user=not powers.has(SYS_ADMIN))


def _helper(feature: str, program: str, package: str) -> Availability:
    if shutil.which(program):
        return Availability(feature, True)
    return Availability(
        feature,
        False,
        False,
        Cause.HELPER_MISSING,
        detail=f"{program} is not installed",
        remedy=f"install the package {package}",
    )


def _veth() -> Availability:
    refusal = network.probe("veth")
    if refusal is None:
        return Availability("network.veth", True)
    number = refusal.errno or 0
    cause, detail, remedy = cause_of_errno(number, "network.veth")
    return Availability("network.veth", False, False, cause, number, "rtnetlink RTM_NEWLINK", detail, remedy)


def _pasta() -> Availability:
    found = _helper("network.pasta", "pasta", "passt")
    if not found.available or os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return found
    detail, remedy = "/dev/net/tun cannot be opened", "modprobe tun, and let this user open it"
    return Availability("network.pasta", False, False, Cause.HELPER_MISSING, detail=detail, remedy=remedy)


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


_OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG, errno.EDQUOT})


def cause_of_errno(error: int, feature: str) -> tuple[Cause, str, str]:
    """Return cause, detail and remedy of a kernel's no (clone(2), user_namespaces(7))."""
    if feature.startswith("network.") and (found := network.cause_of(error)):
        return found
    if (known := raises.explain(error, feature)) is not None:
        return known
    if error in _OUT_OF or (error == errno.ENOSPC and feature not in KINDS):
        return Cause.LIMIT, os.strerror(error), "give the manager, or what the service writes to, more room"
    if error in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return Cause.HELPER_MISSING, f"a path that it needs: {os.strerror(error)}", "make it, or correct the card"
    if error == errno.EACCES and feature == "seccomp":
        return Cause.NO_CAPABILITY, "a filter wants no_new_privs or CAP_SYS_ADMIN", "set no_new_privs = true"
    if error == errno.ENOSPC:
        name = f"user.max_{_LIMIT_NAMES.get(feature, feature)}_namespaces"
        value = _sysctl(name)
        if value == "0":
            return Cause.SYSCTL, f"{name} is 0", f"sysctl {name}=10000"
        return Cause.LIMIT, f"{name} is {value or 'unknown'}, or nesting is too deep", f"raise {name}"
    if error == errno.EOPNOTSUPP and feature == "landlock":
        return (
            Cause.LSM,
            "landlock is in this kernel, but not switched on",
            "boot with lsm=landlock,… (security/landlock)",
        )
    if error == errno.EINVAL and feature == "seccomp":
        return Cause.KERNEL_TOO_OLD, "the kernel does not take this filter", "look for divisions by 0 and unset memory"
    if error in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
        return Cause.KERNEL_TOO_OLD, f"this kernel does not know {feature}", "use a kernel that has it"
    if error in (errno.ENOENT, errno.ENOTDIR):
        return Cause.LIMIT, "a path is missing where it is to be", "make it, or put a tmpfs, an overlay or dev under it"
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
