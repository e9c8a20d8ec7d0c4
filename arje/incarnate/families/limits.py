"""How much of the machine the payload may use: resource limits, CPUs, and the limits of its cgroup."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from typing import Final

from arje.card.soma import INFINITY, RLIMITS, Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Narrowed, Nonsense, Reader
from arje.incarnation import Cause, Degradation
from arje.kernel.capabilities import CGROUP_FILES
from arje.kernel.cgroup import Cgroup
from arje.kernel.facts import Facts

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final[frozenset[str]] = frozenset()
SHOWN_BY: Final = {"rlimit": "limits", "dumpable": "limits"}
_CPU_SETSIZE: Final = 1024  # sched_setaffinity(2): glibc's cpu_set_t
_PAGE: Final = 4096  # bytes; memory.max and its kind are rounded down to pages


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the cgroup and its limits, then those of each process."""
    if soma.cgroup:
        yield Wish("cgroup", "own cgroup", "soma.cgroup")
        for name in soma.cgroup.__slots__:
            value = getattr(soma.cgroup, name)
            if name != "path" and value is not None:
                yield Wish(f"cgroup.{name}", str(value), f"soma.cgroup.{name}")
    for name, soft, hard in soma.rlimits:
        yield Wish(f"rlimit.{name}", f"{soft} {hard}", f"soma.rlimits.{name}")
    if soma.cpu_affinity:
        yield Wish("cpu_affinity", ",".join(map(str, soma.cpu_affinity)), "soma.cpu_affinity")
    if soma.dumpable is False:
        yield Wish("dumpable", "no core dumps", "soma.dumpable")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield CPUs that no kernel has."""
    if any(not 0 <= cpu < _CPU_SETSIZE for cpu in soma.cpu_affinity):
        hint = f"CPUs are numbered 0 to {_CPU_SETSIZE - 1}"
        yield Nonsense("soma.cpu_affinity", f"{list(soma.cpu_affinity)}", hint)


# -- from outside, while the child waits -------------------------------------------------------------------------------


def _set_rlimit(plan: Blueprint, wish: Wish, pid: int) -> None:
    name = wish.feature.removeprefix("rlimit.")
    soft, hard = next((soft, hard) for found, soft, hard in plan.soma.rlimits if found == name)
    resource.prlimit(pid, RLIMITS[name], (_limit(soft), _limit(hard)))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value == INFINITY else value


def _no_core(plan: Blueprint, wish: Wish, pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _set_affinity(plan: Blueprint, wish: Wish, pid: int) -> None:
    """A cpuset may narrow the mask silently (sched_setaffinity(2)), so it is read back."""
    os.sched_setaffinity(pid, plan.soma.cpu_affinity)
    granted = os.sched_getaffinity(pid)
    if granted != set(plan.soma.cpu_affinity):
        raise Narrowed(
            Degradation(
                feature=wish.feature,
                requested=wish.requested,
                obtained=",".join(map(str, sorted(granted))),
                cause=Cause.LIMIT,
                detail="the machine or an outer cpuset has no more of these CPUs",
                since=time.time(),
                remedy="ask for CPUs that are there",
            )
        )


APPLY: Final[dict[str, Applier]] = {"rlimit": _set_rlimit, "dumpable": _no_core, "cpu_affinity": _set_affinity}


# -- the cgroup --------------------------------------------------------------------------------------------------------


def cgroup_text(name: str, value: object) -> str:
    """Return a limit as the cgroup file has it (cpu.max in percent becomes quota and period in microseconds)."""
    text = str(value)
    if name == "cpu_max" and text.endswith("%"):
        return f"{round(float(text[:-1]) * 1000)} 100000"
    return text


def read_cgroup(group: Cgroup | None, plan: Blueprint, wish: Wish) -> Answer:
    """Return what the cgroup's files say about one wish."""
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
    paged = name.startswith("memory") and isinstance(value, int)
    wanted = str(value // _PAGE * _PAGE) if paged else cgroup_text(name, value)
    return Answer(granted, granted == wanted)


# -- reading back ------------------------------------------------------------------------------------------------------


def cpus_of(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-3,5`` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _rlimit(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS[wish.feature.removeprefix("rlimit.")]]
    return Answer(f"{soft} {hard}", f"{soft} {hard}" == wish.requested)


def _affinity(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.status["Cpus_allowed_list"]
    return Answer(granted, cpus_of(granted) == frozenset(plan.soma.cpu_affinity))


def _dumpable(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS["core"]]
    return Answer(f"core limit {soft} {hard}", (soft, hard) == (0, 0))


READ: Final[dict[str, Reader]] = {"rlimit": _rlimit, "cpu_affinity": _affinity, "dumpable": _dumpable}
