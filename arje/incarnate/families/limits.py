"""Resource limits (setrlimit(2)) and CPUs: what each process may use, apart from its cgroup."""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Iterator
from typing import Final

from arje.card.soma import INFINITY, RLIMITS, Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.families.cgroups import numbers_of
from arje.incarnate.family import Answer, Applier, Finisher, Narrowed, Nonsense, Reader, Scene, lose
from arje.incarnate.setup import ChildSetup
from arje.incarnation import Cause, Degradation
from arje.kernel.facts import Facts
from arje.native import Op

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final[frozenset[str]] = frozenset()
SHOWN_BY: Final = {"rlimit": "limits", "dumpable": "limits"}
AFTER: Final[dict[str, Finisher]] = {}
_LATE: Final = frozenset({"fsize", "nofile"})
_CPU_SETSIZE: Final = 1024  # sched_setaffinity(2): glibc's cpu_set_t


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the limits of each process, and where it may run."""
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


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the limits that the child's own set-up would run into: files that it writes, descriptors that it opens."""
    for name, soft, hard in scene.soma.rlimits:
        if name in _LATE and f"rlimit.{name}" in scene.have:
            op = Op("rlimit", a=RLIMITS[name], p=struct.pack("=QQ", soft, hard))
            setup.add(op, f"rlimit.{name}", f"soma.rlimits.{name}", f"{name} {soft} {hard}")


# -- from outside ------------------------------------------------------------------------------------------------------


def set_rlimit(soma: Soma, feature: str, pid: int) -> None:
    """Set one limit of a process. Raises OSError (prlimit(2))."""
    name = feature.removeprefix("rlimit.")
    soft, hard = next((soft, hard) for found, soft, hard in soma.rlimits if found == name)
    resource.prlimit(pid, RLIMITS[name], (_limit(soft), _limit(hard)))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value == INFINITY else value


def set_affinity(soma: Soma, feature: str, tid: int) -> None:
    """Say where a thread may run. A cpuset may narrow it silently (sched_setaffinity(2)). Raises OSError."""
    os.sched_setaffinity(tid, soma.cpu_affinity)


def narrowed(wish: Wish, granted: frozenset[int]) -> Degradation:
    """Return the loss of CPUs that are not there, or not for us."""
    detail, remedy = "the machine or an outer cpuset has no more of these CPUs", "ask for CPUs that are there"
    return lose(wish, Cause.LIMIT, detail, remedy, obtained=",".join(map(str, sorted(granted))))


def _rlimit_of_child(plan: Blueprint, wish: Wish, pid: int) -> None:
    """One that the child sets itself (:func:`place`) is only raised here, where that may be done."""
    name = wish.feature.removeprefix("rlimit.")
    if name not in _LATE:
        return set_rlimit(plan.soma, wish.feature, pid)
    hard = _limit(next(hard for found, _, hard in plan.soma.rlimits if found == name))
    own = resource.prlimit(pid, RLIMITS[name])[1]
    if own != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > own):
        resource.prlimit(pid, RLIMITS[name], (hard, hard))
    return None


def _no_core(plan: Blueprint, wish: Wish, pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _affinity_of_child(plan: Blueprint, wish: Wish, pid: int) -> None:
    set_affinity(plan.soma, wish.feature, pid)
    granted = frozenset(os.sched_getaffinity(pid))
    if granted != set(plan.soma.cpu_affinity):
        raise Narrowed(narrowed(wish, granted))


APPLY: Final[dict[str, Applier]] = {
    "rlimit": _rlimit_of_child,
    "dumpable": _no_core,
    "cpu_affinity": _affinity_of_child,
}


# -- reading back ------------------------------------------------------------------------------------------------------


def _rlimit(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS[wish.feature.removeprefix("rlimit.")]]
    return Answer(f"{soft} {hard}", f"{soft} {hard}" == wish.requested)


def _affinity(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.status["Cpus_allowed_list"]
    return Answer(granted, numbers_of(granted) == frozenset(plan.soma.cpu_affinity))


def _dumpable(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    soft, hard = facts.limits[RLIMITS["core"]]
    return Answer(f"core limit {soft} {hard}", (soft, hard) == (0, 0))


READ: Final[dict[str, Reader]] = {"rlimit": _rlimit, "cpu_affinity": _affinity, "dumpable": _dumpable}
