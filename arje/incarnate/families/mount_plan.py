"""Where everything of a soma is mounted, in which order, and where a missing mount point may be made. Pure.

The order: base (the new root) → overlay elsewhere → private /tmp, /dev, /dev/pts, /sys, /proc, /dev/mqueue → tmpfs in the
card's order → binds in the card's order → credentials → files → masks → read-only last → pivot_root. The file systems that
have a fixed place come before tmpfs and binds, so that a bind may lie on them (/dev/kvm in a minimal /dev), and an overlay
before all of them, so that their mount points may be made on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from arje.card.soma import Soma

#: Features for which a new root is put together beside the old one (mounts.c): they need sources, or are the root.
STAGED: Final = frozenset({"root", "read_only_root", "overlay", "pivot_root", "dev", "binds", "files"})
DEV: Final = "/dev"


class Spot(NamedTuple):
    """One mount: where the service sees it, its feature and field, and whether only the service can see what is on it."""

    target: str
    feature: str
    field: str
    own: bool


def family_of(feature: str) -> str:
    """Return the part of a feature's name before the dot (``binds./srv`` → ``binds``)."""
    return feature.partition(".")[0]


def covers(upper: str, path: str) -> bool:
    """Return whether a mount point is a path or above it."""
    return path == upper or path.startswith(f"{upper.rstrip('/')}/")


def new_root(soma: Soma) -> str:
    """Return the directory that becomes the root; empty: none does."""
    return soma.root or (soma.pivot_root.new_root if soma.pivot_root else "")


def overlay_is_root(soma: Soma) -> bool:
    """Return whether the overlay is what the service sees as ``/``."""
    if soma.overlay is None:
        return False
    merged, root = soma.overlay.merged.rstrip("/"), new_root(soma).rstrip("/")
    return not merged or merged == root


def overlay_target(soma: Soma) -> str:
    """Return where the service sees an overlay that is not its root: ``merged`` without the new root."""
    assert soma.overlay is not None
    merged, root = os.path.normpath(soma.overlay.merged), new_root(soma).rstrip("/")
    return merged.removeprefix(root) if root and covers(root, merged) else merged


def root_tmpfs(soma: Soma) -> int | None:
    """Return which tmpfs is the root, None when none is."""
    return next((index for index, tmpfs in enumerate(soma.tmpfs) if tmpfs.target == "/"), None)


def has_new_root(soma: Soma) -> bool:
    """Return whether the service sees another ``/`` than the manager."""
    return bool(new_root(soma)) or overlay_is_root(soma) or root_tmpfs(soma) is not None


def spots(soma: Soma, have: frozenset[str] | None = None) -> Iterator[Spot]:
    """Yield the mounts in the order in which they are made; ``have``: those of these features only."""
    for spot in _all(soma):
        if have is None or spot.feature in have:
            yield spot


def _all(soma: Soma) -> Iterator[Spot]:
    if soma.overlay:
        writable = bool(soma.overlay.upper or soma.overlay.tmpfs_upper)
        target = "/" if overlay_is_root(soma) else overlay_target(soma)
        yield Spot(target, "overlay", "soma.overlay", writable)
    if (index := root_tmpfs(soma)) is not None:
        yield Spot("/", "tmpfs./", f"soma.tmpfs.{index}", True)
    if soma.private_tmp:
        yield from (Spot(path, "private_tmp", "soma.private_tmp", True) for path in ("/tmp", "/var/tmp"))
    yield from _fixed(soma)
    for index, tmpfs in enumerate(soma.tmpfs):
        if tmpfs.target != "/":
            yield Spot(tmpfs.target, f"tmpfs.{tmpfs.target}", f"soma.tmpfs.{index}", True)
    for index, bind in enumerate(soma.binds):
        yield Spot(bind.where, f"binds.{bind.where}", f"soma.binds.{index}", False)


def _fixed(soma: Soma) -> Iterator[Spot]:
    for feature, asked, target in (
        ("dev", soma.dev == "minimal", DEV),
        ("devpts", soma.devpts and soma.dev != "minimal", "/dev/pts"),
        ("sysfs", soma.sysfs, "/sys"),
        ("proc", soma.wants_proc, "/proc"),
        ("mqueue", soma.mqueue, "/dev/mqueue"),
    ):
        if asked:
            yield Spot(target, feature, f"soma.{feature}", feature == "dev")


def upwards(path: str) -> Iterator[str]:
    """Yield an absolute path and every directory above it, ``/`` at last."""
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield path


def cover(placed: Mapping[str, Spot], path: str) -> Spot | None:
    """Return which of the mounts (by target) a path lies on; None when it lies on the base."""
    return next((placed[place] for place in upwards(path) if place in placed), None)


def root_features(have: frozenset[str]) -> tuple[str, ...]:
    """Return the features for which a new root is put together beside the old one, those that are the root first."""
    found = [feature for feature in have if feature == "tmpfs./" or family_of(feature) in STAGED]
    first = ("root", "pivot_root", "overlay", "tmpfs./")
    return tuple(sorted(found, key=lambda feature: (feature not in first, feature)))


def staged(have: frozenset[str]) -> bool:
    """Return whether a new root is put together beside the old one."""
    return bool(root_features(have))


def credentials_directory(soma: Soma, label: str, runtime_dir: str) -> str:
    """Return the directory of the secrets: the manager's own, which it makes, or one of the service's root."""
    if runtime_dir and not has_new_root(soma):
        return f"{runtime_dir}/credentials/{label}"
    return f"/run/credentials/{label}"
