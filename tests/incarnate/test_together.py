"""Features of different families together, and what a payload may try against those who keep it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from arje.card.soma import (
    Capabilities,
    InjectedFile,
    Join,
    Namespaces,
    Network,
    RunAs,
    Seccomp,
    Tmpfs,
)
from arje.errors import SetupFailed
from arje.incarnate import plan
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Incarnation
from tests.conftest import ROOT, needs_root
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
PID = Namespaces(pid=True, mount=True)

HIDDEN = """
import ctypes
from arje import native
prctl = ctypes.CDLL(None).prctl
before = prctl(3, 0, 0, 0, 0)
native.Spawner()
print(before, prctl(3, 0, 0, 0, 0))
"""


@needs_root
def test_the_memory_that_children_share_is_hidden_from_root_without_capabilities() -> None:
    """Uid 0 has every capability over a user namespace of uid 0's, and so over a child of ours in it (ptrace(2))."""
    done = subprocess.run([sys.executable, "-c", HIDDEN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


def test_the_reaper_is_no_way_around_the_payloads_filter(run: Run) -> None:
    spaces = PID if os.geteuid() == 0 else Namespaces(pid=True, mount=True, user=True)
    ran = run(
        "grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/1/status", namespaces=spaces, seccomp=Seccomp(deny=("mkdir",))
    )
    assert ran.output.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


@needs_root
def test_pid_1_is_where_the_payload_was_taken_to(incarnator: Incarnator, run: Run) -> None:
    with open("/dev/null", "r+") as null:
        fds = StdioFds(null.fileno(), null.fileno(), null.fileno())
        other = incarnator.incarnate(card_of("/bin/sleep", "1000", namespaces=Namespaces(net=True)), fds)

    def neighbours(label: str) -> Incarnation | None:
        return other.incarnation if label == "other" else None

    before, incarnator.neighbours = incarnator.neighbours, neighbours
    try:
        look = ("sh", "-c", "readlink /proc/1/ns/net /proc/self/ns/net")
        ran = run(*look, namespaces=PID, join=Join(net="other"))
        assert set(ran.output.split()) == {other.incarnation.namespaces["net"]}
    finally:
        incarnator.neighbours = before
        other.kill_tree()
        os.waitid(os.P_PIDFD, other.pidfd, os.WEXITED)
        other.close()


@needs_root
@pytest.mark.parametrize("sets", [{"bounding": ("chown", "setuid")}, {"keep": ("chown",)}])
def test_a_filter_is_not_lost_with_the_right_to_set_it(run: Run, sets: dict[str, tuple[str, ...]]) -> None:
    ran = run(
        "sh", "-c", "mkdir /tmp/never", capabilities=Capabilities(**sets), seccomp=Seccomp(deny=("mkdir", "mkdirat"))
    )
    assert not ran.incarnation.degradations
    assert ran.exit.code == 1
    assert "not permitted" in ran.output


def test_what_would_be_another_world_is_read_back_before_anything_runs(incarnator: Incarnator) -> None:
    def judged(**soma: object) -> bool:
        return plan.make(card_of("true", **soma), incarnator.capabilities).judged

    spaces = Namespaces(mount=True, user=os.geteuid() != 0)
    assert judged(namespaces=spaces, tmpfs=(Tmpfs(target="/mnt"),))
    assert not judged(namespaces=spaces, tmpfs=(Tmpfs(target="/mnt"),), prefer=("tmpfs",))
    assert not judged(namespaces=spaces)


@needs_root
def test_limits_on_the_payload_are_none_on_its_set_up(run: Run) -> None:
    ran = run(
        "sh",
        "-c",
        "cat /note; ulimit -n; ulimit -f",
        namespaces=PID,
        tmpfs=(Tmpfs(target="/mnt"),),
        files=(InjectedFile(path="/mnt/note", content="x" * 2000),),
        dev="minimal",
        rlimits=(("fsize", 512, 512), ("nofile", 6, 6)),
    )
    assert not ran.incarnation.degradations
    assert ran.output.split()[-2:] == ["6", "1"]


@needs_root
def test_an_early_filter_that_would_stop_the_report_is_a_mistake_of_the_card(run: Run) -> None:
    with pytest.raises(SetupFailed, match="it denies socket") as caught:
        run("true", run_as=RunAs(user="nobody"), network=Network(mode="none"), seccomp=Seccomp(deny=("socket",)))
    assert caught.value.field == "soma.seccomp"


@needs_root
def test_a_mode_that_begins_with_zero_is_no_drift(run: Run) -> None:
    ran = run("true", namespaces=PID, tmpfs=(Tmpfs(target="/mnt", mode=0o070),))
    assert not ran.incarnation.degradations


@needs_root
def test_a_capability_over_a_network_that_is_the_managers_is_not_called_granted(run: Run) -> None:
    bind = "import socket; socket.socket().bind(('127.0.0.1', 81))"
    sets = Capabilities(keep=("kill", "net_bind_service"), bounding=("kill", "net_bind_service"))
    ran = run("/usr/bin/python3", "-c", bind, namespaces=Namespaces(user=True, net=True), capabilities=sets)
    (lost,) = ran.incarnation.degradations
    assert (lost.feature, lost.obtained, lost.cause) == ("capabilities.keep", "kill", Cause.NOT_DELEGATED)
    assert ran.exit.code == 1, "it has it over no network"
    own = run("/usr/bin/python3", "-c", bind, namespaces=Namespaces(net=True), capabilities=sets)
    assert (own.incarnation.degradations, own.exit.code) == ((), 0)
