"""Reading back: what a running process really has, against what its card asked for. Reads /proc and cgroupfs only.

A payload that ended before it could be read (``/bin/true``) leaves the kernel's word alone: every step of it was
answered with success, and its grants say that they were not read back.
"""

from __future__ import annotations

import os
import time

from arje.card.soma import RLIMITS
from arje.incarnate.plan import Blueprint
from arje.incarnate.wishes import Wish, kind_of
from arje.incarnation import Cause, Degradation, Grant
from arje.kernel import process
from arje.kernel.capabilities import CGROUP_FILES, KINDS
from arje.kernel.cgroup import Cgroup

UNREAD = "granted; it ended before it could be read back"


class Reader:
    """The facts of one process, each read once. ``gone`` is true when it ended before they could be read."""

    def __init__(self, pid: int, group: Cgroup | None) -> None:
        self.pid = pid
        self.group = group
        self.gone = False
        try:
            self.namespaces = process.namespaces(pid)
            self.status = process.status(pid)
            self.limits = process.limits(pid)
            self.uid_map = process.id_map(pid, "uid_map")
        except (FileNotFoundError, ProcessLookupError):
            self.gone = True
        if not self.gone and ("Umask" not in self.status or self.status["State"].startswith(("Z", "X"))):
            self.gone = True  # a process that is ending has no file system context any more

    def read(self, wish: Wish, plan: Blueprint, ours: dict[str, str]) -> Grant:
        """Return what the kernel says about one wish."""
        feature = wish.feature
        if feature == "cgroup" or feature.startswith("cgroup."):
            return self._cgroup(wish, plan)
        if self.gone:
            return Grant(feature, wish.requested, UNREAD, True)
        if feature in KINDS:
            granted = self.namespaces.get(kind_of(feature), "")
            return Grant(feature, wish.requested, granted, bool(granted) and granted != ours.get(kind_of(feature)))
        if feature.startswith("rlimit."):
            number = RLIMITS[feature.removeprefix("rlimit.")]
            soft, hard = self.limits[number]
            return Grant(feature, wish.requested, f"{soft} {hard}", f"{soft} {hard}" == wish.requested)
        return self._other(wish, plan)

    def _cgroup(self, wish: Wish, plan: Blueprint) -> Grant:
        if self.group is None:
            return Grant(wish.feature, wish.requested, "", False)
        if wish.feature == "cgroup":
            return Grant(wish.feature, wish.requested, str(self.group.path), True)
        name = wish.feature.removeprefix("cgroup.")
        try:
            granted = self.group.read(CGROUP_FILES[name][1])
        except OSError:
            return Grant(wish.feature, wish.requested, "", False)
        value = getattr(plan.soma.cgroup, name)
        ok = (
            granted.removeprefix("default ") == cgroup_text(name, value)
            or name == "cpuset"
            or name.startswith("memory")
        )
        return Grant(wish.feature, wish.requested, granted, ok)

    def _other(self, wish: Wish, plan: Blueprint) -> Grant:
        feature, status = wish.feature, self.status
        if feature == "id-map":
            granted = ", ".join(f"{a}→{b}+{c}" for a, b, c in self.uid_map)
            wanted = tuple((m.inside, m.outside, m.count) for m in plan.uid_map)
            return Grant(feature, wish.requested, granted, self.uid_map == wanted)
        if feature == "run_as":
            return Grant(
                feature, wish.requested, f"uid {status['Uid'].split()[0]} gid {status['Gid'].split()[0]}", True
            )
        if feature == "cpu_affinity":
            granted = ",".join(map(str, sorted(os.sched_getaffinity(self.pid))))
            return Grant(feature, wish.requested, granted, set(granted.split(",")) == set(wish.requested.split(",")))
        if feature == "no_new_privs":
            return Grant(feature, wish.requested, status["NoNewPrivs"], status["NoNewPrivs"] == "1")
        if feature == "umask":
            return Grant(feature, wish.requested, status["Umask"], int(status["Umask"], 8) == plan.soma.umask)
        if feature == "dumpable":
            return Grant(feature, wish.requested, f"core limit {self.limits[RLIMITS['core']][1]}", True)
        if feature == "chdir":
            return Grant(feature, wish.requested, os.readlink(f"/proc/{self.pid}/cwd"), True)
        return Grant(feature, wish.requested, "the kernel said yes; it cannot be read back", True)


def cgroup_text(name: str, value: object) -> str:
    """Return a limit as the cgroup file has it (cpu.max in percent becomes quota and period in microseconds)."""
    text = str(value)
    if name == "cpu_max" and text.endswith("%"):
        return f"{round(float(text[:-1]) * 1000)} 100000"
    return text


def read_back(
    plan: Blueprint, pid: int, group: Cgroup | None, losses: tuple[Degradation, ...], ours: dict[str, str]
) -> tuple[tuple[Grant, ...], tuple[Degradation, ...], dict[str, str]]:
    """Return a grant for each wish, one degradation for each grant that is not ok, and the namespaces."""
    reader = Reader(pid, group)
    lost = {loss.feature: loss for loss in losses}
    grants = []
    for wish in plan.wishes:
        if wish.feature in lost:
            grants.append(Grant(wish.feature, wish.requested, "", False))
            continue
        try:
            grant = reader.read(wish, plan, ours)
        except (FileNotFoundError, ProcessLookupError):
            grant = Grant(wish.feature, wish.requested, UNREAD, True)
        grants.append(grant)
        if not grant.ok:
            lost[wish.feature] = Degradation(
                feature=wish.feature,
                requested=wish.requested,
                obtained=grant.granted or "none",
                cause=Cause.DRIFTED,
                detail="the kernel said yes, but reading it back says otherwise",
                since=time.time(),
                remedy="see arjectl doctor",
            )
    return tuple(grants), tuple(lost.values()), {} if reader.gone else reader.namespaces
