"""``arjectl set``, ``freeze`` and ``thaw`` on a real manager: until the service starts again, and said so."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Manager, needs_cgroup, sh

Manage = Callable[..., Manager]
SLEEP = sh("sleep 1000 & exec sleep infinity")


def test_a_limit_is_changed_until_the_service_starts_again(manage: Manage) -> None:
    manager = manage({"web": SLEEP})
    pid = manager.settle("web")["pid"]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    done = manager.ctl("set", "web", "nofile=64:128", "nice=5", "cpu_affinity=0")
    assert done.returncode == 0, done
    assert "web: rlimit.nofile is 64 128" in done.stdout
    assert f"until web starts again; to keep it, write it into {manager.cards}/web.toml" in done.stdout
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (64, 128)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    shown = {grant["feature"]: grant["granted"] for grant in manager.show("web")["isolation"]["grants"]}
    assert (shown["rlimit.nofile"], shown["nice"], shown["cpu_affinity"]) == ("64 128", "5", "0")
    manager.ctl("restart", "web")
    pid = manager.settle("web")["pid"]
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == before
    assert "nice" not in {grant["feature"] for grant in manager.show("web")["isolation"]["grants"]}


def test_what_was_not_changed_is_told_with_its_cause_and_the_service_is_as_before(manage: Manage) -> None:
    manager = manage({"web": SLEEP})
    before = manager.settle("web")["isolation"]
    done = manager.ctl("--json", "set", "web", "nofile=5000000000")
    assert done.returncode == 154
    (lost,) = json.loads(done.stdout)["degradations"]
    assert (lost["feature"], lost["kind"], bool(lost["remedy"])) == ("rlimit.nofile", "RlimitSkipped", True)
    assert "web: 1 of 1 not changed" in manager.ctl("set", "web", "nofile=5000000000").stdout
    assert manager.show("web")["isolation"] == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["web", "memory_maks=1"], 2, "no such limit (did you mean 'memory_max'?)"),
        (["web", "chdir=/", "nice=99"], 2, "cannot be changed while the service runs"),
        (["web"], 2, "NAME=VALUE is missing"),
        (["web", "nice"], 2, "NAME=VALUE"),
        (["web", "nice=1", "nice=2"], 2, "once"),
        (["nobody", "nice=1"], 5, "no service 'nobody'"),
        (["down", "nice=1"], 7, "down is stopped"),
        (["group", "nice=1"], 7, "it has no process"),
    ],
)
def test_what_cannot_be_set_is_refused_before_anything_is_changed(
    manage: Manage, words: list[str], code: int, said: str
) -> None:
    manager = manage({"web": SLEEP, "down": "enabled = false\n" + SLEEP, "group": 'payload = "virtual"'})
    before = manager.settle("web", "group")["isolation"]
    done = manager.ctl("set", *words)
    assert (done.returncode, said in done.stderr) == (code, True), done
    assert manager.show("web")["isolation"] == before


def test_only_the_managers_own_user_and_root_may_change_anything(manage: Manage) -> None:
    from arje.control.handlers import METHODS

    assert all(METHODS[name].changes for name in ("Set", "Freeze", "Thaw"))


@needs_cgroup
def test_a_frozen_service_is_shown_so_thawed_and_stopped(manage: Manage) -> None:
    manager = manage({"web": sh("trap 'echo heard; exit 0' TERM; echo up; while :; do sleep 0.01; done")})
    manager.settle("web")
    manager.await_line("web", "up")
    place = Path(manager.show("web")["cgroup"])
    done = manager.ctl("freeze", "web")
    assert (done.returncode, done.stdout.strip()) == (0, "web: running (frozen)")
    assert "frozen 1" in (place / "cgroup.events").read_text()
    assert "running (frozen)" in manager.ctl("status").stdout
    assert "State: running (frozen) since" in manager.ctl("status", "web").stdout
    assert manager.ctl("freeze", "web").stdout.strip() == "web: running already"
    assert manager.ctl("thaw", "web").stdout.strip() == "web: running"
    assert not manager.show("web")["frozen"]
    manager.ctl("freeze", "web")
    assert manager.ctl("stop", "web").returncode == 0
    assert manager.show("web")["kill_method"] == "signal TERM"
    assert "heard" in manager.lines("web")
    assert manager.ctl("freeze", "web").stdout.strip() == "web: not running"


@needs_cgroup
def test_a_manager_that_ends_thaws_what_it_stops(manage: Manage) -> None:
    manager = manage({"web": sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done")})
    manager.settle("web")
    manager.await_line("web", "up")
    assert manager.ctl("freeze", "web").returncode == 0
    assert manager.stop() == 0
    assert "after" not in [line for line in manager.said().splitlines() if "stopped" in line][-1]


def test_a_group_and_a_service_without_a_cgroup_cannot_be_frozen(manage: Manage) -> None:
    hide = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", hide, "sh")
    manager = manage({"web": SLEEP, "group": 'payload = "virtual"'}, prefix=prefix)
    manager.settle("web", "group")
    done = manager.ctl("freeze", "web")
    assert done.returncode == 1
    assert "the service has no cgroup of its own" in done.stdout
    assert manager.ctl("freeze", "group").stdout.strip() == "group: not running"


#: Says how much it has taken once it is there, on every life.
GREEDY = "exec python3 -c 'import time; x = bytearray(96 << 20); print(\"taken\", flush=True); time.sleep(1000)'"


def test_who_uses_too_much_memory_starts_again_and_says_why(manage: Manage) -> None:
    keep = '[supervision]\nmax_memory = "64M"\nmemory_check = "20ms"\ninitial = 0\nrate_limit = {starts = 3}\n'
    manager = manage({"greedy": sh(GREEDY) + keep, "modest": sh("exec sleep infinity") + keep})
    failed = manager.until("greedy", lambda greedy: greedy["state"] == "failed")
    assert failed["failure"]["reason"] == "start-limit"
    assert failed["restarts"] == 2
    assert "and its max_memory is 64M: start-limit: 3 in 60 s" in manager.ctl("why", "greedy").stdout
    assert manager.show("modest")["restarts"] == 0
    told = manager.ctl("status", "modest").stdout
    assert "Memory: starts again at 64M; " in told
    assert ("the kernel tells (memory.high)" in told) != ("looked at every 0.02 s, as nothing here tells" in told)
