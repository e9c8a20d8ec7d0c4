"""Who the payload is: user, groups, the maps of its user namespace, and that execve can never give it more."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from arje.card.soma import IdMap, Soma
from arje.incarnate import idmap
from arje.incarnate.blueprint import Blueprint, Credentials, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene, lose
from arje.incarnate.setup import ChildSetup
from arje.incarnation import Cause, Degradation
from arje.kernel import identity, powers
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.kernel.powers import Powers

Maps = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]

NEEDS: Final = {"id-map": ("user",)}
MUST: Final = frozenset({"id-map", "run_as", "groups"})
SHOWN_BY: Final = {"id-map": "maps"}
APPLY: Final[dict[str, Applier]] = {}
_NOBODY: Final = 65534
AFTER: Final[dict[str, Finisher]] = {}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the maps, the identity and no_new_privs."""
    if soma.namespaces.user:
        lines = ", ".join(f"{m.inside}→{m.outside}+{m.count}" for m in soma.uid_map)
        yield Wish("id-map", lines or ("subordinate ids" if soma.auto_map else "one line"), "soma.uid_map")
    if soma.run_as:
        yield Wish("run_as", str(soma.run_as.user), "soma.run_as")
        if soma.run_as.groups is not None:
            yield Wish("groups", " ".join(map(str, soma.run_as.groups)) or "none", "soma.run_as.groups")
    if soma.no_new_privs:
        yield Wish("no_new_privs", "1", "soma.no_new_privs")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield maps without a namespace that they could be for."""
    if (soma.uid_map or soma.gid_map or soma.auto_map) and not soma.namespaces.user:
        yield Nonsense("soma.uid_map", "there is no user namespace to map", "ask for namespaces.user as well")


# -- maps --------------------------------------------------------------------------------------------------------------


def maps(soma: Soma, who: identity.Identity | None, mine: Powers) -> Maps:
    """Return the lines to write for uids and gids. Default: 0 inside, the service's own ids outside.

    The supplementary groups of a service that run_as names keep their numbers, where they can be had.
    """
    uid, gid = (who.uid, who.gid) if who and not soma.uid_map else (mine.uid, mine.gid)
    gids = [IdMap(inside=0, outside=gid)]
    if who is not None and not soma.uid_map and mine.maps_any and mine.sets_groups:
        extra = [group for group in who.groups if group != gid]
        spare = iter(set(range(1, len(extra) + 2)) - set(extra))  # for the group 0: inside, 0 is the service's own
        gids += [IdMap(inside=group or next(spare), outside=group) for group in extra]
    return soma.uid_map or (IdMap(inside=0, outside=uid),), soma.gid_map or tuple(gids)


def credentials(
    soma: Soma, who: identity.Identity | None, have: frozenset[str], lines: Maps, mine: Powers
) -> Credentials | None:
    """Return the ids to take: inside a user namespace the card's when it maps ids itself, else the one mapped id.

    Groups are None where they cannot be changed: an ordinary user's, unless newgidmap(1) maps them.
    """
    field = "soma.run_as" if soma.run_as else "soma.namespaces.user"
    if "join.user" in have:
        groups = () if mine.sets_groups and who is None else who.groups if who and mine.sets_groups else None
        return Credentials(
            who.uid if who else 0, who.gid if who else 0, groups, "soma.run_as" if who else "soma.join.user"
        )
    if "user" not in have:
        ours = (mine.uid, mine.gid)
        change = who is not None and ((who.uid, who.gid) != ours or mine.sets_groups)
        return (
            Credentials(who.uid, who.gid, who.groups if mine.sets_groups else None, field) if who and change else None
        )
    changeable = mine.sets_groups or not (mine.maps_any or idmap.is_direct(lines[1], mine.gid))
    if who is not None and soma.uid_map:
        return Credentials(who.uid, who.gid, who.groups if changeable else None, field)
    inside = {line.outside: line.inside for line in lines[1]}
    kept = tuple(inside[group] for group in who.groups if group in inside) if who and not soma.gid_map else ()
    return Credentials(_inside(lines[0]), _inside(lines[1]), kept if changeable else None, field)


def _inside(lines: tuple[IdMap, ...]) -> int:
    """The id to be inside: 0 when it is mapped, else the first that is."""
    return 0 if any(line.inside == 0 for line in lines) else lines[0].inside


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the change of ids; a privileged manager's user namespace comes right before, or mounts would be locked."""
    if ids := scene.credentials:
        setup.with_identity(ids.uid, ids.gid, ids.groups, ids.field)


def place_user(setup: ChildSetup, scene: Scene) -> None:
    """Place the user namespace of a privileged manager's service: right before the ids, or its mounts would be locked."""
    if scene.late_user:
        setup.with_late_user_namespace()


# -- what can be foreseen ----------------------------------------------------------------------------------------------


def with_auto(soma: Soma, capabilities: CapabilitySet) -> Soma:
    """Return the soma with the lines that ``auto_map`` stands for, or as it is when there are no ids to give."""
    mine = capabilities.powers
    if not (soma.auto_map and mine.sub_uids and mine.sub_gids):
        return soma
    own = None if mine.maps_any else mine.uid
    uids = soma.uid_map or _lines(own, mine.sub_uids)
    own = None if mine.maps_any else mine.gid
    return replace(soma, uid_map=uids, gid_map=soma.gid_map or _lines(own, mine.sub_gids))


def _lines(own: int | None, ranges: powers.Ranges) -> tuple[IdMap, ...]:
    """The own id as 0, then every id of the ranges but it, in a row."""
    lines = [] if own is None else [IdMap(inside=0, outside=own)]
    for first, count in ranges:
        pieces = [(first, count)]
        if own is not None and first <= own < first + count:
            pieces = [(first, own - first), (own + 1, first + count - own - 1)]
        for outside, length in pieces:
            inside = lines[-1].inside + lines[-1].count if lines else 0
            if length > 0 and inside + length <= identity.LARGEST:
                lines.append(IdMap(inside=inside, outside=outside, count=length))
    return tuple(lines)


def foresee(soma: Soma, who: identity.Identity | None, capabilities: CapabilitySet) -> Iterator[Degradation]:
    """Yield the loss of maps that this manager cannot have, and of users and groups that it cannot become."""
    mine, wished = capabilities.powers, {wish.feature: wish for wish in wishes(soma)}
    if wish := wished.get("id-map"):
        no = _unmappable(soma, capabilities)
        if no is not None:
            yield lose(wish, *no)
    if who is not None and not (capabilities.privileged or who.uid == mine.uid or soma.join.user):
        inside = tuple((line.inside, line.count) for line in soma.uid_map)
        if not powers.holds(inside, who.uid, 1):
            detail = f"user {mine.uid} may not become user {who.uid}"
            yield lose(
                wished["run_as"],
                Cause.NO_CAPABILITY,
                detail,
                "run the manager as root",
                errno=errno.EPERM,
                syscall="setresuid",
            )
    elif who is not None and not (soma.namespaces.user or soma.join.user):
        yield from _nobody_here(soma, who, mine)
    if wish := wished.get("groups"):
        mapped = soma.namespaces.user and not idmap.is_direct(soma.gid_map, mine.gid) and soma.gid_map != ()
        same = wish.requested == "none" and not mine.groups
        if not (mine.sets_groups or (mapped and not mine.maps_any) or same):
            detail = "setgroups is denied in this user namespace" if mine.groups_denied else "CAP_SETGID is missing"
            remedy = "be root, or map a range of groups"
            yield lose(wish, Cause.NO_CAPABILITY, detail, remedy, errno=errno.EPERM, syscall="setgroups")


def _nobody_here(soma: Soma, who: identity.Identity, mine: Powers) -> Iterator[Degradation]:
    """Yield the loss of ids that the user namespace which the manager lives in does not have (setresuid(2): EINVAL)."""
    groups = {wish.feature: wish for wish in wishes(soma)}
    for feature, call, ranges, number in (
        ("run_as", "setresuid", mine.uids, who.uid),
        ("run_as", "setresgid", mine.gids, who.gid),
        *(("groups" if "groups" in groups else "run_as", "setgroups", mine.gids, group) for group in who.groups),
    ):
        if feature in groups and not powers.holds(ranges, number, 1):
            detail = f"{number} is no id of the user namespace that the manager lives in: {powers.words(ranges)} are"
            wish = groups.pop(feature)
            yield lose(wish, Cause.NOT_DELEGATED, detail, "map more ids there", errno=errno.EINVAL, syscall=call)


def without_maps(soma: Soma, lost: tuple[Degradation, ...], mine: Powers) -> tuple[Soma, tuple[Degradation, ...]]:
    """Return what is left of a soma whose maps are lost, but not its user namespace: one id, which is not root's.

    An identity inside goes with them: outside, its number is somebody else's.
    """
    gone = {loss.feature: loss for loss in lost}
    if "id-map" not in gone or "user" in gone or not soma.namespaces.user:
        return soma, lost
    safe = mine.maps_any and powers.holds(mine.uids, _NOBODY, 1) and powers.holds(mine.gids, _NOBODY, 1)
    uid, gid = (_NOBODY, _NOBODY) if safe else (mine.uid, mine.gid)
    gone["id-map"] = replace(gone["id-map"], obtained=f"0→{uid}+1")
    for wish in wishes(soma):
        if wish.feature in ("run_as", "groups") and wish.feature not in gone:
            because = replace(gone["id-map"], feature=wish.feature, requested=wish.requested, obtained="none")
            gone[wish.feature] = replace(because, detail=f"needs id-map: {because.detail}")
    one = (IdMap(inside=0, outside=uid),), (IdMap(inside=0, outside=gid),)
    return replace(soma, uid_map=one[0], gid_map=one[1], auto_map=False), tuple(gone.values())


def is_another(who: Credentials | None, lines: Maps, have: frozenset[str], mine: Powers) -> bool:
    """Whether an ordinary user's child becomes another user: the kernel then hides its memory's /proc files from us.

    Were that memory the manager's own (CLONE_VM), it could map no ids of the next child (PR_SET_DUMPABLE(2const)).
    """
    if mine.maps_any or who is None:
        return False
    helped = "user" in have and not (idmap.is_direct(lines[0], mine.uid) and idmap.is_direct(lines[1], mine.gid))
    return helped or "join.user" in have


No = tuple[Cause, str, str]


def _unmappable(soma: Soma, capabilities: CapabilitySet) -> No | None:
    mine = capabilities.powers
    if soma.auto_map and not (soma.uid_map and soma.gid_map):
        no = capabilities["subgid" if capabilities["subuid"].available else "subuid"]
        return Cause.NOT_DELEGATED, no.detail, no.remedy
    for what, lines, own, exist, ranges in (
        ("uid", soma.uid_map, mine.uid, mine.uids, mine.sub_uids),
        ("gid", soma.gid_map, mine.gid, mine.gids, mine.sub_gids),
    ):
        if mine.maps_any:
            if outside := [line for line in lines if not powers.holds(exist, line.outside, line.count)]:
                detail = f"{_row(what, outside[0])}: in the manager's user namespace there are {powers.words(exist)}"
                return Cause.NOT_DELEGATED, detail, "map ids that are there"
        elif lines and not idmap.is_direct(lines, own):
            beyond = [line for line in lines if not powers.holds((*ranges, (own, 1)), line.outside, line.count)]
            file = f"/etc/sub{what}"
            if beyond and ranges:
                detail = f"{_row(what, beyond[0])}: {file} gives {mine.owner} {powers.words(ranges)}"
                return Cause.NOT_DELEGATED, detail, f"map ids of these ranges, or add one to {file}"
            for feature in (f"new{what}map", f"sub{what}"):
                if not (found := capabilities[feature]).available:
                    return found.cause or Cause.NOT_DELEGATED, found.detail, found.remedy
    return None


def _row(what: str, line: IdMap) -> str:
    return f"{what} {powers.words(((line.outside, line.count),))}"


def unmapped(soma: Soma, who: identity.Identity | None, lines: Maps) -> Nonsense | None:
    """Return what of an identity inside a user namespace its own maps have no place for, None when all have one."""
    if who is None or not soma.uid_map:
        return None
    uids, gids = (tuple((line.inside, line.count) for line in side) for side in lines)
    if not powers.holds(uids, who.uid, 1):
        return Nonsense(
            "soma.run_as.user", f"user {who.uid} is not in soma.uid_map", f"map it: {powers.words(uids)} are"
        )
    for field, gid in (("group", who.gid), *(("groups", group) for group in who.groups)):
        if not powers.holds(gids, gid, 1):
            hint = f"map it: {powers.words(gids)} are" + ("; or name groups" if field == "groups" else "")
            return Nonsense(f"soma.run_as.{field}", f"group {gid} is not in soma.gid_map", hint)
    return None


# -- reading back ------------------------------------------------------------------------------------------------------


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


def _groups(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.status["Groups"]
    wanted = (plan.credentials.groups if plan.credentials else None) or ()
    return Answer(granted or "none", set(map(int, granted.split())) == set(wanted))


READ: Final[dict[str, Reader]] = {"id-map": _id_map, "run_as": _run_as, "groups": _groups}
