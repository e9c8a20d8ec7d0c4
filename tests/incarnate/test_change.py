"""Changing the limits of a running payload: every process of it has them, as the kernel says, or it stays as it was."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje.card import live
from arje.card.soma import Namespaces
from arje.incarnate.change import Changed, change
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause
from arje.kernel import raises
from tests.incarnate.conftest import card_of

#: A process with two threads and a child.
TREE = """
import os, subprocess, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = subprocess.Popen(["sleep", "1000"])
os.write(1, b"up")
child.wait()
"""


@pytest.fixture(params=[Namespaces(), Namespaces(pid=True, mount=True)], ids=["plain", "reaper"])
def tree(incarnator: Incarnator, request: pytest.FixtureRequest) -> Iterator[Outcome]:
    read, write = os.pipe2(os.O_CLOEXEC)
    with open("/dev/null", "r+") as null:
        card = card_of("/usr/bin/python3", "-c", TREE, namespaces=request.param)
        outcome = incarnator.incarnate(card, StdioFds(null.fileno(), write, null.fileno()))
    os.close(write)
    assert os.read(read, 10) == b"up"
    yield outcome
    os.close(read)
    outcome.kill_tree()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()


def set_(incarnator: Incarnator, outcome: Outcome, **changes: str) -> Changed:
    return change(outcome, live.read(changes, "here"), incarnator.capabilities)


def pids(outcome: Outcome) -> list[int]:
    found = [entry.pid for entry in outcome.processes()]
    assert len(found) in (2, 3)
    return found


def tids(outcome: Outcome) -> list[int]:
    return [int(task.name) for pid in pids(outcome) for task in Path(f"/proc/{pid}/task").iterdir()]


def test_a_limit_is_changed_in_every_process(incarnator: Incarnator, tree: Outcome) -> None:
    found = set_(incarnator, tree, nofile="33:44", core="0")
    assert [(grant.feature, grant.granted, grant.ok) for grant in found.grants] == [
        ("rlimit.nofile", "33 44", True),
        ("rlimit.core", "0 0", True),
    ]
    assert found.degradations == ()
    for pid in pids(tree):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (33, 44)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


def test_urgency_and_cpus_are_changed_in_every_thread(incarnator: Incarnator, tree: Outcome) -> None:
    found = set_(incarnator, tree, nice="11", ioprio="idle", scheduler="batch", cpu_affinity="0", oom_score_adj="99")
    assert found.degradations == ()
    assert {grant.feature: grant.granted for grant in found.grants} == {
        "cpu_affinity": "0",
        "nice": "11",
        "ioprio": "idle",
        "scheduler": "batch",
        "oom_score_adj": "99",
    }
    everybody = tids(tree)
    assert len(everybody) > len(pids(tree))
    for tid in everybody:
        assert os.getpriority(os.PRIO_PROCESS, tid) == 11
        assert os.sched_getscheduler(tid) == os.SCHED_BATCH
        assert os.sched_getaffinity(tid) == {0}
    assert {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in pids(tree)} == {"99\n"}
    assert Path("/proc/self/oom_score_adj").read_text() != "99\n"


def test_what_the_kernel_refuses_stays_as_it_was_and_the_rest_is_changed(incarnator: Incarnator, tree: Outcome) -> None:
    if incarnator.capabilities[raises.RLIMIT].available:
        pytest.skip("this manager may raise every limit")
    before = resource.prlimit(tree.incarnation.pid, resource.RLIMIT_MSGQUEUE)
    found = set_(incarnator, tree, msgqueue=f"0:{before[1] + 1}", nice="3", memory_max="1G")
    lost = {loss.feature: loss.cause for loss in found.degradations}
    assert lost["rlimit.msgqueue"] is Cause.LIMIT
    assert resource.prlimit(tree.incarnation.pid, resource.RLIMIT_MSGQUEUE) == before
    assert {grant.feature: grant.ok for grant in found.grants}["nice"]
    if not incarnator.capabilities["cgroup.memory_max"].available:
        assert lost["cgroup.memory_max"] in (Cause.CONTROLLER_MISSING, Cause.NOT_DELEGATED)
        assert len(found.degradations) == 2


def test_cpus_that_are_not_there_are_told_with_those_that_are(incarnator: Incarnator, tree: Outcome) -> None:
    (lost,) = set_(incarnator, tree, cpu_affinity="0,1000").degradations
    assert (lost.feature, lost.obtained, lost.cause) == ("cpu_affinity", "0", Cause.LIMIT)


def test_what_is_started_while_it_is_changed_has_it_too(incarnator: Incarnator) -> None:
    """A payload that never stops starting others."""
    script = "while :; do (sleep 0.01; sleep 0.01) & wait; done"
    with open("/dev/null", "r+") as null:
        fds = StdioFds(null.fileno(), null.fileno(), null.fileno())
        outcome = incarnator.incarnate(card_of("/bin/sh", "-c", script), fds)
    try:
        for limit in range(130, 100, -1):  # downwards: raising takes a capability
            found = set_(incarnator, outcome, nofile=str(limit), nice="1")
            assert found.degradations == ()
            for entry in outcome.processes():
                try:
                    assert resource.prlimit(entry.pid, resource.RLIMIT_NOFILE) == (limit, limit)
                except ProcessLookupError:
                    continue
    finally:
        outcome.kill_tree()
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()
