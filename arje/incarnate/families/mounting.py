"""The child's ops for a mount plan: base, file systems, binds, what is put in, and the new root (isolation.md §3, 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from arje.card.soma import Bind, InjectedFile, Proc, Soma, Tmpfs
from arje.incarnate.families.mount_plan import (
    Spot,
    cover,
    credentials_directory,
    has_new_root,
    new_root,
    overlay_is_root,
    overlay_target,
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
    placed: list[Spot] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    beside: int = 0

    def place(self) -> None:
        """Place everything that is still had, in the one order that works."""
        soma, have = self.scene.soma, self.scene.have
        beside = staged(soma, have)
        if beside:
            self._base()
        for spot in spots(soma, have):
            if spot.target != "/":
                self._spot(spot)
        if "credentials" in have:
            self._credentials()
        self._put_in()
        self._forbid()
        if beside:
            self._pivot()

    def _add(self, op: Op, feature: str, card_field: str, text: str, target: str = "") -> None:
        """Add an op; one that makes its mount point stands on the mount that it makes it on."""
        under = cover(self.placed, target) if target else None
        own = under.own if under else self._base_is_own()
        if target and own:
            op = op._replace(a=op.a | MOUNT["make"], needs=self.slots.get(under.target, 0) if under else 0)
        self.setup.add(op, feature, card_field, text)

    def _base_is_own(self) -> bool:
        return any(spot.target == "/" and spot.own for spot in self.placed)

    def _slot(self, op: Op, spot: Spot) -> Op:
        """Give an own mount a number by which others can stand on it (mount_checks.py: there are enough)."""
        self.placed.append(spot)
        if spot.own:
            self.slots[spot.target] = len(self.slots) + 1
            return op._replace(slot=self.slots[spot.target])
        return op

    # -- the base ------------------------------------------------------------------------------------------------------

    def _base(self) -> None:
        """The new root: an overlay, a tmpfs, a directory, or a copy of the manager's own. A root is never optional."""
        soma, have, add = self.scene.soma, self.scene.have, self.setup.add
        add(Op("stage"), "", "soma", "a new root is put together")
        base = MOUNT["base"]
        if soma.overlay and "overlay" in have and soma.overlay.tmpfs_upper:
            op = Op("mount-tmpfs", p=b"tmpfs", q=self._tmpfs_options(soma.overlay.tmpfs_upper, 0o755), r=b"overlay")
            add(op, "", "soma.overlay.tmpfs_upper", f"upper layer of {soma.overlay.tmpfs_upper} bytes")
        if "overlay" in have and overlay_is_root(soma):
            self._overlay(b"root", base)
            self.placed.append(next(spots(soma, frozenset({"overlay"}))))
        elif (index := root_tmpfs(soma)) is not None and "tmpfs./" in have:
            self._tmpfs(soma.tmpfs[index], f"soma.tmpfs.{index}", b"root", base, "")
            self.placed.append(Spot("/", "tmpfs./", f"soma.tmpfs.{index}", True))
        else:
            named = "root" if "root" in have else "pivot_root" if "pivot_root" in have else ""
            path = new_root(soma) if named else "/"
            op = Op("root", p=path.encode(), a=base | MOUNT["recursive"], r=b"root")
            add(op, "", f"soma.{named}" if named else "soma", path)
            if "read_only_root" in have:
                self._read_only_root(MOUNT["recursive"])

    def _read_only_root(self, recursive: int) -> None:
        op = Op("read-only", a=MOUNT["in-place"] | recursive, r=b".")
        self.setup.add(op, "read_only_root", "soma.read_only_root", "/ is read-only")

    def _overlay(self, where: bytes, flags: int, spot: Spot | None = None) -> None:
        soma = self.scene.soma
        assert soma.overlay is not None
        overlay, up = soma.overlay, "" if flags & MOUNT["base"] else "../"
        user = ("user" in self.scene.have and not self.scene.late_user) or mounts.in_user_namespace()
        options = overlay_options(overlay, user=user, stage=up)
        made = f"{up}overlay/upper\0{up}overlay/work\0".encode() if overlay.tmpfs_upper else None
        size = -(-overlay.tmpfs_upper // 4096) * 4096
        op = Op("mount-overlay", p=made, q=options.encode(), r=where, a=flags, b=size)
        if spot is None:
            self.setup.add(op, "", "soma.overlay", f"/: {options}")
        else:
            self._make_first(op, spot, f"{spot.target}: {options}")

    # -- file systems --------------------------------------------------------------------------------------------------

    def _spot(self, spot: Spot) -> None:
        soma, kind = self.scene.soma, spot.feature.partition(".")[0]
        if kind == "overlay":
            self._overlay(rel(overlay_target(soma)), 0, spot)
        elif kind == "private_tmp":
            missing = MOUNT["missing"] if spot.target == "/var/tmp" else 0
            tmp = Tmpfs(target=spot.target, mode=0o1777)
            self._tmpfs(tmp, spot.field, rel(spot.target), missing, spot.feature, spot)
        elif kind == "tmpfs":
            index = int(spot.field.rpartition(".")[2])
            self._tmpfs(soma.tmpfs[index], spot.field, rel(spot.target), 0, spot.feature, spot)
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
        self._make_first(op._replace(r=where), spot, text)

    def _make_first(self, op: Op, spot: Spot, text: str) -> None:
        """Find out what the mount point lies on before the mount itself counts as placed."""
        under = cover(self.placed, spot.target)
        if under.own if under else self._base_is_own():
            op = op._replace(a=op.a | MOUNT["make"], needs=self.slots.get(under.target, 0) if under else 0)
        self.setup.add(self._slot(op, spot), spot.feature, spot.field, text)

    def _tmpfs_options(self, size: int, mode: int) -> bytes:
        """A tmpfs belongs to the service's user, by the ids that the file system sees."""
        ids = self.scene.outer_ids
        uid, gid = (None, None) if ids is None else map(str, ids)
        return words(mode=f"{mode:04o}", size=str(size) if size else None, uid=uid, gid=gid)

    def _tmpfs(
        self, tmpfs: Tmpfs, card_field: str, where: bytes, flags: int, feature: str, spot: Spot | None = None
    ) -> None:
        attributes = NOSUID * tmpfs.nosuid | NODEV * tmpfs.nodev | NOEXEC * tmpfs.noexec
        op = Op(
            "mount-tmpfs", p=b"tmpfs", q=self._tmpfs_options(tmpfs.size, tmpfs.mode), r=where, a=flags, b=attributes
        )
        text = f"tmpfs on {tmpfs.target}" + (f" of {tmpfs.size} bytes" if tmpfs.size else "")
        if spot is None:
            self.setup.add(op, feature, card_field, text)
        else:
            self._make_first(op, spot, text)

    def _bind(self, bind: Bind, spot: Spot) -> None:
        flags = MOUNT["recursive"] * bind.recursive | MOUNT["missing"] * bind.optional
        op = Op("bind", p=bind.source.encode(), r=rel(spot.target), a=flags, b=RDONLY * bind.read_only)
        text = f"{bind.source} on {spot.target}" + (" read-only" if bind.read_only else "")
        self._make_first(op, spot, text)
        feature = f"idmapped.{bind.where}"
        if feature in self.scene.have:
            op = Op("idmap", r=rel(spot.target), a=MOUNT["missing"] * bind.optional)
            self.setup.add(op, feature, f"{spot.field}.idmapped", f"owners of {bind.source} are the service's ids")

    # -- what is put in ------------------------------------------------------------------------------------------------

    def _credentials(self) -> None:
        soma, ids = self.scene.soma, self.scene.outer_ids
        path = credentials_directory(soma, self.scene.label, self.scene.runtime_dir)
        quiet = NOSUID | NODEV | NOEXEC
        spot = Spot(path, "credentials", "soma.credentials", True)
        op = Op("mount-tmpfs", p=b"tmpfs", q=self._tmpfs_options(_SECRETS, 0o500), r=rel(path), b=quiet)
        self._make_first(op, spot, f"tmpfs on {path}")
        owner = _NOBODY if ids is None else ids[0] << 32 | ids[1]
        for credential in soma.credentials:
            copy = MOUNT["copy"] if credential.source else 0
            op = Op("file", p=(credential.source or credential.content).encode(), a=copy | 0o400 << 16, b=owner)
            op = op._replace(r=rel(f"{path}/{credential.name}"), needs=self.slots.get(path, 0))
            self.setup.add(op, "credentials", f"soma.credentials.{credential.name}", f"{credential.name} in {path}")
        op = Op("read-only", r=rel(path), a=MOUNT["in-place"], needs=self.slots.get(path, 0))
        self.setup.add(op, "credentials", "soma.credentials", f"{path} is read-only")

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
            self.setup.add(Op("mask", r=rel(path)), "masked_paths", "soma.masked_paths", f"{path} is hidden")
        for path in soma.read_only_paths if "read_only_paths" in have else ():
            plain = path.removeprefix("-")
            op = Op("read-only", r=rel(plain), a=MOUNT["missing"] * path.startswith("-"))
            self.setup.add(op, "read_only_paths", "soma.read_only_paths", f"{plain} is read-only")
        own_base = any(spot.target == "/" for spot in self.placed)
        if own_base and "read_only_root" in have:
            self._read_only_root(0)

    def _pivot(self) -> None:
        soma = self.scene.soma
        kept = soma.pivot_root.put_old_name if soma.pivot_root and "pivot_root" in self.scene.have else ""
        named = "pivot_root" if soma.pivot_root else "root"
        text = f"the old root is at /{kept}" if kept else "the old root is gone"
        field_ = f"soma.{named}" if has_new_root(soma) else "soma"
        self.setup.add(Op("pivot-root", q=kept.encode()), "", field_, text)


def _proc_options(soma: Soma) -> bytes:
    if not isinstance(soma.proc, Proc):
        return b""
    hidepid = soma.proc.hidepid if soma.proc.hidepid != "off" else None
    return words(hidepid=hidepid, subset=soma.proc.subset or None)
