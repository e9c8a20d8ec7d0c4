"""How urgent the payload is: nice, io priority, scheduling policy, and what the OOM killer thinks of it.

Nice and io priority are the parent's to set: in a user namespace a raise would be EPERM. The policy is set by the payload's
own process, because with reset-on-fork it would not survive the reaper that is forked before. The OOM score comes after
exec: written to a child that shares our memory it would be ours as well.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final

from arje import native
from arje.card.priority import contradiction, nanoseconds
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup
from arje.kernel.facts import Facts
from arje.kernel.priority import (
    IO_CLASSES,
    POLICIES,
    RESET_ON_FORK,
    io_text,
    io_value,
    parse_stat,
    policy_text,
)

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final[frozenset[str]] = frozenset()
SHOWN_BY: Final = {"nice": "priority", "ioprio": "priority", "scheduler": "priority"}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")  # struct sched_attr of sched_setattr(2), as of Linux 3.14
_RESET_FLAG: Final = 1  # SCHED_FLAG_RESET_ON_FORK


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield what the card says of urgency."""
    for name in ("nice", "ioprio", "scheduler", "oom_score_adj"):
        if (value := getattr(soma, name)) is not None:
            yield Wish(name, str(value), f"soma.{name}")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield values that no kernel takes."""
    if soma.nice is not None and not -20 <= soma.nice <= 19:
        yield Nonsense("soma.nice", f"{soma.nice} is out of range", "-20 to 19")
    if soma.oom_score_adj is not None and not -1000 <= soma.oom_score_adj <= 1000:
        yield Nonsense("soma.oom_score_adj", f"{soma.oom_score_adj} is out of range", "-1000 to 1000")
    if (io := soma.ioprio) and (io.kind not in IO_CLASSES or not 0 <= io.level <= 7):
        yield Nonsense("soma.ioprio", f"no io priority {io}", "realtime:0-7, best-effort:0-7 or idle")
    if soma.scheduler and (wrong := contradiction(soma.scheduler)):
        yield Nonsense("soma.scheduler", *wrong)
    if soma.scheduler and soma.scheduler.policy == "deadline" and soma.cpu_affinity:
        yield Nonsense("soma.scheduler", "a deadline needs every CPU (sched(7))", "remove cpu_affinity")


# -- doing it ----------------------------------------------------------------------------------------------------------


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the policy while the child still has the manager's rights."""
    asked = scene.soma.scheduler
    if asked is None or "scheduler" not in scene.have:
        return
    flags = RESET_ON_FORK if asked.reset_on_fork else 0
    if asked.policy == "deadline":
        flags = _RESET_FLAG if asked.reset_on_fork else 0
        how = _ATTRIBUTES.pack(_ATTRIBUTES.size, POLICIES["deadline"], flags, 0, 0, *nanoseconds(asked))
        setup.with_scheduler(POLICIES["deadline"], how, str(asked))
    else:
        setup.with_scheduler(POLICIES[asked.policy] | flags, struct.pack("=i", asked.priority), str(asked))


def set_nice(soma: Soma, feature: str, tid: int) -> None:
    """Set a thread's nice level. Raises OSError (setpriority(2))."""
    assert soma.nice is not None
    os.setpriority(os.PRIO_PROCESS, tid, soma.nice)


def set_ioprio(soma: Soma, feature: str, tid: int) -> None:
    """Set a thread's io priority. Raises OSError (ioprio_set(2))."""
    assert soma.ioprio is not None
    native.ioprio_set(tid, io_value(soma.ioprio.kind, 0 if soma.ioprio.kind == "idle" else soma.ioprio.level))


def set_scheduler(soma: Soma, feature: str, tid: int) -> None:
    """Set a thread's policy, which is none with a deadline. Raises OSError (sched_setscheduler(2))."""
    assert soma.scheduler is not None
    flags = RESET_ON_FORK if soma.scheduler.reset_on_fork else 0
    os.sched_setscheduler(tid, POLICIES[soma.scheduler.policy] | flags, os.sched_param(soma.scheduler.priority))


def _nice_of_child(plan: Blueprint, wish: Wish, pid: int) -> None:
    set_nice(plan.soma, wish.feature, pid)


def _ioprio_of_child(plan: Blueprint, wish: Wish, pid: int) -> None:
    set_ioprio(plan.soma, wish.feature, pid)


APPLY: Final[dict[str, Applier]] = {"nice": _nice_of_child, "ioprio": _ioprio_of_child}


def write_oom_score_adj(value: int, directory: int) -> str:
    """Write it by a descriptor of /proc/PID, and return what the kernel says then. Raises OSError."""
    fd = os.open("oom_score_adj", os.O_RDWR | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, str(value).encode())
        return os.pread(fd, 16, 0).decode().strip()
    finally:
        os.close(fd)


def _oom_score_adj(plan: Blueprint, wish: Wish, directory: int) -> Answer:
    assert plan.soma.oom_score_adj is not None
    granted = write_oom_score_adj(plan.soma.oom_score_adj, directory)
    return Answer(granted, granted == str(plan.soma.oom_score_adj))


AFTER: Final[dict[str, Finisher]] = {"oom_score_adj": _oom_score_adj}


# -- reading back ------------------------------------------------------------------------------------------------------


def _nice(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = parse_stat(facts.texts["stat"]).nice
    return Answer(str(granted), granted == plan.soma.nice)


def _ioprio(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = io_text(int(facts.texts["ioprio"]))
    return Answer(granted, granted == str(plan.soma.ioprio))


def _scheduler(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = policy_text(int(facts.texts["scheduler"]), parse_stat(facts.texts["stat"]).priority)
    return Answer(granted, granted == str(plan.soma.scheduler))


READ: Final[dict[str, Reader]] = {"nice": _nice, "ioprio": _ioprio, "scheduler": _scheduler}
