"""Reading back: what a process really has, against what its card asked for.

The witness is the child itself: right before execve it sends the kernel's texts about itself (native/facts.c), so that a
payload can neither change them first nor be gone too early. Cgroup files are read from outside. What no text shows is
asked of the kernel again by the step that did it (``getsid``, ``PR_GET_PDEATHSIG``), which fails when the answer differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from arje.card.soma import RLIMITS
from arje.incarnate.plan import Blueprint
from arje.incarnate.wishes import Wish, kind_of
from arje.incarnation import Cause, Degradation, Grant
from arje.kernel.capabilities import CGROUP_FILES, KINDS
from arje.kernel.cgroup import Cgroup
from arje.kernel.facts import Facts

UNREAD: Final = "granted; there is no /proc to read it back from"
ASKED_AGAIN: Final = "asked again: yes"
_PAGE: Final = 4096  # bytes; memory.max and its kind are rounded down to pages


class Answer(NamedTuple):
    """What the kernel says about one wish, and whether that is what was meant."""

    granted: str
    ok: bool


Reader = Callable[[Facts, Facts, Blueprint, Wish], Answer]


def read_back(
    plan: Blueprint, facts: Facts | None, ours: Facts, group: Cgroup | None, losses: tuple[Degradation, ...]
) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
    """Return a grant for each wish and one degradation for each that is not ok. ``facts`` None: nothing could be read."""
    lost = {loss.feature: loss for loss in losses}
    grants = []
    for wish in plan.wishes:
        if wish.feature in lost:
            grants.append(Grant(wish.feature, wish.requested, "", False))
            continue
        answer = _answer(plan, facts, ours, group, wish)
        grants.append(Grant(wish.feature, wish.requested, *answer))
        if not answer.ok:
            lost[wish.feature] = _drifted(wish, answer.granted)
    return tuple(grants), tuple(lost.values())


def _answer(plan: Blueprint, facts: Facts | None, ours: Facts, group: Cgroup | None, wish: Wish) -> Answer:
    family = wish.feature.partition(".")[0]
    if family == "cgroup":
        return _cgroup(group, plan, wish)
    reader = READERS.get(wish.feature) or READERS.get(family)
    if reader is None:
        return Answer(ASKED_AGAIN, True)
    if facts is None:
        return Answer(UNREAD, True)
    try:
        return reader(facts, ours, plan, wish)
    except (KeyError, OSError) as error:
        return Answer(f"not readable: {error}", False)


def _drifted(wish: Wish, granted: str) -> Degradation:
    return Degradation(
        feature=wish.feature,
        requested=wish.requested,
        obtained=granted or "none",
        cause=Cause.DRIFTED,
        detail="the kernel said yes, but reading it back says otherwise",
        since=time.time(),
        remedy="see arjectl doctor",
    )


def _cgroup(group: Cgroup | None, plan: Blueprint, wish: Wish) -> Answer:
    if group is None:
        return Answer("", False)
    if wish.feature == "cgroup":
        return Answer(str(group.path), True)
    name = wish.feature.removeprefix("cgroup.")
    value = getattr(plan.soma.cgroup, name)
    try:
        if name == "cpuset":
            granted = group.read("cpuset.cpus.effective")
            return Answer(granted, cpus_of(granted) == cpus_of(value))
        granted = group.read(CGROUP_FILES[name][1]).partition("\n")[0].removeprefix("default ")
    except OSError:
        return Answer("", False)
    wanted = str(value // _PAGE * _PAGE) if name.startswith("memory") else cgroup_text(name, value)
    return Answer(granted, granted == wanted)


def cgroup_text(name: str, value: object) -> str:
    """Return a limit as the cgroup file has it (cpu.max in percent becomes quota and period in microseconds)."""
    text = str(value)
    if name == "cpu_max" and text.endswith("%"):
        return f"{round(float(text[:-1]) * 1000)} 100000"
    return text


def cpus_of(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-3,5`` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


# -- readers -----------------------------------------------------------------------------------------------------------


def _namespace(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    kind = kind_of(wish.feature)
    granted = facts.namespaces.get(kind, "")
    return Answer(granted, bool(granted) and granted != ours.namespaces.get(kind))


def _rlimit(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS[wish.feature.removeprefix("rlimit.")]]
    return Answer(f"{soft} {hard}", f"{soft} {hard}" == wish.requested)


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


def _affinity(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.status["Cpus_allowed_list"]
    return Answer(granted, cpus_of(granted) == frozenset(plan.soma.cpu_affinity))


def _hostname(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.texts["nodename"]
    return Answer(granted, granted == plan.soma.hostname)


def _time_offsets(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    found, asked = facts.time_offsets, plan.soma.time_offsets
    granted = f"monotonic {found['monotonic']:g} boottime {found['boottime']:g}"
    wanted = {"monotonic": asked.monotonic, "boottime": asked.boottime} if asked else {}
    return Answer(granted, all(abs(found[clock] - seconds) < 1e-6 for clock, seconds in wanted.items()))


def _proc(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    mount, own = facts.mount_at("/proc"), ours.mount_at("/proc")
    if mount is None or mount.kind != "proc":
        return Answer(mount.kind if mount else "", False)
    return Answer(f"proc {mount.device}", own is None or mount.device != own.device)


def _overlay(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    assert plan.soma.overlay is not None
    pivot, merged = plan.soma.pivot_root, plan.soma.overlay.merged
    if pivot is not None and "pivot_root" in plan.has:
        merged = f"{merged.rstrip('/')}/".removeprefix(f"{pivot.new_root.rstrip('/')}/").strip("/")
        merged = f"/{merged}"
    mount = facts.mount_at(merged)
    return Answer(f"{mount.kind} on {merged}" if mount else "", mount is not None and mount.kind == "overlay")


def _pivot_root(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """The root is an overlay when the card put one there, else the very directory."""
    mount, soma = facts.mount_at("/"), plan.soma
    assert soma.pivot_root is not None
    if mount is None:
        return Answer("", False)
    granted = f"{mount.kind} {mount.root}"
    if soma.overlay is not None and soma.overlay.merged.rstrip("/") == soma.pivot_root.new_root.rstrip("/"):
        return Answer(granted, mount.kind == "overlay")
    return Answer(granted, (mount.device, mount.root) == Facts.of_process("self").place_of(soma.pivot_root.new_root))


def _umask(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.status["Umask"]
    return Answer(granted, int(granted, 8) == plan.soma.umask)


def _dumpable(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS["core"]]
    return Answer(f"core limit {soft} {hard}", (soft, hard) == (0, 0))


def _chdir(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.texts["cwd"]
    return Answer(granted, not granted.startswith("(unreachable)"))  # proc(5): it lies outside of the root


#: By feature, else by family. What is missing here is asked again by its own step (ops.c).
READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(KINDS, _namespace),
    "id-map": _id_map,
    "run_as": _run_as,
    "rlimit": _rlimit,
    "cpu_affinity": _affinity,
    "hostname": _hostname,
    "time_offsets": _time_offsets,
    "proc": _proc,
    "overlay": _overlay,
    "pivot_root": _pivot_root,
    "umask": _umask,
    "dumpable": _dumpable,
    "chdir": _chdir,
}
