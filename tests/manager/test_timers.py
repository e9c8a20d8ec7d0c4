"""Timed services in a real manager: runs that come, stamps on a disk, the verbs, and what is told of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.native import clock
from tests.conftest import Manager, needs_root, sh

Manage = Callable[..., Manager]
ONCE = '[supervision]\nkind = "one-shot"\n'
SLEEP = sh("exec sleep infinity")


def timed(timer: str, script: str = "echo ran", rest: str = "") -> str:
    return f"{sh(script, rest=rest)}{ONCE}[timer]\n{timer}\n"


def state(manager: Manager) -> Path:
    """Where a test's manager keeps what outlives it."""
    return manager.directory / ".local/state/arje"


def test_a_service_runs_again_and_again_though_it_fails(manage: Manage) -> None:
    manager = manage({"a": timed('every = "50ms"', "echo ran; exit 3")})
    seen = manager.until("a", lambda a: a["timer"]["runs"] >= 3)
    assert seen["timer"]["last_rule"] == "every = 0.05 s"
    assert manager.lines("a").count("ran") >= 2
    assert seen["timer"]["armed"]


def test_the_boot_arms_and_does_not_run(manage: Manage) -> None:
    manager = manage({"a": timed('calendar = "daily"'), "b": 'after = ["a"]\n' + SLEEP})
    assert manager.settle("b")["state"] == "running"
    waiting = manager.settle("a")
    assert (waiting["state"], waiting["last_exit"], waiting["timer"]["armed"]) == ("stopped", None, True)
    assert (waiting["timer"]["armed_by"], waiting["timer"]["next_rule"]) == ("cards.d", "calendar = daily")
    assert 0 < waiting["timer"]["next_wall"] - time.time() <= 25 * 3600


def test_the_verbs_of_a_timed_service(manage: Manage) -> None:
    manager = manage({"a": timed('calendar = "daily"', rest="enabled = false")})
    assert not manager.show("a")["timer"]["armed"]
    triggered = manager.ctl("trigger", "a")
    assert (triggered.returncode, triggered.stdout) == (0, "a: done\n")
    assert manager.show("a")["timer"]["armed"] is False
    started = manager.ctl("start", "a")
    assert started.returncode == 0
    assert started.stdout.startswith("a: done; its timer is armed: next ")
    assert manager.lines("a") == ["ran"], "start runs nothing"
    stopped = manager.ctl("stop", "a")
    assert (stopped.returncode, stopped.stdout) == (0, "a: done; its timer is disarmed\n")
    assert manager.ctl("stop", "a").stdout == "a: not running\n"
    assert "its timer is armed" in manager.ctl("restart", "a").stdout
    assert manager.lines("a") == ["ran"]


def test_a_stop_ends_the_run_and_the_timer(manage: Manage) -> None:
    manager = manage({"a": timed('calendar = "daily"', "echo up; exec sleep 1000")})
    assert manager.show("a")["timer"]["armed"]
    assert manager.ctl("--timeout", "0.2", "trigger", "a").returncode == 152
    manager.await_line("a", "up")
    assert manager.ctl("trigger", "a").stdout == "a: starting already\n"
    assert manager.call("Stop", labels=["a"], force=False)["results"][0]["result"] == "done"
    stopped = manager.show("a")
    assert (stopped["state"], stopped["timer"]["armed"]) == ("stopped", False)


def test_a_restart_during_a_run_restarts_the_run(manage: Manage) -> None:
    card = f"{sh('echo up; exec sleep 1000')}[timer]\nafter_start = 0\n"
    manager = manage({"a": card})
    first = manager.until("a", lambda a: a["state"] == "running")
    assert manager.ctl("restart", "a").stdout == "a: running\n"
    again = manager.show("a")
    assert again["pid"] != first["pid"]
    assert again["timer"]["runs"] == 1


def test_skips_are_counted_and_why_tells_them(manage: Manage) -> None:
    manager = manage({"a": timed('every = "20ms"', "echo up; exec sleep 1000")})
    seen = manager.until("a", lambda a: a["timer"]["skipped"] >= 2)
    assert seen["timer"]["skip_reason"] == "every = 0.02 s: the last run is not over (starting)"
    assert [(wish["how"], wish["who"]) for wish in seen["activation"]] == [("due", "its timer")]
    told = manager.ctl("why", "a").stdout
    assert "its timer is armed: next " in told
    assert "last skipped" in told
    page = manager.ctl("status", "a").stdout
    assert "Activation: started by its timer" in page
    assert "skipped, the last " in page


def test_a_queued_run_follows_the_one_that_was_in_its_way(manage: Manage, place: Path) -> None:
    wait = f"echo up; while [ ! -e {place}/go ]; do sleep 0.01; done"
    manager = manage({"a": timed('after_start = 0\nevery = "20ms"\noverlap = "queue"', wait)})
    manager.await_line("a", "up")
    manager.until("a", lambda a: a["timer"]["queued"])
    (place / "go").touch()
    manager.until("a", lambda a: a["timer"]["runs"] >= 2)


def test_a_time_can_restart_what_runs(manage: Manage) -> None:
    manager = manage({"a": f"{SLEEP}[timer]\nafter_start = 0\nevery = '50ms'\noverlap = 'restart'\n"})
    seen = manager.until("a", lambda a: a["timer"]["runs"] >= 3)
    assert seen["timer"]["skipped"] == 0
    assert seen["last_exit"] == "signal TERM"


def test_a_missed_run_is_made_up_for_when_the_manager_comes(manage: Manage, place: Path) -> None:
    stamps = place / "state" / "timers"
    stamps.mkdir(parents=True)
    (place / "state").chmod(0o777)
    (stamps / "missed").write_text(f"{time.time() - 3 * 86400}\n")
    (stamps / "recent").write_text(f"{time.time()}\n")
    card = timed('calendar = "daily"\npersistent = true')
    manager = manage({"missed": card, "recent": card, "new": card}, "--state-dir", str(place / "state"))
    assert manager.until("missed", lambda a: a["state"] == "done")["timer"]["runs"] == 1
    manager.until("new", lambda _: (stamps / "new").exists())
    assert float((stamps / "missed").read_text()) == pytest.approx(time.time(), abs=60)
    assert [manager.show(label)["timer"]["runs"] for label in ("recent", "new")] == [0, 0]


def test_the_last_time_lies_in_the_users_state(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    manager = manage({"a": timed('calendar = "daily"\npersistent = true')})
    manager.until("a", lambda _: (state(manager) / "timers/a").exists())


def test_a_state_directory_that_cannot_be_is_told_in_status(manage: Manage, place: Path) -> None:
    (place / "file").touch()
    card = timed('calendar = "daily"\npersistent = true')
    manager = manage({"a": card}, "--state-dir", str(place / "file"))
    manager.until("a", lambda a: "cannot be kept" in a["timer"]["problem"])
    assert f"{place}/file/timers/a" in manager.ctl("status", "a").stdout
    assert manager.ctl("trigger", "a").returncode == 0


def test_apply_arms_what_is_new_and_takes_a_new_timer(manage: Manage) -> None:
    manager = manage({"a": timed('calendar = "daily"'), "plain": SLEEP})
    manager.settle("plain")
    manager.write("b", timed('calendar = "hourly"'))
    manager.write("a", timed('calendar = "weekly"'))
    manager.write("plain", f'{SLEEP}[timer]\nevery = "1h"\n')
    manager.ctl("stop", "a")
    plan = manager.call("Plan")["plan"]
    assert {(c["label"], c["change"], c["feels"]) for c in plan["changes"]} == {
        ("a", "modify", "arms"),
        ("b", "add", "arms"),
        ("plain", "modify", "arms"),
    }
    applied = manager.call("Apply", token=plan["token"])["plan"]
    assert {(result["label"], result["result"]) for result in applied["results"]} == {
        (label, "armed") for label in ("a", "b", "plain")
    }
    shown = {label: manager.show(label) for label in ("a", "b", "plain")}
    assert [shown[label]["timer"]["next_rule"] for label in ("a", "b")] == ["calendar = weekly", "calendar = hourly"]
    assert (shown["plain"]["state"], shown["plain"]["timer"]["armed"]) == ("running", True)
    manager.write("plain", SLEEP)
    (manager.cards / "b.toml").unlink()
    manager.call("Apply")
    assert manager.show("plain")["timer"] is None
    assert manager.show("plain")["pid"] == shown["plain"]["pid"]


def test_the_table_of_timers_has_the_next_one_first(manage: Manage) -> None:
    manager = manage(
        {
            "late": timed('cron = "0 0 1 1 *"'),
            "soon": timed('every = "1h"'),
            "off": timed('every = "1s"', rest="enabled = false"),
            "past": timed('calendar = "2020-01-01"'),
            "plain": SLEEP,
        }
    )
    manager.until("late", lambda a: a["timer"]["next_wall"] is not None)
    manager.until("soon", lambda a: a["timer"]["next_wall"] is not None)
    lines = manager.ctl("list-timers").stdout.splitlines()
    assert lines[0].split() == ["NEXT", "LEFT", "LAST", "PASSED", "SERVICE", "WHAT"]
    assert ["soon" in lines[1], "late" in lines[2]] == [True, True]
    assert lines[1].endswith("every = 3600 s")
    assert {line.split()[4]: " ".join(line.split()[5:]) for line in lines[3:]} == {
        "off": "not armed",
        "past": "no time comes any more",
    }
    assert set(manager.json("timers")) == {"late", "soon", "off", "past"}
    assert manager.ctl("timers", "plain").stdout == "No service has a timer.\n"
    table = manager.ctl("status").stdout
    assert "timer not armed" in table
    assert "next " in table


def test_a_timed_group_starts_what_it_requires(manage: Manage) -> None:
    group = f'payload = "virtual"\nrequires = ["work"]\n{ONCE}[timer]\nafter_start = 0\n'
    manager = manage({"group": group, "work": "enabled = false\n" + sh("echo worked") + ONCE})
    manager.until("group", lambda a: a["state"] == "done")
    assert manager.lines("work") == ["worked"]


def test_a_bad_timer_is_a_problem_with_its_line(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.write("b", timed('calendar = "*:*/5"'))
    (problem,) = manager.call("Plan")["plan"]["problems"]
    assert (problem["field"], problem["remedy"]) == ("timer.calendar.0", 'write "0/5"')
    assert problem["line"] > 0


@needs_root
def test_the_kernel_tells_of_a_clock_that_is_set() -> None:
    fd = clock.watch()
    try:
        assert not clock.was_set(fd)
        try:
            time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
        except PermissionError:
            pytest.skip("this root may not set the clock")
        assert clock.was_set(fd)
        assert not clock.was_set(fd)
    finally:
        os.close(fd)
