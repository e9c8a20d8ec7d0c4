"""The child's ops for a mount plan: base, file systems, binds, what is put in, and the new root (isolation.md §3, 10)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from arje.card.files import KERNEL_MEMORY, TUNABLE_MOUNTS, TUNABLES
from arje.card.soma import Bind, InjectedFile, Proc, Soma, Tmpfs
from arje.incarnate.families.mount_plan import (
    Spot,
    cover,
    credentials_directory,
    new_root,
    overlay_is_root,
    root_features,
    root_tmpfs,
    spots,
    staged,
)
from arje.incarnate.family import Scene
from arje.incarnate.setup import ChildSetup, overlay_options
from arje.kernel import mounts
from arje.native import MOUNT, Op

#: MOUNT_ATTR_* of mount_setattr(2).
RDONLY: Final = 1
NOSUID: Final = 2
NODEV: Final = 4
NOEXEC: Final = 8
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STAGE: Final = 1  # slots of abi.h
_BASE: Final = 2
_NOBODY: Final = (1 << 64) - 1  # uid and gid -1 of chown(2): as they are
_SECRETS: Final = 1 << 20  # bytes of all credentials together


def rel(path: str) -> bytes:
    """Return a path as C wants it: below the root in the making."""
    return path.strip("/").encode() or b"."


def words(**options: str | None) -> bytes:
    """Return mount options as C wants them; a None is left out, an empty one is a flag."""
    given = [(name, value) for name, value in options.items() if value is not None]
    return b"".join(f"{name}\0{value}\0".encode() for name, value in given)


@dataclass(slots=True)
class Mounting:
    """One soma's mounts being placed. ``slots`` tells which op another one stands on."""

    setup: ChildSetup
    scene: Scene
    placed: dict[str, Spot] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    beside: int = 0
    staged: bool = False

    def place(self) -> None:
        """Place everything that is still had, in the one order that works."""
        soma, have = self.scene.soma, self.scene.have
        self.staged = staged(have)
        if self.staged:
            self._base()
        for spot in spots(soma, have):
            if spot.target != "/":
                self._spot(spot)
        if "credentials" in have:
            self._credentials()
        self._put_in()
        self._forbid()
        if self.staged:
            self._pivot()

    def _add(self, op: Op, feature: str, card_field: str, text: str, target: str = "") -> None:
        """Add an op to the root in the making: without that it means nothing. Its mount point may be made where it is own.

        An op that makes its mount point stands on the mount that it makes it on.
        """
        needs = op.needs or (_BASE if self.staged else 0)
        under = cover(self.placed, target) if target else None
        if under is not None and under.own:
            op, needs = op._replace(a=op.a | MOUNT["make"]), self.slots[under.target]
        self.setup.add(op._replace(needs=needs), feature, card_field, text)

    def _mount(self, op: Op, spot: Spot, text: str) -> None:
        """Add the op of a mount; others may stand on it then (mount_checks.py: there are enough numbers for all)."""
        if spot.own:
            op = op._replace(slot=_BASE + 1 + len(self.slots))
        self._add(op, spot.feature, spot.field, text, spot.target)
        self.placed[spot.target] = spot
        if spot.own:
            self.slots[spot.target] = op.slot

    # -- the base ------------------------------------------------------------------------------------------------------

    def _base(self) -> None:
        """The new root: an overlay, a tmpfs, a directory, or a copy of the manager's own."""
        soma, have = self.scene.soma, self.scene.have
        self._of_root(Op("stage", slot=_STAGE, a="overlay" in have), "", "a new root is put together")
        if "overlay" in have and overlay_is_root(soma):
            self._of_base(*self._overlay(b"root", MOUNT["base"]), next(spots(soma, frozenset({"overlay"}))))
        elif (index := root_tmpfs(soma)) is not None and "tmpfs./" in have:
            spot = Spot("/", "tmpfs./", f"soma.tmpfs.{index}", True)
            self._of_base(*self._tmpfs(soma.tmpfs[index], b"root", MOUNT["base"]), spot)
        else:
            named = "root" if "root" in have else "pivot_root" if "pivot_root" in have else ""
            path = new_root(soma) if named else "/"
            op = Op("root", p=path.encode(), a=MOUNT["base"] | MOUNT["recursive"], r=b"root")
            self._of_base(op, path, Spot("/", named, f"soma.{named}" if named else "soma", False))
            if "read_only_root" in have:
                self._read_only_root(MOUNT["recursive"])

    def _of_base(self, op: Op, text: str, spot: Spot) -> None:
        self._of_root(op._replace(needs=_STAGE, slot=_BASE), spot.feature, text, spot.field)
        self.placed["/"] = spot
        self.slots["/"] = _BASE

    def _of_root(self, op: Op, feature: str, text: str, card_field: str = "") -> None:
        """Add an op of the new root itself, which is optional when all that it is made for is."""
        wanted = root_features(self.scene.have)
        required = [name for name in wanted if name in self.setup.required]
        name = (required or wanted)[0] if not feature or required else feature
        wish = next(wish for wish in self.scene.wishes if wish.feature == name)
        self.setup.add(op, name, card_field or wish.field, text)

    def _read_only_root(self, recursive: int) -> None:
        op = Op("read-only", a=MOUNT["in-place"] | recursive, r=b".")
        self._add(op, "read_only_root", "soma.read_only_root", "/ is read-only")

    def _overlay(self, where: bytes, flags: int) -> tuple[Op, str]:
        soma = self.scene.soma
        assert soma.overlay is not None
        overlay, up = soma.overlay, "" if flags & MOUNT["base"] else "../"
        user = ("user" in self.scene.have and not self.scene.late_user) or mounts.in_user_namespace()
        options = overlay_options(overlay, user=user, stage=up)
        upper = self._tmpfs_options(overlay.tmpfs_upper, 0o755) if overlay.tmpfs_upper else None
        op = Op("mount-overlay", p=upper, q=options.encode(), r=where, a=flags, b=pages(overlay.tmpfs_upper))
        return op, options

    # -- file systems --------------------------------------------------------------------------------------------------

    def _spot(self, spot: Spot) -> None:
        soma, kind = self.scene.soma, spot.feature.partition(".")[0]
        if kind == "overlay":
            op, text = self._overlay(rel(spot.target), 0)
            self._mount(op, spot, f"{spot.target}: {text}")
        elif kind == "private_tmp":
            missing = MOUNT["missing"] if spot.target == "/var/tmp" else 0
            op, text = self._tmpfs(Tmpfs(target=spot.target, mode=0o1777), rel(spot.target), missing)
            self._mount(op, spot, text)
        elif kind == "tmpfs":
            index = int(spot.field.rpartition(".")[2])
            op, text = self._tmpfs(soma.tmpfs[index], rel(spot.target), 0)
            self._mount(op, spot, text)
        elif kind == "binds":
            index = int(spot.field.rpartition(".")[2])
            self._bind(soma.binds[index], spot)
        else:
            self._kernels_own(spot)

    def _kernels_own(self, spot: Spot) -> None:
        soma, where = self.scene.soma, rel(spot.target)
        quiet = NOSUID | NODEV | NOEXEC
        tty = None if "user" in self.scene.have else mounts.tty_group()
        pts = words(newinstance="", ptmxmode="0666", mode="0620", gid=None if tty is None else str(tty))
        op, text = {
            "proc": (Op("mount-proc", p=b"proc", q=_proc_options(soma), b=quiet), "a new proc"),
            "sysfs": (Op("mount-sysfs", p=b"sysfs", b=quiet | RDONLY), "a new sysfs, read-only"),
            "devpts": (Op("mount-devpts", p=b"devpts", q=pts, b=NOSUID | NOEXEC), "a new devpts"),
            "mqueue": (Op("mount-mqueue", p=b"mqueue", b=quiet), "the queues of the ipc namespace"),
            "dev": (Op("mount-dev", q=pts), "null zero full random urandom tty pts shm"),
        }[spot.feature]
        text = f"{text} on {spot.target}"
        self._mount(op._replace(r=where), spot, text)

    def _tmpfs_options(self, size: int, mode: int) -> bytes:
        """A tmpfs belongs to the service's user, by the ids that the file system sees."""
        ids = self.scene.outer_ids
        uid, gid = (None, None) if ids is None else map(str, ids)
        return words(mode=f"{mode:04o}", size=str(size) if size else None, uid=uid, gid=gid)

    def _tmpfs(self, tmpfs: Tmpfs, where: bytes, flags: int) -> tuple[Op, str]:
        attributes = NOSUID * tmpfs.nosuid | NODEV * tmpfs.nodev | NOEXEC * tmpfs.noexec
        op = Op(
            "mount-tmpfs", p=b"tmpfs", q=self._tmpfs_options(tmpfs.size, tmpfs.mode), r=where, a=flags, b=attributes
        )
        return op, f"tmpfs on {tmpfs.target}" + (f" of {tmpfs.size} bytes" if tmpfs.size else "")

    def _bind(self, bind: Bind, spot: Spot) -> None:
        flags = MOUNT["recursive"] * bind.recursive | MOUNT["missing"] * bind.optional
        op = Op("bind", p=bind.source.encode(), r=rel(spot.target), a=flags, b=RDONLY * bind.read_only)
        text = f"{bind.source} on {spot.target}" + (" read-only" if bind.read_only else "")
        self._mount(op, spot, text)
        feature = f"idmapped.{bind.where}"
        if feature in self.scene.have:
            op = Op("idmap", r=rel(spot.target), a=MOUNT["missing"] * bind.optional)
            self._add(op, feature, f"{spot.field}.idmapped", f"owners of {bind.source} are the service's ids")

    # -- what is put in ------------------------------------------------------------------------------------------------

    def _credentials(self) -> None:
        soma, ids = self.scene.soma, self.scene.outer_ids
        path = credentials_directory(soma, self.scene.label, self.scene.runtime_dir)
        quiet = NOSUID | NODEV | NOEXEC
        spot = Spot(path, "credentials", "soma.credentials", True)
        op = Op("mount-tmpfs", p=b"tmpfs", q=self._tmpfs_options(_SECRETS, 0o500), r=rel(path), b=quiet)
        self._mount(op, spot, f"tmpfs on {path}")
        owner = _NOBODY if ids is None else ids[0] << 32 | ids[1]
        for credential in soma.credentials:
            copy = MOUNT["copy"] if credential.source else 0
            op = Op("file", p=(credential.source or credential.content).encode(), a=copy | 0o400 << 16, b=owner)
            op = op._replace(r=rel(f"{path}/{credential.name}"), needs=self.slots[path])
            self._add(op, "credentials", f"soma.credentials.{credential.name}", f"{credential.name} in {path}")
        op = Op("read-only", r=rel(path), a=MOUNT["in-place"], needs=self.slots[path])
        self._add(op, "credentials", "soma.credentials", f"{path} is read-only")

    def _put_in(self) -> None:
        soma, have = self.scene.soma, self.scene.have
        for index, link in enumerate(soma.symlinks):
            if f"symlinks.{link.path}" in have:
                op = Op("symlink", p=link.to.encode(), r=rel(link.path))
                self._add(op, f"symlinks.{link.path}", f"soma.symlinks.{index}", f"{link.path} → {link.to}", link.path)
        for index, file in enumerate(soma.files):
            if f"files.{file.path}" in have:
                self._file(file, f"soma.files.{index}")

    def _file(self, file: InjectedFile, card_field: str) -> None:
        under = cover(self.placed, file.path)
        direct = under is not None and under.own and under.feature != "overlay"
        copy = MOUNT["copy"] if file.source else 0
        owner = _NOBODY if file.owner is None else self._owner(file.owner)
        op = Op("file", p=(file.source or file.content).encode(), r=rel(file.path), a=copy | file.mode << 16, b=owner)
        if not direct:
            self.beside += 1
            op = op._replace(q=f"../file-{self.beside}".encode())
        self._add(op, f"files.{file.path}", card_field, f"{file.path} from {file.source or 'the card'}", file.path)

    def _owner(self, inside: int) -> int:
        uid, gid = self.scene.outer(inside, 0), self.scene.outer(inside, 1)
        return uid << 32 | gid

    # -- what is forbidden, and the end --------------------------------------------------------------------------------

    def _forbid(self) -> None:
        soma, have = self.scene.soma, self.scene.have
        for path in soma.masked_paths if "masked_paths" in have else ():
            self._add(Op("mask", r=rel(path)), "masked_paths", "soma.masked_paths", f"{path} is hidden")
        for path in soma.read_only_paths if "read_only_paths" in have else ():
            plain = path.removeprefix("-")
            op = Op("read-only", r=rel(plain), a=MOUNT["missing"] * path.startswith("-"))
            self._add(op, "read_only_paths", "soma.read_only_paths", f"{plain} is read-only")
        if "protect_kernel_tunables" in have:
            self._protect_tunables()
        if "read_only_root" in have and self._has_own_base():
            self._read_only_root(0)

    def _protect_tunables(self) -> None:
        """What of it there is; a mask of the card's own is a stronger word."""
        name, masked = "protect_kernel_tunables", self.scene.soma.masked_paths
        for path in KERNEL_MEMORY:
            if path not in masked:
                self._add(Op("mask", r=rel(path)), name, f"soma.{name}", f"{path} is hidden")
        for path in TUNABLES:
            if path not in masked:
                op = Op("read-only", r=rel(path), a=MOUNT["missing"])
                self._add(op, name, f"soma.{name}", f"{path} is read-only")
        for path in TUNABLE_MOUNTS:
            op = Op("read-only", r=rel(path), a=MOUNT["missing"] | MOUNT["in-place"])
            self._add(op, name, f"soma.{name}", f"{path} is read-only")

    def _has_own_base(self) -> bool:
        """Whether the root is a file system of its own, on which mount points may have to be made first."""
        base = self.placed.get("/")
        return base is not None and base.feature in ("overlay", "tmpfs./")

    def _pivot(self) -> None:
        soma, have = self.scene.soma, self.scene.have
        kept = soma.pivot_root.put_old_name if soma.pivot_root and "pivot_root" in have else ""
        text = f"the old root is at /{kept}" if kept else "the old root is gone"
        self._of_root(
            Op("pivot-root", q=kept.encode(), needs=_BASE), "pivot_root" if "pivot_root" in have else "", text
        )


def pages(size: int) -> int:
    """Return the bytes that the kernel makes of a size: whole pages."""
    return -(-size // _PAGE) * _PAGE


def _proc_options(soma: Soma) -> bytes:
    if not isinstance(soma.proc, Proc):
        return b""
    hidepid = soma.proc.hidepid if soma.proc.hidepid != "off" else None
    return words(hidepid=hidepid, subset=soma.proc.subset or None)
