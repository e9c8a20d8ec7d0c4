"""What of the files family is nonsense on every machine: found in the plan, before anything is mounted. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from arje.card.soma import Soma
from arje.incarnate.blueprint import Wish
from arje.incarnate.families.mount_plan import (
    Spot,
    cover,
    new_root,
    overlay_is_root,
    root_tmpfs,
    spots,
    upwards,
)
from arje.incarnate.family import Nonsense

_HIDEPID: Final = ("off", "noaccess", "invisible", "ptraceable")
_MOST: Final = 60  # the slots of abi.h, but for those of the new root itself
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


def check(soma: Soma, wishes: tuple[Wish, ...]) -> Iterator[Nonsense]:
    """Yield every mistake; the first is what the card's author hears of."""
    yield from _namespaces(soma, wishes)
    yield from _roots(soma)
    yield from _paths(soma)
    yield from _values(soma)
    yield from _injected(soma)
    yield from _hidden(soma)


def _namespaces(soma: Soma, wishes: tuple[Wish, ...]) -> Iterator[Nonsense]:
    """Without a mount namespace they would be the manager's own mounts: as pid 1 it would pivot the machine."""
    if soma.proc and not (soma.namespaces.pid and soma.namespaces.mount):
        yield Nonsense("soma.proc", "a new /proc needs a pid and a mount namespace", "ask for both, or leave proc out")
    for wish in () if soma.namespaces.mount else wishes:
        yield Nonsense(wish.field, "it would change the manager's own mounts", "ask for namespaces.mount as well")
    if soma.mqueue and not soma.namespaces.ipc:
        yield Nonsense("soma.mqueue", "the queues are those of an ipc namespace", "ask for namespaces.ipc as well")
    if soma.sysfs and soma.namespaces.user and not soma.namespaces.net:
        detail = "in a user namespace /sys belongs to a net namespace"
        yield Nonsense("soma.sysfs", detail, "ask for namespaces.net as well")
    for index, bind in enumerate(soma.binds):
        if bind.idmapped and not soma.namespaces.user:
            detail = "there is no user namespace whose ids it could take"
            yield Nonsense(f"soma.binds.{index}.idmapped", detail, "ask for namespaces.user as well")


def _roots(soma: Soma) -> Iterator[Nonsense]:
    overlay = soma.overlay
    if soma.root and soma.pivot_root:
        yield Nonsense("soma.root", "pivot_root names a root already", "keep one of them")
    if overlay and overlay_is_root(soma) and not overlay.merged and new_root(soma):
        yield Nonsense(
            "soma.overlay", f"{new_root(soma)} is the root already", "name overlay.merged, or drop the other"
        )
    if root_tmpfs(soma) is not None and (new_root(soma) or overlay_is_root(soma)):
        yield Nonsense("soma.tmpfs", "there is a root already", "drop the tmpfs on /")
    if soma.root == "/" or (soma.pivot_root and soma.pivot_root.new_root.rstrip("/") == ""):
        field = "soma.root" if soma.root else "soma.pivot_root"
        yield Nonsense(field, "/ is the root without that", "leave it out, or ask for read_only_root")
    if soma.pivot_root and ("/" in soma.pivot_root.put_old_name or soma.pivot_root.put_old_name in (".", "..")):
        detail = f"{soma.pivot_root.put_old_name!r} is no name of a directory in the new root"
        yield Nonsense("soma.pivot_root.put_old_name", detail, 'write one such as "old"')
    if overlay and not overlay.lower:
        yield Nonsense("soma.overlay.lower", "it has no lower layer", "name a directory")
    if overlay and bool(overlay.upper) != bool(overlay.work):
        yield Nonsense("soma.overlay", "upper and work go together", "name both, neither, or tmpfs_upper")
    if overlay and overlay.upper and overlay.tmpfs_upper:
        yield Nonsense("soma.overlay.tmpfs_upper", "there is an upper layer already", "drop upper and work")
    if sum(spot.own for spot in spots(soma)) + bool(soma.credentials) > _MOST:
        yield Nonsense("soma.tmpfs", f"more than {_MOST} file systems of its own", "put directories on fewer of them")


def _paths(soma: Soma) -> Iterator[Nonsense]:
    sources = [("soma.root", soma.root), *((f"soma.binds.{i}.source", b.source) for i, b in enumerate(soma.binds))]
    sources += [(f"soma.files.{i}.source", f.source) for i, f in enumerate(soma.files)]
    sources += [(f"soma.credentials.{c.name}.source", c.source) for c in soma.credentials]
    if soma.overlay:
        sources += [("soma.overlay.lower", path) for path in soma.overlay.lower]
        sources += [("soma.overlay.upper", soma.overlay.upper), ("soma.overlay.work", soma.overlay.work)]
    for field, path in sources:
        if path and not path.startswith("/"):
            yield Nonsense(field, f"{path!r} is not absolute", "begin it with /")
    targets = [(spot.field, spot.target) for spot in spots(soma) if spot.target != "/" or spot.feature == "binds./"]
    targets += [(f"soma.files.{i}.path", f.path) for i, f in enumerate(soma.files)]
    targets += [(f"soma.symlinks.{i}.path", link.path) for i, link in enumerate(soma.symlinks)]
    targets += [("soma.masked_paths", path) for path in soma.masked_paths]
    targets += [("soma.read_only_paths", path.removeprefix("-")) for path in soma.read_only_paths]
    for field, path in targets:
        yield from _target(field, path)


def _target(field: str, path: str) -> Iterator[Nonsense]:
    if not path.startswith("/"):
        yield Nonsense(field, f"{path!r} is not absolute", "begin it with /, the service's root")
    elif ".." in path.split("/"):
        yield Nonsense(field, f"{path!r} leads upwards", 'write the path without ".."')
    elif path == "/" or path != os.path.normpath(path):
        hint = "use root, overlay or a tmpfs for the root itself" if path.strip("/") == "" else os.path.normpath(path)
        yield Nonsense(field, f"{path!r} is no plain path below the root", f"write {hint}" if hint[0] == "/" else hint)


def _values(soma: Soma) -> Iterator[Nonsense]:
    for index, tmpfs in enumerate(soma.tmpfs):
        if tmpfs.size < 0 or not 0 <= tmpfs.mode <= 0o7777:
            yield Nonsense(
                f"soma.tmpfs.{index}", "its size or mode is out of range", 'write size = "64M", mode = "1777"'
            )
    if soma.overlay and soma.overlay.tmpfs_upper < 0:
        yield Nonsense("soma.overlay.tmpfs_upper", "it is negative", 'write "64M"')
    if soma.dev not in ("host", "minimal"):
        yield Nonsense("soma.dev", f"no /dev {soma.dev!r}", 'write "minimal" or "host"')
    if not isinstance(soma.proc, bool) and soma.proc is not None:
        if soma.proc.hidepid not in _HIDEPID:
            yield Nonsense("soma.proc.hidepid", f"no hidepid {soma.proc.hidepid!r}", f"one of {', '.join(_HIDEPID)}")
        if soma.proc.subset not in ("", "pid"):
            yield Nonsense("soma.proc.subset", f"no subset {soma.proc.subset!r}", 'there is one: "pid"')


def _injected(soma: Soma) -> Iterator[Nonsense]:
    there = {spot.target: spot for spot in spots(soma)}
    for index, link in enumerate(soma.symlinks):
        under = cover(there, link.path) if link.path.startswith("/") else None
        if under is None or not under.own:
            detail = f"{link.path} lies on a directory that others see"
            yield Nonsense(f"soma.symlinks.{index}", detail, "put a tmpfs or an overlay under it")
    for index, file in enumerate(soma.files):
        if file.source and file.content:
            yield Nonsense(f"soma.files.{index}", "it has content and a source", "keep one of them")
        if not 0 <= file.mode <= 0o7777 or not 0 <= (file.owner or 0) < 2**32 - 1:
            yield Nonsense(f"soma.files.{index}", "its mode or owner is out of range", 'write mode = "0644", owner = 0')
        if file.owner is not None and soma.namespaces.user and not _is_mapped(soma, file.owner):
            detail = f"{file.owner} is no id of the service's user namespace"
            yield Nonsense(f"soma.files.{index}.owner", detail, "map it in uid_map and gid_map")
    for credential in soma.credentials:
        field = f"soma.credentials.{credential.name}"
        if not _NAME.fullmatch(credential.name):
            yield Nonsense(field, f"{credential.name!r} is no file name", "letters, digits and . _ -")
        if bool(credential.source) == bool(credential.content):
            yield Nonsense(field, "it has no content and no source, or both", "keep one of them")


def _is_mapped(soma: Soma, number: int) -> bool:
    """Return whether an id exists in the user namespace; without lines there is 0 alone."""
    return all(
        any(0 <= number - line.inside < line.count for line in lines) if lines else number == 0
        for lines in (soma.uid_map, soma.gid_map)
    )


def _hidden(soma: Soma) -> Iterator[Nonsense]:
    """A mount over an earlier one would hide it; nobody means that."""
    first: dict[str, Spot] = {}  # what of the earlier ones lies at a place or below it
    for spot in spots(soma):
        if (hidden := first.get(spot.target)) is not None:
            hint = f"put {spot.target} first, or drop one of them"
            yield Nonsense(spot.field, f"it would hide {hidden.target} of {hidden.field}", hint)
        if spot.target.startswith("/"):  # anything else has been complained of
            for place in upwards(spot.target):
                if place != "/" or spot.target == "/":
                    first.setdefault(place, spot)
