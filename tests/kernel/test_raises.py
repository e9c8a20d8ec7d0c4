"""What this process may raise is tried on itself, put back, and every no has its cause."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from arje import native
from arje.card.limits import RLIMITS
from arje.incarnation import Cause
from arje.kernel import raises
from arje.kernel.capabilities import CapabilitySet, cause_of_errno
from arje.kernel.priority import io_text, io_value, parse_stat, policy_text

PROBES = (raises.RLIMIT, raises.NICE, raises.IOPRIO, raises.SCHEDULER, raises.OOM)


def _all_of_us() -> tuple[object, ...]:
    limits = [resource.getrlimit(number) for number in RLIMITS.values()]
    scheduling = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    io, oom = native.ioprio_get(0), Path("/proc/self/oom_score_adj").read_text()
    return limits, os.getpriority(os.PRIO_PROCESS, 0), scheduling, io, oom


def test_the_probes_leave_us_as_we_were() -> None:
    before = _all_of_us()
    assert [name for name, _, _ in raises.probe()] == list(PROBES)
    assert _all_of_us() == before


def test_what_was_tried_is_what_the_machine_then_does() -> None:
    found = CapabilitySet.detect(None)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        lowered = True
    except PermissionError:
        lowered = False
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
    assert found[raises.NICE].available == lowered
    for name in PROBES:
        assert found[name].available or found[name].remedy


@pytest.mark.parametrize(
    ("feature", "error", "cause"),
    [
        ("rlimit.nofile", errno.EPERM, Cause.LIMIT),
        ("nice", errno.EACCES, Cause.NO_CAPABILITY),
        ("ioprio", errno.EPERM, Cause.NO_CAPABILITY),
        ("oom_score_adj", errno.EACCES, Cause.NO_CAPABILITY),
        ("oom_score_adj", errno.ESRCH, Cause.DRIFTED),
        ("cgroup.io_max", errno.ENODEV, Cause.LIMIT),
        ("cgroup.cpu_max", errno.EINVAL, Cause.LIMIT),
        ("cgroup.memory_max", errno.ENOENT, Cause.KERNEL_TOO_OLD),
        ("cgroup.delegate", errno.EPERM, Cause.NO_CAPABILITY),
    ],
)
def test_a_no_about_limits_has_its_own_cause(feature: str, error: int, cause: Cause) -> None:
    found, detail, remedy = cause_of_errno(error, feature)
    assert (found, bool(detail), bool(remedy)) == (cause, True, True)


def test_priorities_are_told_in_a_cards_words() -> None:
    assert [io_text(io_value(*pair)) for pair in (("realtime", 0), ("best-effort", 7), ("idle", 0))] == [
        "realtime:0",
        "best-effort:7",
        "idle",
    ]
    assert io_text(0) == "none"
    assert policy_text(os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 3) == "fifo:3 reset-on-fork"
    assert policy_text(os.SCHED_BATCH, 0) == "batch"
    stat = parse_stat(Path("/proc/self/stat").read_text().replace("(", "(a) 1 (", 1))
    assert stat == (os.getpriority(os.PRIO_PROCESS, 0), 0)
