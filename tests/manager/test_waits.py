"""Waiting for a state, whoever brings it about; and the states that a service has been in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import ROOT, Manager, sh

Manage = Callable[..., Manager]
SLEEP = "exec sleep infinity"


def waiting(manager: Manager, *words: str) -> subprocess.Popen[str]:
    """Start ``arjectl wait``, and return once the manager has taken the call: it has its connection then."""
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "wait", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("goal", "verb", "card"),
    [
        ("ready", "Start", sh(SLEEP, rest="enabled = false")),
        ("stopped", "Stop", sh(SLEEP)),
        ("done", "Start", sh("true", rest="enabled = false") + '[supervision]\nkind = "one-shot"\n'),
        ("failed", "Start", sh("exit 3", rest="enabled = false")),
    ],
)
def test_a_wait_ends_when_somebody_brings_it_about(manage: Manage, goal: str, verb: str, card: str) -> None:
    manager = manage({"a": card})
    manager.settle("a")
    waits = waiting(manager, "a", "--for", goal)
    manager.call(verb, labels=["a"])
    assert waits.wait(60) == 0
    assert waits.stdout is not None
    assert waits.stdout.read().startswith("a: ")


def test_a_wait_for_ready_ends_with_a_failure_as_well(manage: Manage) -> None:
    manager = manage({"a": sh("exit 3")})
    manager.settle("a")
    done = manager.ctl("wait", "a", "--for", "ready")
    assert done.returncode == 1
    assert "exited 3" in done.stdout


def test_a_wait_may_have_enough(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP)})
    manager.settle("a")
    assert manager.ctl("wait", "a", "--for", "stopped", "--timeout", "0.5").returncode == 152
    assert manager.ctl("wait", "a", "--for", "better").returncode == 2


def test_the_history_tells_every_state_and_who_brought_it(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP)})
    manager.settle("a")
    manager.ctl("restart", "a")
    lines = manager.ctl("history", "a").stdout.splitlines()
    states = ["stopped", "waiting", "starting", "running", "stopping", "stopped", "waiting", "starting", "running"]
    assert [line.split()[2] for line in lines] == states
    assert "cards.d" in lines[1]
    assert "arjectl" in lines[4] or "python" in lines[4]
    assert [moment["state"] for moment in manager.json("history", "a")["a"]] == states
