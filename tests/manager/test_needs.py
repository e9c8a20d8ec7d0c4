"""What a service feels of those that it requires: their failing for good, and nothing of their restarts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Manager, sh
from tests.manager.test_services import alive

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
WEB = 'requires = ["db"]\n' + SLEEP
DEAD = '[payload]\nexec = "/no/such"\n'


@pytest.fixture
def told(place: Path) -> Path:
    """A FIFO on which a service waits to be told to end."""
    os.mkfifo(place / "told")
    return place / "told"


def until_told(told: Path, then: str, rest: str = "") -> str:
    return sh(f"read word < {told}; {then}") + rest


def chain(manager: Manager, label: str) -> list[tuple[str, str]]:
    return [(link["label"], link["state"]) for link in manager.call("Why", label=label)["chain"]]


def failed(service: dict[str, Any]) -> bool:
    return bool(service["state"] == "failed")


@pytest.mark.parametrize(("then", "state", "word"), [("exit 3", "failed", "failed"), ("exit 0", "done", "has ended")])
def test_who_requires_a_service_that_ends_for_good_stops_and_says_why(
    manage: Manage, told: Path, then: str, state: str, word: str
) -> None:
    manager = manage({"db": until_told(told, then), "web": WEB, "fan": 'wants = ["db"]\n' + SLEEP})
    running, fan = manager.settle("web"), manager.settle("fan")
    told.write_text("now\n")
    web = manager.until("web", failed)
    assert not alive(running["pid"])
    assert web["failure"]["reason"] == "dependency"
    assert web["failure"]["detail"] == f"web requires db, which {word}"
    assert (web["cause"]["who"], web["kill_method"], web["wanted"]) == ("db", "signal TERM", True)
    assert chain(manager, "web") == [("web", "failed"), ("db", state)]
    assert manager.show("fan")["pid"] == fan["pid"]


def test_it_starts_again_when_what_it_requires_recovers(manage: Manage, told: Path) -> None:
    manager = manage({"db": until_told(told, "exit 3"), "web": WEB})
    before = manager.settle("web")
    told.write_text("now\n")
    manager.until("web", failed)
    assert manager.call("Start", labels=["db"])["results"][0]["result"] == "done"
    after = manager.settle("web")
    assert after["state"] == "running"
    assert after["pid"] != before["pid"]
    assert [(wish["how"], wish["who"]) for wish in after["activation"]] == [("enabled", "cards.d")]


def test_who_was_told_to_stop_does_not_start_again_by_itself(manage: Manage, told: Path) -> None:
    manager = manage({"db": until_told(told, "exit 3"), "web": WEB})
    manager.settle("web")
    told.write_text("now\n")
    manager.until("web", failed)
    assert manager.call("Stop", labels=["web"], force=False)["results"][0]["result"] == "done"
    manager.call("Start", labels=["db"])
    assert manager.settle("web")["state"] == "stopped"


def test_a_restart_by_itself_is_not_felt_but_the_end_of_them_is(manage: Manage, told: Path) -> None:
    keep = '[supervision]\nrestart = "on-failure"\ninitial = "1ms"\nrate_limit = {starts = 2, interval = 600}\n'
    manager = manage({"db": until_told(told, "exit 3", keep), "web": WEB})
    before = manager.settle("web")
    told.write_text("now\n")
    manager.until("db", lambda db: db["restarts"] == 1 and db["state"] == "running")
    assert manager.show("web")["pid"] == before["pid"]
    told.write_text("now\n")
    assert manager.until("web", failed)["failure"]["reason"] == "dependency"
    assert manager.show("db")["failure"]["reason"] == "start-limit"


def test_a_chain_fails_link_by_link_and_nobody_waits_for_ever(manage: Manage) -> None:
    manager = manage({"front": 'requires = ["mid"]\n' + SLEEP, "mid": 'requires = ["dead"]\n' + SLEEP, "dead": DEAD})
    assert manager.settle("front")["state"] == "failed"
    assert chain(manager, "front") == [("front", "failed"), ("mid", "failed"), ("dead", "failed")]
    assert "/no/such" in manager.call("Why", label="front")["chain"][-1]["detail"]


def test_a_start_of_who_requires_a_failure_answers_at_once_with_the_truth(manage: Manage) -> None:
    manager = manage({"db": DEAD, "web": "enabled = false\n" + WEB})
    result = manager.call("Start", labels=["web"])["results"][0]
    assert (result["result"], result["state"]) == ("failed", "failed")
    assert result["detail"] == "web requires db, which failed"


def test_who_waits_for_a_service_that_is_skipped_waits_on_and_is_not_waited_for(manage: Manage) -> None:
    manager = manage(
        {
            "front": 'requires = ["mid"]\n' + SLEEP,
            "mid": 'requires = ["skipped"]\n' + SLEEP,
            "skipped": 'only_if_exists = "/no/such"\n' + SLEEP,
        }
    )
    front = manager.settle("front")
    assert front["state"] == "waiting"
    assert front["waiting_for"] == [{"kind": "requires", "name": "mid", "chain": ["skipped"], "state": "stopped"}]
    manager.write("more", SLEEP)
    assert manager.call("Apply", token="")["plan"]["applied"]


def test_another_provider_of_the_same_capability_is_enough(manage: Manage, told: Path) -> None:
    manager = manage(
        {
            "db1": 'provides = ["db"]\n' + until_told(told, "exit 3"),
            "db2": 'provides = ["db"]\n' + SLEEP,
            "web": WEB,
        }
    )
    manager.settle("db2")
    before = manager.settle("web")
    told.write_text("now\n")
    manager.until("db1", failed)
    assert manager.show("web")["pid"] == before["pid"]


def test_a_chain_longer_than_the_stack_of_python_settles(manage: Manage) -> None:
    cards = {f"s{n}": f'requires = ["s{n - 1}"]\npayload = "virtual"\n' for n in range(1, 1200)}
    manager = manage({"s0": 'only_if_exists = "/no/such"\n' + SLEEP, **cards})
    assert manager.settle("s1199")["state"] == "waiting"
