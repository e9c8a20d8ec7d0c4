"""The service whose end is arje's own: what arje exits with, and what does not end it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.loader import load_text
from tests.conftest import Manager, left_over, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
MAIN = "[supervision]\nends_arje = true\n"


def run(place: Path, **cards: str) -> Manager:
    (place / "cards").mkdir()
    for label, text in cards.items():
        (place / "cards" / f"{label}.toml").write_text(text)
    return Manager(place)


@pytest.mark.parametrize(
    ("card", "status"),
    [
        (sh("exit 0") + MAIN, 0),
        (sh("exit 7") + MAIN, 7),
        (sh("exit 7") + MAIN + "success_exit = [7]\n", 7),
        (sh("kill -TERM $$") + MAIN, 143),
        (sh("exit 3") + MAIN + 'restart = "always"\ninitial = 0\nrate_limit = {starts = 3}\n', 3),
        (sh("exit 0") + MAIN + 'readiness = "fd:3"\n', 1),
        ('[payload]\nexec = "/no/such"\n' + MAIN, 1),
        ('requires = ["bad"]\n' + SLEEP + MAIN, 1),
    ],
)
def test_arje_exits_as_its_main_service_did_and_leaves_nothing(place: Path, card: str, status: int) -> None:
    manager = run(place, main=card, beside=SLEEP, bad="enabled = false\n" + sh("exit 9"))
    assert manager.process.wait(30) == status, manager.said()
    manager.await_said("event=state service=beside old=stopping new=stopped cause=main")
    assert "Traceback" not in manager.said()
    assert manager.stop() == status
    assert left_over(manager) == []


FLAKY = 'initial = 0\nrate_limit = {starts = 2, interval = 60, action = "%s"}\n'


@pytest.mark.parametrize(("action", "status"), [("exit:0", 0), ("exit:9", 9), ("reboot", 3), ("poweroff", 3)])
def test_arje_ends_when_a_limit_is_hit_whose_card_says_so(place: Path, action: str, status: int) -> None:
    keep = f'[supervision]\nrestart = "always"\n{FLAKY % action}'
    manager = run(place, flaky=sh("exit 3") + keep, beside=SLEEP)
    assert manager.process.wait(30) == status, manager.said()
    manager.await_said("event=state service=beside old=stopping new=stopped cause=flaky")
    asked = f'event="arje ends, the machine does not" asked={action}'
    assert (asked in manager.said()) == (action in ("reboot", "poweroff"))
    assert "Traceback" not in manager.said()
    manager.stop()
    assert left_over(manager) == []


def test_a_limit_is_shown_with_what_follows_and_a_script_is_started(manage: Manage) -> None:
    keep = f'[supervision]\nrestart = "always"\n{FLAKY % "start:script"}'
    script = "enabled = false\n" + sh("echo mended") + '[supervision]\nkind = "one-shot"\n'
    manager = manage({"flaky": "enabled = false\n" + sh("exit 3") + keep, "script": script})
    assert "(limit 2 in 1m 00s; when it is hit: start:script)" in manager.ctl("status", "flaky").stdout
    manager.call("Start", labels=["flaky"])
    manager.await_line("script", "mended")
    assert "start-limit: 2 in 60 s, last: exited 3; script is started" in manager.ctl("why", "flaky").stdout
    assert "needed by flaky" in manager.ctl("status", "script").stdout


def test_a_budget_is_shown_with_who_spent_it(manage: Manage) -> None:
    keep = '[supervision]\nrestart = "always"\ninitial = 0\nbudget = {group = "web", restarts = 2, interval = "1h"}\n'
    manager = manage({"a": "enabled = false\n" + sh("exit 3") + keep, "b": sh("exec sleep infinity") + keep})
    manager.settle("b")
    manager.call("Start", labels=["a"])
    failed = manager.until("a", lambda a: a["state"] == "failed")
    assert failed["failure"]["reason"] == "group-limit"
    assert "Budget: web has spent 2 of 2 restarts in 3600 s: a 2" in manager.ctl("status", "b").stdout
    manager.call("Kill", labels=["b"], signal="KILL")
    assert manager.until("b", lambda b: b["state"] == "failed")["failure"]["reason"] == "group-limit"
    assert "web has spent 2 of 2 restarts in 3600 s: a 2, last: signal KILL" in manager.ctl("why", "b").stdout
    manager.call("Start", labels=["b"])
    assert manager.show("b")["budget"] == "web has spent 0 of 2 restarts in 3600 s"


def test_an_end_that_is_none_for_good_or_a_stop_by_hand_ends_nothing(manage: Manage) -> None:
    again = MAIN + 'restart = "on-failure"\ninitial = 0\n'
    manager = manage({"main": SLEEP + again})
    manager.settle("main")
    manager.call("Kill", labels=["main"], signal="KILL")
    manager.until("main", lambda main: main["restarts"] == 1 and main["state"] == "running")
    manager.call("Stop", labels=["main"])
    assert manager.show("main")["state"] == "stopped"
    manager.call("Start", labels=["main"])
    assert "its end is arje's" in manager.ctl("status", "main").stdout


def test_a_stop_that_comes_meanwhile_kills_what_still_runs(place: Path) -> None:
    deaf = sh("trap '' TERM; echo up; while :; do sleep 0.02; done") + '[supervision]\nstop_timeout = "1h"\n'
    manager = run(place, main="enabled = false\n" + sh("exit 7") + MAIN, deaf=deaf)
    manager.await_line("deaf", "up")
    manager.call("Trigger", labels=["main"])
    manager.until("deaf", lambda deaf: deaf["state"] == "stopping")
    assert manager.stop() == 7


def test_a_timed_service_ends_again_and_again_and_never_arje() -> None:
    text = 'payload = "virtual"\ntimer = {every = "1h"}\n' + MAIN
    (problem,) = load_text(Path("a.toml"), text).problems
    assert (problem.field, problem.line) == ("supervision.ends_arje", 4)
