"""What the hand asks beside single services: columns, edges, who moves, dry runs, requests that nobody waits for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Manager, needs_cgroup, sh
from tests.ctl import until_state

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
SLOW = sh("trap '' TERM; echo up; while :; do sleep 0.05; done") + '[supervision]\nreadiness = "log:up"\n'


def rows(manager: Manager) -> dict[str, dict[str, Any]]:
    """The columns as a row for each plain service."""
    plain = manager.call("Table")["plain"]
    return {label: {name: plain[name][i] for name in plain} for i, label in enumerate(plain["label"])}


def test_the_columns_say_what_list_says(manage: Manage) -> None:
    manager = manage(
        {
            "a": 'description = "the a"\n' + SLEEP,
            "b": "enabled = false\n" + SLEEP,
            "c": sh("exit 3") + '[supervision]\nkind = "one-shot"\n',
            "d": sh("true") + '[supervision]\nkind = "one-shot"\n',
            "e": sh("true") + '[timer]\nevery = "1h"\n[supervision]\nkind = "one-shot"\n',
            "f": 'only_if_exists = "/no/such"\n' + SLEEP,
            "g": "enabled = false\nmasked = true\n" + SLEEP,
        }
    )
    manager.settle("a", "c", "d", "f")
    found = manager.call("Table")
    services = {each["label"]: each for each in manager.call("List")["services"]}
    assert [each["label"] for each in found["others"]] == ["c", "e", "f", "g"], "of these there is more to say"
    labels = list(found["plain"]["label"])
    for place, each in zip(found["places"], found["others"], strict=True):
        labels.insert(place, each["label"])
    assert labels == list(services)
    for label, row in rows(manager).items():
        service = services[label]
        assert {name: row[name] for name in ("description", "state", "pid", "ready", "restarts", "memory")} == {
            name: service[name] for name in ("description", "state", "pid", "ready", "restarts", "memory")
        }
        assert row["requested"] == service["isolation"]["requested"] == service["isolation"]["granted"]
        assert abs(row["since_s"] - service["since_s"]) < 10


def test_the_columns_follow_every_change(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    before = manager.settle("a")["pid"]
    assert rows(manager)["a"]["pid"] == before
    manager.call("Restart", labels=["a"])
    assert rows(manager)["a"]["pid"] == manager.show("a")["pid"] != before
    manager.call("Pin", labels=["a"])
    assert rows(manager) == {}
    manager.call("Unpin", labels=["a"])
    manager.write("a", 'description = "new"\n' + SLEEP)
    manager.call("Apply")
    assert rows(manager)["a"]["description"] == "new"
    (manager.cards / "a.toml").unlink()
    manager.call("Apply")
    assert rows(manager) == {}


@needs_cgroup
def test_a_frozen_service_is_not_plain(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity", 'cgroup = {path = "a"}')})
    manager.settle("a")
    manager.call("Freeze", labels=["a"])
    assert [each["frozen"] for each in manager.call("Table")["others"]] == [True]
    manager.call("Thaw", labels=["a"])
    assert rows(manager).keys() == {"a"}


def test_who_does_not_wait_is_answered_at_once_and_it_is_done_all_the_same(manage: Manage) -> None:
    manager = manage({"a": SLOW + "stop_timeout = 1\n", "b": "enabled = false\n" + SLEEP})
    manager.settle("a")
    done = manager.ctl("stop", "--no-wait", "a")
    assert (done.returncode, done.stdout) == (0, "")
    assert manager.show("a")["state"] == "stopping"
    until_state(manager, "a", "stopped")
    assert manager.ctl("start", "--no-wait", "nobody").returncode == 5, "what is wrong at once is told"
    assert manager.ctl("start", "--no-wait", "b").returncode == 0
    until_state(manager, "b", "running")
    assert manager.ctl("restart", "--no-wait", "--json", "b").returncode == 0
    until_state(manager, "b", "running")


def test_a_dry_run_tells_and_does_nothing(manage: Manage) -> None:
    manager = manage(
        {
            "net": "enabled = false\n" + SLEEP,
            "db": 'enabled = false\nrequires = ["net"]\n' + SLEEP,
            "part": 'part_of = ["db"]\n' + SLEEP,
            "old": 'conflicts = ["net"]\n' + SLEEP,
            "tidy": "enabled = false\n" + sh("true") + '[timer]\nevery = "1h"\n[supervision]\nkind = "one-shot"\n',
        }
    )
    manager.settle("old", "part")

    def would(*words: str) -> list[tuple[str, str, str]]:
        return [(each["label"], each["feels"], each["why"]) for each in manager.json(*words, "--dry-run")]

    assert would("start", "db") == [
        ("net", "starts", "db needs it"),
        ("old", "stops", "it conflicts with net"),
        ("db", "starts", ""),
    ]
    assert would("start", "tidy") == [("tidy", "arms", "")]
    assert would("start", "old") == [("old", "nothing", "it is running already")]
    assert would("stop", "db") == [("db", "nothing", "it is stopped")]
    assert manager.show("old")["state"] == "running"
    manager.call("Start", labels=["db"])
    assert would("stop", "net") == [("db", "stops", "it needs net: only with --force"), ("net", "stops", "")]
    assert would("stop", "db") == [("db", "stops", ""), ("part", "stops", "part of db")]
    assert would("restart", "db") == [("part", "restarts", "part of db"), ("db", "restarts", "")]
    assert would("try-restart", "old") == [("old", "nothing", "it does not run")]
    assert would("reload", "db") == [("db", "nothing", "it does not run, or cannot")]
    assert manager.ctl("stop", "net", "--dry-run").stdout.splitlines()[-1] == "= net: stops"
    assert manager.show("net")["state"] == "running"


def test_what_nobody_needs_is_released_and_what_somebody_needs_is_woken(manage: Manage) -> None:
    manager = manage(
        {
            "db": SLEEP,
            "web": 'requires = ["db"]\nwants = ["cache"]\n' + SLEEP,
            "cache": "enabled = false\n" + SLEEP,
            "other": "enabled = false\n" + SLEEP,
        }
    )
    manager.settle("web", "db", "cache")
    assert manager.ctl("release", "db").stdout == "db: running: web needs it\n"
    assert manager.show("db")["activation"][0]["how"] == "needed", "it is not cards.d that wants it any more"
    manager.call("Stop", labels=["cache"])
    done = manager.ctl("wake", "cache", "other")
    assert done.returncode == 1
    assert done.stdout == "cache: running\nother: stopped: nothing that runs needs it: arjectl start other\n"
    assert manager.show("cache")["activation"][0]["who"] == "web"
    manager.call("Stop", labels=["web"])
    assert manager.ctl("release", "db").stdout == "db: stopped\n"


def test_only_what_is_written_from_a_level_on_is_written(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    assert manager.ctl("log-level").stdout == "info\n"
    assert "level=debug" not in manager.said()
    assert manager.ctl("log-level", "error").stdout == "error\n"
    before = manager.said().count("event=state")
    manager.call("Restart", labels=["a"])
    assert manager.said().count("event=state") == before
    assert manager.ctl("log-level", "debug").stdout == "debug\n"
    manager.call("Restart", labels=["a"])
    manager.stop()
    assert manager.said().count("event=state") > before
    manager.await_said("level=debug event=state service=a old=waiting new=starting")


def test_who_moves_is_told_with_what_it_waits_for(manage: Manage) -> None:
    manager = manage(
        {
            "slow": sh("exec sleep infinity") + '[supervision]\nreadiness = "log:never"\nstart_timeout = "1h"\n',
            "needs": 'requires = ["slow"]\n' + SLEEP,
            "well": SLEEP,
        }
    )
    until_state(manager, "slow", "starting")
    manager.settle("well")
    moving = manager.call("Moving", labels=["needs", "well"])["services"]
    assert [each["label"] for each in moving] == ["needs", "slow"]
    assert manager.call("Moving", labels=["well"])["services"] == []


def test_every_edge_is_told_once_and_names_of_nobody_are_nodes(manage: Manage) -> None:
    manager = manage(
        {
            "web": 'requires = ["db"]\nafter = ["net-up"]\nwants = ["nobody"]\n' + SLEEP,
            "db": 'wanted_by = ["web"]\n' + SLEEP,
            "net": 'provides = ["net-up"]\n' + SLEEP,
            "alone": SLEEP,
        }
    )
    manager.settle("db", "net", "alone")
    found = manager.call("Graph")
    edges = {(each["label"], each["kind"], each["other"]) for each in found["edges"]}
    assert edges >= {("web", "requires", "db"), ("web", "after", "net"), ("web", "wants", "nobody")}
    assert len(edges) == len(found["edges"])
    states = {each["label"]: each["state"] for each in found["nodes"]}
    assert states.keys() == {"web", "db", "net", "alone", "nobody"}
    assert states["nobody"] is None
    around = manager.call("Graph", labels=["net"])
    assert [(each["label"], each["other"]) for each in around["edges"]] == [("web", "net")]


def test_a_causal_chain_says_which_rule_made_it_so_and_how_deep_it_is(manage: Manage) -> None:
    manager = manage(
        {
            "front": 'description = "f"\nrequires = ["mid"]\n' + SLEEP,
            "mid": 'requires = ["base"]\n' + SLEEP,
            "base": sh("exit 3") + '[supervision]\nkind = "one-shot"\n',
        }
    )
    until_state(manager, "front", "failed")
    chain = manager.call("Why", label="front")["chain"]
    assert [(link["label"], link["depth"]) for link in chain] == [("front", 0), ("mid", 1), ("base", 2)]
    assert chain[0]["rule"] == f"{manager.cards}/front.toml:2: requires"
    history = manager.ctl("history", "front").stdout.splitlines()
    assert history[-3].split()[1:3] == ["front", "failed"]
    assert history[-2].split()[1:4] == ["`", "mid", "failed"]
    assert history[-1].split()[1:4] == ["`", "base", "failed"]


def test_only_terminal_words_of_the_environment_are_passed_in(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    out = manager.directory / "out"
    stdio = ["null", f"file:{out}", "null"]
    env = {"TERM": "vt100", "LD_PRELOAD": "/evil.so"}
    answer = manager.call("Enter", label="a", command=["/usr/bin/env"], stdio=stdio, env=env)
    assert answer == {"exit_code": 0, "detail": ""}
    assert "TERM=vt100" in out.read_text()
    assert "LD_PRELOAD" not in out.read_text()
    assert json.dumps(answer)
    assert os.stat(out).st_size
