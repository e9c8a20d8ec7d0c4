"""What the child's mountinfo says about the files family (proc_pid_mountinfo(5)).

A file system is known by its type and by a device number that the manager does not see; a bind by device and path inside
it; read-only by the mount's own options, of every mount below it too.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import takewhile
from typing import Final

from arje.card.files import KERNEL_MEMORY, TUNABLE_MOUNTS, TUNABLES
from arje.card.soma import Proc, Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.families.mount_plan import (
    new_root,
    overlay_is_root,
    overlay_target,
    root_tmpfs,
    spots,
    upwards,
)
from arje.incarnate.family import Answer, Reader
from arje.kernel.facts import Facts, Mount

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


_PROC_SUPER_MAGIC: Final = 0x9FA0  # linux/magic.h


def proc_options(soma: Soma) -> tuple[str, ...]:
    """Return what mountinfo shows of the options of a /proc that was asked for."""
    if not isinstance(soma.proc, Proc):
        return ()
    hidepid = soma.proc.hidepid
    return (f"hidepid={hidepid}",) * (hidepid != "off") + (f"subset={soma.proc.subset}",) * bool(soma.proc.subset)


def _text(mount: Mount, *options: str) -> str:
    return " ".join((mount.kind, mount.device, *sorted(options)))


def _new(facts: Facts, ours: Facts, point: str, kind: str, *options: str) -> Answer:
    """Whether a file system of a kind is there that the manager does not see, with these options of mount or super."""
    mount = facts.mount_at(point)
    if mount is None or mount.kind != kind:
        return Answer(mount.kind if mount else "", False)
    all_of_it = mount.options | mount.super_options
    own = mount.device not in ours.now.devices
    return Answer(_text(mount, *all_of_it.intersection(options)), own and all_of_it.issuperset(options))


def _proc(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    if "proc-device" in facts.texts:
        device, kind = int(facts.texts["proc-device"]), int(facts.texts["proc-type"])
        text = f"proc {os.major(device)}:{os.minor(device)}" if kind == _PROC_SUPER_MAGIC else f"{kind:#x}"
        return Answer(text, kind == _PROC_SUPER_MAGIC and device != os.stat("/proc").st_dev)
    return _new(facts, ours, "/proc", "proc", *proc_options(plan.soma))


def _sysfs(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """Of a net namespace that it shares with the manager it is the manager's own file system, mounted again."""
    mount = facts.mount_at("/sys")
    ok = mount is not None and mount.kind == "sysfs" and "ro" in mount.options
    own = "net" not in plan.has or (mount is not None and mount.device not in ours.now.devices)
    return Answer(_text(mount, "ro") if mount else "", ok and own)


def _devpts(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    return _new(facts, ours, "/dev/pts", "devpts")


def _mqueue(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    return _new(facts, ours, "/dev/mqueue", "mqueue")


def _dev(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    parts = {"/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}
    answers = [_new(facts, ours, point, kind) for point, kind in parts.items()]
    return Answer(answers[0].granted, all(answer.ok for answer in answers))


def _private_tmp(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """/var/tmp may be missing in a root of its own; where it is, it is another one than the manager's."""
    one = _new(facts, ours, "/tmp", "tmpfs")
    other = _new(facts, ours, "/var/tmp", "tmpfs")
    return Answer(f"{one.granted}, {other.granted or 'no /var/tmp'}", one.ok and (other.ok or not other.granted))


def _tmpfs(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    asked = plan.soma.tmpfs[_number(wish)]
    flags = {"noexec": asked.noexec, "nosuid": asked.nosuid, "nodev": asked.nodev}
    wanted = [name for name, on in flags.items() if on]
    if asked.size:
        wanted.append(f"size={-(-asked.size // _PAGE) * _PAGE // 1024}k")
    if asked.mode != 0o1777:  # the default, which is not shown
        wanted.append(f"mode={asked.mode:03o}")
    return _new(facts, ours, asked.target, "tmpfs", *wanted)


def _overlay(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    target = "/" if overlay_is_root(plan.soma) else overlay_target(plan.soma)
    answer = _new(facts, ours, target, "overlay")
    return Answer(f"{answer.granted.partition(' ')[0]} on {target}", answer.ok)


def _root(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """The root is an overlay when the card put one there, else the very directory."""
    mount = facts.mount_at("/")
    if mount is None:
        return Answer("", False)
    granted = f"{mount.kind} {mount.root}"
    if overlay_is_root(plan.soma) and "overlay" in plan.has:
        return Answer(granted, mount.kind == "overlay")
    return Answer(granted, ours.now.is_at(new_root(plan.soma), (mount.device, mount.root)))


def _bind(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    bind = plan.soma.binds[_number(wish)]
    mount = facts.mount_at(bind.where)
    if mount is None:
        gone = bind.optional and not os.path.lexists(bind.source)
        return Answer("its source is missing" if gone else "", gone)
    same = ours.now.is_at(bind.source, (mount.device, mount.root))
    writable = _writable(facts, plan, bind.where) if bind.read_only else ()
    how = "ro" if bind.read_only and not writable else "rw"
    return Answer(
        f"{mount.kind} {mount.device} {mount.root} {how} {' '.join(writable)}".rstrip(), same and not writable
    )


def _number(wish: Wish) -> int:
    """Which item of its list a wish is for: its field says (``soma.binds.3``)."""
    return int(wish.field.split(".")[2])


def _writable(facts: Facts, plan: Blueprint, point: str) -> tuple[str, ...]:
    """The mounts at and below a point that can be written to, but for those that the card itself put below it."""
    open_ = [m for m in facts.mounts_below(point) if "ro" not in m.options and m.super_options.isdisjoint({"ro"})]
    if not open_:
        return ()
    own = _own_places(_Same(plan))
    return tuple(m.point for m in open_ if own.isdisjoint(takewhile(lambda place: place != point, upwards(m.point))))


class _Same:
    """A key that is equal to one of the very same object only: a plan is long, and read once for each of its wishes."""

    __slots__ = ("plan",)

    def __init__(self, plan: Blueprint) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return id(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.plan is other.plan


@lru_cache(maxsize=1)
def _own_places(same: _Same) -> frozenset[str]:
    """Where a card itself puts mounts."""
    return frozenset((*(spot.target for spot in spots(same.plan.soma)), *_credentials_of(same.plan)))


def _idmapped(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    bind = plan.soma.binds[_number(wish)]
    mount = facts.mount_at(bind.where)
    if mount is None and bind.optional:
        return Answer("its source is missing", True)
    ok = mount is not None and "idmapped" in mount.options
    return Answer("idmapped" if ok else "", ok)


def _read_only_root(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    mount = facts.mount_at("/")
    if mount is None:
        return Answer("", False)
    own = overlay_is_root(plan.soma) or root_tmpfs(plan.soma) is not None
    writable = ("/",) * ("ro" not in mount.options) if own else _writable(facts, plan, "/")
    return Answer(f"writable: {' '.join(writable)}" if writable else f"{mount.kind} ro", not writable)


def _read_only_paths(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    paths = [path.removeprefix("-") for path in plan.soma.read_only_paths]
    writable = [point for path in paths for point in _all_writable(facts, path)]
    missing = [path for path in plan.soma.read_only_paths if not path.startswith("-") and not facts.mount_at(path)]
    bad = " ".join((*writable, *missing))
    return Answer(f"writable: {bad}" if bad else "ro", not bad)


def _all_writable(facts: Facts, point: str) -> tuple[str, ...]:
    return tuple(m.point for m in facts.mounts_below(point) if "ro" not in m.options)


def _masked_paths(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """A path that is not there needs no mask, and shows none: its own step found out."""
    found = [(path, facts.mount_at(path)) for path in plan.soma.masked_paths]
    masks = [(path, mount) for path, mount in found if mount is not None]
    open_ = [path for path, mount in masks if "ro" not in mount.options or not _is_mask(mount)]
    if open_:
        return Answer(f"open: {' '.join(open_)}", False)
    return Answer(f"{len(masks)} masked, {len(found) - len(masks)} absent", True)


def _is_mask(mount: Mount) -> bool:
    return mount.root == "/null" or mount.root.endswith("/dev/null") or mount.kind == "tmpfs"


def _tunables(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """Most of them may be missing, as their own steps found out; /proc/sys is in every /proc but one of processes only."""
    masked = plan.soma.masked_paths
    bad = [point for path in TUNABLES if path not in masked for point in _all_writable(facts, path)]
    there = [mount for mount in facts.mounts_below("/sys") if mount.point in TUNABLE_MOUNTS]
    bad += [mount.point for mount in there if "ro" not in mount.options]
    memory = [mount for path in KERNEL_MEMORY if (mount := facts.mount_at(path)) is not None]
    bad += [mount.point for mount in memory if not _is_mask(mount)]
    proc = facts.mount_at("/proc")
    if proc is not None and proc.kind == "proc" and "subset=pid" not in proc.super_options:
        bad += [path for path in ("/proc/sys", "/proc/kcore") if facts.mount_at(path) is None and _exists(path)]
    protected = [path for path in TUNABLES if facts.mount_at(path) is not None]
    count = len(protected) + len(there)
    return Answer(f"open: {' '.join(bad)}" if bad else f"{count} read-only, {len(memory)} hidden", not bad)


def _exists(path: str) -> bool:
    """Whether there is a file of /proc on this kernel; it is the same in every /proc."""
    return os.path.lexists(path)


def _file(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """A file that is bound shows in mountinfo; one that was written onto the service's own tmpfs lies there."""
    path = wish.feature.partition(".")[2]
    mount = facts.mount_at(path)
    if mount is not None:
        return Answer(_text(mount, "ro"), mount.kind == "tmpfs" and "ro" in mount.options)
    under = max((m for m in facts.mounts if path.startswith(f"{m.point.rstrip('/')}/")), key=lambda m: len(m.point))
    return Answer(f"on {under.kind} {under.point}", under.kind == "tmpfs")


def _credentials_of(plan: Blueprint) -> tuple[str, ...]:
    """Where the secrets are; the environment may say something else, for a card's own words win there."""
    ops = (planned.op for planned in plan.ops if planned.feature == "credentials")
    return tuple(f"/{os.fsdecode(op.r)}" for op in ops if op.step == "mount-tmpfs" and isinstance(op.r, bytes))


def _credentials(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    (path,) = _credentials_of(plan)
    return _new(facts, ours, path, "tmpfs", "ro", "nosuid", "nodev", "noexec", "mode=500")


READ: Final[dict[str, Reader]] = {
    "root": _root,
    "pivot_root": _root,
    "read_only_root": _read_only_root,
    "overlay": _overlay,
    "private_tmp": _private_tmp,
    "dev": _dev,
    "devpts": _devpts,
    "sysfs": _sysfs,
    "proc": _proc,
    "mqueue": _mqueue,
    "tmpfs": _tmpfs,
    "binds": _bind,
    "idmapped": _idmapped,
    "files": _file,
    "credentials": _credentials,
    "masked_paths": _masked_paths,
    "read_only_paths": _read_only_paths,
    "protect_kernel_tunables": _tunables,
}
