"""A start that its owner gives up: at any moment, more than once, and with nothing lost but the start."""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje import native
from arje.incarnate.spawn import Incarnator, Pending, StdioFds
from tests.incarnate.conftest import card_of


@pytest.fixture
def null() -> Iterator[int]:
    with open("/dev/null", "r+") as file:
        yield file.fileno()


@pytest.fixture
def pending(incarnator: Incarnator, null: int) -> Pending:
    return incarnator.begin(card_of("/bin/true"), StdioFds(null, null, null))


def wait_for_eof(pending: Pending) -> None:
    poll = select.poll()
    poll.register(pending.status_fd, select.POLLIN)
    while not pending.advance():
        poll.poll()


def test_giving_up_twice_closes_nobody_elses_descriptors(pending: Pending, null: int) -> None:
    """The numbers that the first time has freed belong to somebody else by the second."""
    pending.abort()
    others = [os.dup(null) for _ in range(4)]
    pending.abort()
    for fd in others:
        os.close(fd)  # raises when it was closed for us


def test_giving_up_after_the_end_of_a_start_that_failed_is_allowed(incarnator: Incarnator, null: int) -> None:
    pending = incarnator.begin(card_of("/no/such/program"), StdioFds(null, null, null))
    wait_for_eof(pending)
    with pytest.raises(Exception, match="step exec failed"):
        pending.finish()
    others = [os.dup(null) for _ in range(4)]
    pending.abort()
    for fd in others:
        os.close(fd)


@pytest.mark.parametrize("confirmed", [False, True], ids=["at once", "after exec"])
def test_giving_up_leaves_no_child_no_descriptor_and_no_cgroup(
    incarnator: Incarnator, base: Path | None, null: int, confirmed: bool
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are wanted
    pending = incarnator.begin(card_of("/bin/sleep", "1000"), StdioFds(null, null, null))
    if confirmed:
        wait_for_eof(pending)
    pending.abort()
    assert not Path(f"/proc/{pending.leader_pid}").exists()
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert base is None or not [path for path in base.iterdir() if path.is_dir()]


def test_a_plan_that_nobody_holds_any_more_lives_as_long_as_its_child_reads_it(null: int) -> None:
    """The child waits at its gate with pointers into the plan's memory, which its manager then uses for other things."""
    spawner = native.Spawner()
    ops = [native.Op("chdir", p=b"/usr/share"), native.Op("chdir", p=b"/usr")]
    read, write = os.pipe2(os.O_CLOEXEC)
    child = spawner.spawn(
        native.Plan(ops, [b"/bin/pwd"], [b"/bin/pwd", b"-P"], [b"A=" + b"a" * 50], reaper=False),
        (null, write, write),
        clone_flags=0,
    )
    gc.collect()
    clutter = [native.Plan(ops[:1] * 2, [b"/bin/false"], [b"/bin/false"], [], reaper=False) for _ in range(50)]
    native.release(child.status_fd)
    while native.receive(child.status_fd, block=True):
        pass
    os.close(write)
    with os.fdopen(read) as stream:
        said = stream.read()
    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    os.close(child.pidfd)
    os.close(child.status_fd)
    spawner.give_back(child)
    assert (said, len(clutter)) == ("/usr\n", 50)
