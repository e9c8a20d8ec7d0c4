"""Drift: a running service read from outside once more, against what it was granted when it started.

Only that counts which a payload cannot change by itself, or of which it has more than it was granted. That a service
lowers its own limits, or goes on into namespaces of its own, is its own affair.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from arje import native
from arje.card.namespaces import Namespaces
from arje.card.soma import RLIMITS, Soma
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.families import cgroups
from arje.incarnate.families.namespaces import feature_of, kind_of
from arje.incarnate.families.privileges import mask, names
from arje.incarnate.family import Answer, drifted
from arje.incarnate.outcome import Outcome
from arje.incarnation import Degradation, Grant
from arje.kernel import cgroup, process
from arje.kernel.capabilities import CGROUP_FILES
from arje.kernel.priority import (
    IO_CLASSES,
    POLICIES,
    REAL_TIME,
    RESET_ON_FORK,
    io_text,
    parse_stat,
    policy_text,
    threads,
)


@dataclass(frozen=True)
class Sight:
    """One running service, looked at. ``soma`` is what is in force: the card's, and what was changed since."""

    outcome: Outcome
    plan: Blueprint
    soma: Soma
    status: dict[str, str]

    @property
    def pid(self) -> int:
        """The payload's."""
        return self.outcome.incarnation.pid

    @cached_property
    def spaces(self) -> dict[str, str]:
        """The namespaces of the payload by kind."""
        return process.namespaces(self.pid)

    @cached_property
    def ours(self) -> dict[str, str]:
        """The manager's own."""
        return process.namespaces("self")

    @cached_property
    def limits(self) -> tuple[tuple[int, int], ...]:
        """The limits of the payload."""
        return process.limits(self.pid)


#: Looks at one feature. Raises KeyError and PermissionError: it cannot be seen; ProcessLookupError: it has ended.
Looker = Callable[[Sight, str], Answer]


def look(outcome: Outcome, features: Iterable[str]) -> dict[str, Answer]:
    """Return what is seen of those of the features that can be seen; nothing of a service that has ended meanwhile."""
    pid, leader, plan = outcome.incarnation.pid, outcome.incarnation.leader_pid, outcome.plan
    found: dict[str, Answer] = {}
    if plan is None:
        return found
    try:
        status = process.status(pid)
        if status["State"][0] in "ZX" or int(status["PPid"]) not in (leader, os.getpid()):
            return {}
        sight = Sight(outcome, plan, outcome.soma, status)
        for feature in features:
            looker = LOOK.get(feature) or LOOK.get(feature.partition(".")[0])
            if looker is not None:
                with contextlib.suppress(KeyError, PermissionError):
                    found[feature] = looker(sight, feature)
    except (ProcessLookupError, FileNotFoundError):
        return {}
    return found


def degradation(grant: Grant, answer: Answer, remedy: str) -> Degradation:
    """Return the loss of what was granted and is so no more."""
    family = grant.feature.partition(".")[0]
    own = "it runs in the manager's own namespace now" if grant.feature in _SPACES else ""
    whole = _WORDS.get(grant.feature) or (_WORDS.get(family) if family != "cgroup" else "")
    why = own or whole or "it was granted, and has been changed from outside"
    return drifted(grant, answer.granted, why, remedy)


_MORE: Final = "it was granted, and has more than that now"
_WORDS: Final = {
    "cgroup": "a process of it was moved out of its cgroup",
    "network": "the helper that was its network has ended",
    "capabilities": _MORE,
    "run_as": _MORE,
}


# -- its cgroup --------------------------------------------------------------------------------------------------------


def strays(outcome: Outcome) -> Iterator[tuple[int, str]]:
    """Yield the processes of a service that live outside of its cgroup, and in which cgroup they do."""
    if (group := outcome.cgroup) is None:
        return
    inside, leader = cgroup.place_of(group.path), outcome.incarnation.leader_pid
    for pid in (leader, *process.descendants(leader)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            place = process.cgroup(pid)
            if f"{place}/".startswith(f"{inside.rstrip('/')}/") or process.status(pid)["State"][0] in "ZX":
                continue
            yield pid, place


def bring_back(outcome: Outcome) -> None:
    """Move what lives outside of a service's cgroup back into it. Raises OSError."""
    group = outcome.cgroup
    for pid, _ in strays(outcome) if group else ():
        assert group is not None
        with contextlib.suppress(ProcessLookupError):
            holder = os.pidfd_open(pid)
            try:
                alive = select.poll()
                alive.register(holder, select.POLLIN)
                own = pid == outcome.incarnation.leader_pid or pid in process.descendants(
                    outcome.incarnation.leader_pid
                )
                if own and not alive.poll(0):
                    group.write("cgroup.procs", str(pid))
            finally:
                os.close(holder)


def _cgroup(sight: Sight, feature: str) -> Answer:
    group = sight.outcome.cgroup
    if group is None:
        raise KeyError(feature)
    name = feature.removeprefix("cgroup.")
    if name == "cgroup":
        outside = [f"process {pid} is in {place}" for pid, place in strays(sight.outcome)]
        return Answer("; ".join(outside) or str(group.path), not outside)
    if sight.soma.cgroup is None or name not in CGROUP_FILES or getattr(sight.soma.cgroup, name) in (None, ()):
        raise KeyError(feature)
    return cgroups.read_limit(group, sight.soma.cgroup, name)


# -- what belongs to the process ---------------------------------------------------------------------------------------


def _namespace(sight: Sight, feature: str) -> Answer:
    granted = sight.spaces[kind_of(feature)]
    return Answer(granted, granted != sight.ours[kind_of(feature)])


def _rlimit(sight: Sight, feature: str) -> Answer:
    name = feature.removeprefix("rlimit.")
    asked = next((hard for found, _, hard in sight.soma.rlimits if found == name), None)
    if asked is None:
        raise KeyError(feature)
    soft, hard = sight.limits[RLIMITS[name]]
    return Answer(f"{soft} {hard}", hard <= asked)


def _dumpable(sight: Sight, feature: str) -> Answer:
    soft, hard = sight.limits[RLIMITS["core"]]
    return Answer(f"core limit {soft} {hard}", hard == 0)


def _affinity(sight: Sight, feature: str) -> Answer:
    found: set[int] = set()
    for tid in threads(sight.pid):
        with contextlib.suppress(ProcessLookupError):
            found |= os.sched_getaffinity(tid)
    return Answer(",".join(map(str, sorted(found))), found <= set(sight.soma.cpu_affinity))


def _nice(sight: Sight, feature: str) -> Answer:
    found = parse_stat(Path(f"/proc/{sight.pid}/stat").read_text(errors="replace")).nice
    return Answer(str(found), sight.soma.nice is None or found >= sight.soma.nice)


def _ioprio(sight: Sight, feature: str) -> Answer:
    value, asked = native.ioprio_get(sight.pid), sight.soma.ioprio
    if asked is None:
        raise KeyError(feature)
    level = 0 if asked.kind == "idle" else asked.level
    return Answer(io_text(value), value == 0 or value >= IO_CLASSES[asked.kind] << 13 | level)


def _scheduler(sight: Sight, feature: str) -> Answer:
    number, priority = os.sched_getscheduler(sight.pid), os.sched_getparam(sight.pid).sched_priority
    asked = sight.soma.scheduler
    if asked is None or asked.policy == "deadline":
        raise KeyError(feature)
    urgent = number & ~RESET_ON_FORK in {POLICIES[name] for name in (*REAL_TIME, "deadline")}
    allowed = asked.policy in REAL_TIME and priority <= asked.priority
    return Answer(policy_text(number, priority), not urgent or allowed)


def _oom_score_adj(sight: Sight, feature: str) -> Answer:
    found = int(Path(f"/proc/{sight.pid}/oom_score_adj").read_text())
    return Answer(str(found), sight.soma.oom_score_adj is None or found >= sight.soma.oom_score_adj)


def _no_new_privs(sight: Sight, feature: str) -> Answer:
    return Answer(sight.status["NoNewPrivs"], sight.status["NoNewPrivs"] == "1")


def _seccomp(sight: Sight, feature: str) -> Answer:
    return Answer(f"mode {sight.status['Seccomp']}", sight.status["Seccomp"] == "2")


def _run_as(sight: Sight, feature: str) -> Answer:
    """Who was not the host's root has not become it: whoever may change its ids may do so, but not that far."""
    uids, expected = set(sight.status["Uid"].split()), cgroups.outside(sight.plan)[0]
    return Answer(f"uid {'/'.join(sorted(uids))}", expected == 0 or "0" not in uids)


def _id_map(sight: Sight, feature: str) -> Answer:
    """A map is written once; in a user namespace of its own the service has maps of its own."""
    if sight.spaces["user"] != sight.outcome.incarnation.namespaces.get("user"):
        raise KeyError(feature)
    found = process.id_map(sight.pid, "uid_map")
    wanted = tuple((line.inside, line.outside, line.count) for line in sight.plan.uid_map)
    return Answer(", ".join(f"{inside}→{outside}+{count}" for inside, outside, count in found), found == wanted)


def _capabilities(sight: Sight, feature: str) -> Answer:
    """Capabilities count where they were granted: in a user namespace of its own the service has all of them."""
    asked, name = sight.soma.capabilities, feature.removeprefix("capabilities.")
    kept = getattr(asked, name, None)
    if not isinstance(kept, tuple) or sight.spaces["user"] != sight.outcome.incarnation.namespaces.get("user"):
        raise KeyError(feature)
    held = int(sight.status[{"keep": "CapPrm", "bounding": "CapBnd", "ambient": "CapAmb"}[name]], 16)
    return Answer(names(held), not held & ~mask(kept))


_SPACES: Final = tuple(feature_of(kind) for kind in Namespaces.__slots__)
LOOK: Final[dict[str, Looker]] = {
    **dict.fromkeys(_SPACES, _namespace),
    "cgroup": _cgroup,
    "rlimit": _rlimit,
    "dumpable": _dumpable,
    "cpu_affinity": _affinity,
    "nice": _nice,
    "ioprio": _ioprio,
    "scheduler": _scheduler,
    "oom_score_adj": _oom_score_adj,
    "no_new_privs": _no_new_privs,
    "seccomp": _seccomp,
    "run_as": _run_as,
    "id-map": _id_map,
    "capabilities": _capabilities,
}
