"""Changing the limits of a running service: written, read back, told as grants and degradations like those of a start.

What belongs to processes or threads is given to every one of the service, the reaper included: they had inherited the old.
What is started meanwhile inherits the new, or is found by another look. The change is the incarnation's: the next one
begins with its card again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from arje import native
from arje.card.soma import RLIMITS, CgroupLimits, Soma
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import cgroups, limits, priority
from arje.incarnate.family import Answer, drifted, loss_by, loss_of
from arje.incarnate.outcome import Outcome
from arje.incarnation import Degradation, Grant
from arje.kernel import process
from arje.kernel.capabilities import CGROUP_FILES, CapabilitySet
from arje.kernel.priority import io_text, parse_stat, policy_text, threads


class Changed(NamedTuple):
    """What became of every change: a grant each, and a degradation for each that is not ok."""

    grants: tuple[Grant, ...]
    degradations: tuple[Degradation, ...]


class Live(NamedTuple):
    """How one feature is changed on one process or, with ``per_thread``, on one thread; and read. Both raise OSError."""

    per_thread: bool
    write: Callable[[Outcome, Soma, str, int], None]
    read: Callable[[str, int], str]
    call: str


def change(outcome: Outcome, asked: Soma, capabilities: CapabilitySet) -> Changed:
    """Change what ``asked`` says of limits (card/live.py) and read it back. What the kernel refuses stays as it was."""
    grants, losses = [], []
    for wish in _wishes(asked):
        answer, loss = _one(outcome, asked, wish, capabilities)
        grants.append(Grant(wish.feature, wish.requested, *answer))
        if loss is not None:
            losses.append(loss)
    return Changed(tuple(grants), tuple(losses))


def merged(soma: Soma, asked: Soma, features: Iterable[str]) -> Soma:
    """Return a soma with what another one says of these limits (names of features)."""
    for feature in features:
        family, _, name = feature.partition(".")
        if family == "rlimit":
            kept = tuple(line for line in soma.rlimits if line[0] != name)
            soma = replace(soma, rlimits=kept + tuple(line for line in asked.rlimits if line[0] == name))
        elif family == "cgroup" and asked.cgroup is not None:
            of_cgroup = replace(soma.cgroup or CgroupLimits(), **{name: getattr(asked.cgroup, name)})
            soma = replace(soma, cgroup=of_cgroup)
        elif family != "cgroup":
            soma = replace(soma, **{feature: getattr(asked, feature)})
    return soma


def is_live(soma: Soma, feature: str) -> bool:
    """Whether a feature that a soma asks for can be changed while its service runs."""
    if feature == "scheduler":
        return soma.scheduler is not None and soma.scheduler.policy != "deadline"
    return feature.partition(".")[0] in LIVE or feature.removeprefix("cgroup.") in CGROUP_FILES


def _wishes(asked: Soma) -> Iterator[Wish]:
    if asked.cgroup is not None:
        yield from cgroups.limits(asked.cgroup)
    yield from limits.wishes(asked)
    yield from priority.wishes(asked)


def _one(outcome: Outcome, asked: Soma, wish: Wish, capabilities: CapabilitySet) -> tuple[Answer, Degradation | None]:
    if not (found := capabilities[wish.feature]).available:
        return Answer("", False), loss_of(wish, found)
    live = LIVE.get(wish.feature.partition(".")[0])
    try:
        answer = _everywhere(outcome, asked, wish, live) if live else _in_cgroup(outcome, asked, wish)
    except (OSError, ValueError) as error:
        refused = error if isinstance(error, OSError) else OSError(22, str(error))
        call = live.call if live else f"write {CGROUP_FILES[wish.feature.removeprefix('cgroup.')][1]}"
        return Answer("", False), loss_by(wish, refused, call)
    if answer.ok:
        return answer, None
    if wish.feature == "cpu_affinity":
        return answer, limits.narrowed(wish, cgroups.numbers_of(answer.granted))
    return answer, drifted(wish, answer.granted)


def _in_cgroup(outcome: Outcome, asked: Soma, wish: Wish) -> Answer:
    name, group = wish.feature.removeprefix("cgroup."), outcome.cgroup
    assert asked.cgroup is not None
    if group is None:
        raise FileNotFoundError(2, "it has no cgroup")
    cgroups.write(group, asked.cgroup, name)
    return cgroups.read_limit(group, asked.cgroup, name)


def _everywhere(outcome: Outcome, asked: Soma, wish: Wish, live: Live) -> Answer:
    """Change all that is there, look again for what was started meanwhile, then ask every one."""
    done: set[int] = set()
    while new := [each for each in _all(outcome, per_thread=live.per_thread) if each not in done]:
        for each in new:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                live.write(outcome, asked, wish.feature, each)
        done.update(new)
    found = []
    for each in (outcome.incarnation.pid, *sorted(done)):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            found.append(live.read(wish.feature, each))
    different = [text for text in found if text != wish.requested]
    return Answer(different[0] if different else wish.requested, bool(found) and not different)


def _all(outcome: Outcome, *, per_thread: bool) -> Iterator[int]:
    for entry in outcome.processes():
        yield from threads(entry.pid) if per_thread else (entry.pid,)


# -- the features ------------------------------------------------------------------------------------------------------


def _read_rlimit(feature: str, pid: int) -> str:
    soft, hard = process.limits(pid)[RLIMITS[feature.removeprefix("rlimit.")]]
    return f"{soft} {hard}"


def _read_affinity(feature: str, tid: int) -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(tid))))


def _read_nice(feature: str, tid: int) -> str:
    return str(parse_stat(Path(f"/proc/{tid}/stat").read_text(errors="replace")).nice)


def _read_ioprio(feature: str, tid: int) -> str:
    return io_text(native.ioprio_get(tid))


def _read_scheduler(feature: str, tid: int) -> str:
    return policy_text(os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority)


def _write_oom(outcome: Outcome, soma: Soma, feature: str, pid: int) -> None:
    """A number may have been recycled: the directory is held first, and the process it is of is looked for again."""
    assert soma.oom_score_adj is not None
    directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if any(entry.pid == pid for entry in outcome.processes()):
            priority.write_oom_score_adj(soma.oom_score_adj, directory)
    finally:
        os.close(directory)


def _read_oom(feature: str, pid: int) -> str:
    return Path(f"/proc/{pid}/oom_score_adj").read_text().strip()


def _by_number(setter: Callable[[Soma, str, int], None]) -> Callable[[Outcome, Soma, str, int], None]:
    return lambda outcome, soma, feature, number: setter(soma, feature, number)


LIVE: Final = {
    "rlimit": Live(False, _by_number(limits.set_rlimit), _read_rlimit, "prlimit"),
    "cpu_affinity": Live(True, _by_number(limits.set_affinity), _read_affinity, "sched_setaffinity"),
    "nice": Live(True, _by_number(priority.set_nice), _read_nice, "setpriority"),
    "ioprio": Live(True, _by_number(priority.set_ioprio), _read_ioprio, "ioprio_set"),
    "scheduler": Live(True, _by_number(priority.set_scheduler), _read_scheduler, "sched_setscheduler"),
    "oom_score_adj": Live(False, _write_oom, _read_oom, "write oom_score_adj"),
}
