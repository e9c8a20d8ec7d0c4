"""Who the payload is: user, groups, the maps of its user namespace, and that execve can never give it more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from arje.card.soma import IdMap, Soma
from arje.incarnate.blueprint import Blueprint, Credentials, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup
from arje.kernel import identity
from arje.kernel.facts import Facts

Maps = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]

NEEDS: Final = {"id-map": ("user",)}
MUST: Final = frozenset({"id-map", "run_as"})
SHOWN_BY: Final = {"id-map": "maps"}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the maps, the identity and no_new_privs."""
    if soma.namespaces.user:
        lines = ", ".join(f"{m.inside}→{m.outside}+{m.count}" for m in soma.uid_map)
        yield Wish("id-map", lines or "one line", "soma.uid_map")
    if soma.run_as:
        yield Wish("run_as", str(soma.run_as.user), "soma.run_as")
    if soma.no_new_privs:
        yield Wish("no_new_privs", "1", "soma.no_new_privs")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield maps without a namespace that they could be for."""
    if (soma.uid_map or soma.gid_map) and not soma.namespaces.user:
        yield Nonsense("soma.uid_map", "there is no user namespace to map", "ask for namespaces.user as well")


def maps(soma: Soma, who: identity.Identity | None) -> Maps:
    """Return the lines to write for uids and gids. Default: 0 inside, the service's own ids outside."""
    uid, gid = (who.uid, who.gid) if who and not soma.uid_map else (os.geteuid(), os.getegid())
    return soma.uid_map or (IdMap(inside=0, outside=uid),), soma.gid_map or (IdMap(inside=0, outside=gid),)


def credentials(
    soma: Soma, who: identity.Identity | None, have: frozenset[str], lines: Maps, *, late_user: bool
) -> Credentials | None:
    """Return the ids to take: inside a user namespace the card's when it maps ids itself, else the one mapped id."""
    field = "soma.run_as" if soma.run_as else "soma.namespaces.user"
    if "user" not in have:
        ours = (os.geteuid(), os.getegid())
        change = who is not None and ((who.uid, who.gid) != ours or ours[0] == 0)
        return Credentials(who.uid, who.gid, who.groups, field) if who is not None and change else None
    if who is not None and soma.uid_map:
        return Credentials(who.uid, who.gid, who.groups if late_user else None, field)
    return Credentials(_inside(lines[0]), _inside(lines[1]), () if late_user else None, field)


def _inside(lines: tuple[IdMap, ...]) -> int:
    """The id to be inside: 0 when it is mapped, else the first that is."""
    return 0 if any(line.inside == 0 for line in lines) else lines[0].inside


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the change of ids; a privileged manager's user namespace comes right before, or mounts would be locked."""
    if scene.late_user:
        setup.with_late_user_namespace()
    if ids := scene.credentials:
        setup.with_identity(ids.uid, ids.gid, ids.groups, ids.field)


def _id_map(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    ok = all(
        facts.id_map(which) == tuple((line.inside, line.outside, line.count) for line in wanted)
        for which, wanted in (("uid_map", plan.uid_map), ("gid_map", plan.gid_map))
    )
    return Answer(", ".join(f"{inside}→{outside}+{count}" for inside, outside, count in facts.id_map("uid_map")), ok)


def _run_as(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    who, status = plan.credentials, facts.status
    uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
    granted = f"uid {'/'.join(sorted(uids))} gid {'/'.join(sorted(gids))}"
    if who is None:  # it is this user already
        return Answer(granted, (uids, gids) == (set(ours.status["Uid"].split()), set(ours.status["Gid"].split())))
    groups = set(map(int, status["Groups"].split()))
    ok = (uids, gids) == ({str(who.uid)}, {str(who.gid)}) and (who.groups is None or groups == set(who.groups))
    return Answer(granted, ok)


READ: Final[dict[str, Reader]] = {"id-map": _id_map, "run_as": _run_as}
