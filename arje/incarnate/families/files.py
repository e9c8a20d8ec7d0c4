"""Which files the payload sees: its root, what is mounted on it, what is put in. All of it inside its mount namespace.

The parts have a file each: ``mount_plan`` (what lies where, in which order), ``mount_checks`` (nonsense), ``mounting`` (the
child's ops) and ``mount_read`` (what mountinfo says it became).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from arje.card.files import FEATURES, ITEMISED
from arje.card.soma import Soma
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import mount_checks, mount_read
from arje.incarnate.families.mount_plan import credentials_directory, overlay_is_root
from arje.incarnate.families.mounting import Mounting
from arje.incarnate.family import Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup

NEEDS: Final = {feature: ("mount",) for feature in FEATURES} | {
    "proc": ("pid", "mount"),
    "mqueue": ("ipc", "mount"),
    "idmapped": ("user", "mount"),
}
#: The others only hide or forbid.
MUST: Final = frozenset({"root", "overlay", "pivot_root", "private_tmp", "credentials", *ITEMISED})
SHOWN_BY: Final = dict.fromkeys(FEATURES, "mounts")
APPLY: Final[dict[str, Applier]] = {}
READ: Final[dict[str, Reader]] = mount_read.READ
AFTER: Final[dict[str, Finisher]] = {}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield what is mounted, base first."""
    if soma.root:
        yield Wish("root", soma.root, "soma.root")
    if soma.overlay:
        yield Wish("overlay", "/" if overlay_is_root(soma) else soma.overlay.merged, "soma.overlay")
    if soma.pivot_root:
        yield Wish("pivot_root", soma.pivot_root.new_root, "soma.pivot_root")
    if soma.read_only_root:
        yield Wish("read_only_root", "/ read-only", "soma.read_only_root")
    if soma.private_tmp:
        yield Wish("private_tmp", "own /tmp and /var/tmp", "soma.private_tmp")
    yield from _kernels_own(soma)
    for index, tmpfs in enumerate(soma.tmpfs):
        size = f" size={tmpfs.size}" if tmpfs.size else ""
        yield Wish(f"tmpfs.{tmpfs.target}", f"mode={tmpfs.mode:04o}{size}", f"soma.tmpfs.{index}")
    for index, bind in enumerate(soma.binds):
        how = "ro" if bind.read_only else "rw"
        yield Wish(f"binds.{bind.where}", f"{bind.source} {how}", f"soma.binds.{index}")
        if bind.idmapped:
            yield Wish(f"idmapped.{bind.where}", "the service's ids", f"soma.binds.{index}.idmapped")
    yield from _put_in(soma)


def _kernels_own(soma: Soma) -> Iterator[Wish]:
    if soma.dev == "minimal":
        yield Wish("dev", "minimal /dev", "soma.dev")
    if soma.devpts and soma.dev != "minimal":
        yield Wish("devpts", "own /dev/pts", "soma.devpts")
    if soma.sysfs:
        yield Wish("sysfs", "own /sys", "soma.sysfs")
    if soma.wants_proc:
        yield Wish("proc", " ".join(("own /proc", *mount_read.proc_options(soma))), "soma.proc")
    if soma.mqueue:
        yield Wish("mqueue", "own /dev/mqueue", "soma.mqueue")


def _put_in(soma: Soma) -> Iterator[Wish]:
    if soma.credentials:
        yield Wish("credentials", " ".join(credential.name for credential in soma.credentials), "soma.credentials")
    for index, link in enumerate(soma.symlinks):
        yield Wish(f"symlinks.{link.path}", link.to, f"soma.symlinks.{index}")
    for index, file in enumerate(soma.files):
        yield Wish(f"files.{file.path}", file.source or "the card's text", f"soma.files.{index}")
    if soma.masked_paths:
        yield Wish("masked_paths", " ".join(soma.masked_paths), "soma.masked_paths")
    if soma.read_only_paths:
        yield Wish("read_only_paths", " ".join(soma.read_only_paths), "soma.read_only_paths")
    if soma.protect_kernel_tunables:
        yield Wish("protect_kernel_tunables", "kernel settings read-only", "soma.protect_kernel_tunables")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield what would change the manager's own mounts, and what contradicts itself."""
    yield from mount_checks.check(soma, tuple(wishes(soma)))


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the mounts, then the new root."""
    Mounting(setup, scene).place()


def environment(scene: Scene) -> dict[str, str]:
    """Return what the payload is told of its files."""
    if "credentials" not in scene.have:
        return {}
    return {"CREDENTIALS_DIRECTORY": credentials_directory(scene.soma, scene.label, scene.runtime_dir)}


def expand(soma: Soma, text: Callable[[str], str]) -> Soma:
    """Return the soma with every path of this family replaced by ``text`` of it; contents stay as they are."""
    names = ("root", "overlay", "pivot_root", "tmpfs", "binds", "masked_paths", "read_only_paths", "files", "symlinks")
    return replace(soma, **{name: _each(getattr(soma, name), text) for name in (*names, "credentials")})


def _each(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        return tuple(_each(item, text) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        paths = (part.name for part in dataclasses.fields(value) if part.name not in ("content", "name"))
        return replace(value, **{name: _each(getattr(value, name), text) for name in paths})
    return value


def hint(syscall: str, errno_name: str) -> str:
    """Return what to do about a mount that was refused; empty when the error says it all."""
    return {
        ("openat2 target", "ENOENT"): "make the mount point in the root, or put a tmpfs or an overlay under it",
        ("openat2 target", "ELOOP"): "a symlink is on the way: write the path that it leads to",
        ("openat2 target", "EXDEV"): "the path leaves the root",
        ("open_tree source", "ENOENT"): 'the source is missing: make it, or begin the bind with "-" to do without',
        ("open_tree root", "ENOENT"): "make the directory",
        ("open source", "ENOENT"): "make the file",
        ("open_tree source", "EINVAL"): "what is mounted below it is locked: make the bind recursive",
        ("mount overlay", "ELOOP"): "one layer lies inside another",
        ("mount overlay", "EINVAL"): "in a user namespace a lower layer may have nothing mounted below it",
        ("mount_setattr idmap", "EINVAL"): "its file system cannot be id-mapped",
        ("move_mount", "ENOTDIR"): "one of source and mount point is a file, the other a directory",
    }.get((syscall, errno_name), "")
