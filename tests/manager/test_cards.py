"""Cards on disk and cards in force: noticed, planned, taken whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def settled(manager: Manager, **cards: str) -> Manager:
    for label in cards:
        manager.settle(label)
    return manager


def test_a_bad_card_disables_only_itself(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": "[payload]\nexecc = 1\n", "c": 'requires = ["nobody"]\n' + SLEEP})
    assert manager.settle("a")["state"] == "running"
    assert "b.toml:2: payload.execc" in manager.said()
    assert "nobody" in manager.said()


def test_cards_in_a_circle_are_left_out_with_the_whole_path(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": 'requires = ["c"]\n' + SLEEP, "c": 'requires = ["b"]\n' + SLEEP})
    assert manager.settle("a")["state"] == "running"
    assert [s["label"] for s in manager.call("List", labels=[], full=False)["services"]] == ["a"]
    assert "b" in manager.said()
    assert "c.toml" in manager.said()


def test_a_change_on_disk_is_noticed_and_nothing_more(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    before = manager.settle("a")
    manager.write("b", SLEEP)
    while not manager.call("GetManager")["manager"]["changed_on_disk"]:
        pass
    assert "have changed" in manager.ctl("status").stdout
    assert [s["label"] for s in manager.call("List", labels=[], full=False)["services"]] == ["a"]
    assert manager.show("a")["pid"] == before["pid"]


def test_plan_shows_what_each_service_will_feel(manage: Manage) -> None:
    manager = manage({"go": SLEEP, "stay": SLEEP, "change": SLEEP, "label": SLEEP})
    settled(manager, go="", stay="", change="", label="")
    (manager.cards / "go.toml").unlink()
    manager.write("change", sh("exec sleep 1000"))
    manager.write("label", 'description = "new"\n' + SLEEP)
    manager.write("new", SLEEP)
    plan = manager.call("Plan")["plan"]
    assert {(c["label"], c["change"], c["feels"]) for c in plan["changes"]} == {
        ("go", "remove", "stops"),
        ("change", "modify", "restarts"),
        ("label", "modify", "nothing"),
        ("new", "add", "starts"),
    }


def test_apply_touches_only_what_changed(manage: Manage) -> None:
    manager = manage({"go": SLEEP, "stay": SLEEP, "change": SLEEP, "label": SLEEP})
    settled(manager, go="", stay="", change="", label="")
    before = {s["label"]: s["pid"] for s in manager.call("List", labels=[], full=False)["services"]}
    (manager.cards / "go.toml").unlink()
    manager.write("change", sh("exec sleep 1000"))
    manager.write("label", 'description = "new"\n' + SLEEP)
    manager.write("new", SLEEP)
    done = manager.ctl("apply", manager.call("Plan")["plan"]["token"])
    assert done.returncode == 0, done
    after = {s["label"]: s for s in manager.call("List", labels=[], full=False)["services"]}
    assert set(after) == {"stay", "change", "label", "new"}
    assert after["stay"]["pid"] == before["stay"]
    assert after["label"]["pid"] == before["label"]
    assert after["label"]["description"] == "new"
    assert after["change"]["pid"] not in (None, before["change"])
    assert after["new"]["state"] == "running"
    assert manager.call("GetManager")["manager"]["changed_on_disk"] is False
    assert manager.call("Plan")["plan"]["changes"] == []


def test_one_bad_card_keeps_the_whole_old_set_in_force(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    before = manager.settle("a")
    manager.write("a", sh("exec sleep 1000"))
    manager.write("bad", "[payload]\nexec = 5\n")
    done = manager.ctl("apply")
    assert done.returncode == 6
    assert "bad.toml:2: payload.exec" in done.stdout
    assert "Nothing was changed" in done.stdout
    assert manager.show("a")["pid"] == before["pid"]
    assert manager.ctl("plan").returncode == 6


def test_a_plan_that_the_disk_has_left_behind_is_not_applied(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.write("b", SLEEP)
    token = manager.call("Plan")["plan"]["token"]
    manager.write("c", SLEEP)
    done = manager.ctl("apply", token)
    assert done.returncode == 155
    assert "arjectl plan" in done.stdout
    assert len(manager.call("List", labels=[], full=False)["services"]) == 1


def test_sighup_applies(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.write("b", SLEEP)
    manager.process.send_signal(signal.SIGHUP)
    while len(manager.call("List", labels=[], full=False)["services"]) < 2:
        pass
    assert manager.settle("b")["state"] == "running"


def test_five_hundred_reloads_leave_no_descriptor_and_little_memory(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")

    def toggle(count: int) -> tuple[int, int]:
        for number in range(count):
            manager.write("a", SLEEP + f"\n[supervision]\nstop_timeout = {number + 1}\n")
            assert manager.call("Apply", token="")["plan"]["applied"]
        fds = len(list((Path("/proc") / str(manager.process.pid) / "fd").iterdir()))
        status = (Path("/proc") / str(manager.process.pid) / "status").read_text()
        return fds, int(status.split("VmRSS:")[1].split()[0])

    fds, memory = toggle(100)
    later, grown = toggle(400)
    assert later == fds
    assert grown - memory < 2048, "KiB"


def test_the_second_manager_on_a_directory_says_so(manage: Manage) -> None:
    manager = manage({})
    command = [
        sys.executable,
        "-m",
        "arje",
        "--user",
        "--cards",
        str(manager.cards),
        "--runtime-dir",
        str(manager.runtime),
    ]
    second = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert second.returncode == 1
    assert str(manager.process.pid) in second.stderr
    assert str(manager.runtime) in second.stderr
    assert manager.call("Ping")["pid"] == manager.process.pid


@pytest.mark.parametrize("words", [["--cards", "/no/such/place"], ["--no-such-option"]])
def test_a_wrong_command_line_is_a_usage_error(words: list[str]) -> None:
    command = [sys.executable, "-m", "arje", "--user", *words]
    assert subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=60).returncode == 2
