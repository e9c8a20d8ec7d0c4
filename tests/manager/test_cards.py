"""Cards on disk and cards in force: noticed, planned, taken whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arje.ctl.client import Client
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
    manager.await_said("b.toml:2: payload.execc")
    manager.await_said("nobody")


def test_cards_in_a_hard_circle_fail_in_sight_with_the_whole_path(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": 'requires = ["c"]\n' + SLEEP, "c": 'requires = ["b"]\n' + SLEEP})
    assert manager.settle("a")["state"] == "running"
    assert [manager.settle(label)["state"] for label in "bc"] == ["failed", "failed"]
    manager.await_said("b → c → b")
    manager.await_said("c.toml")


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


@pytest.fixture
def go(place: Path) -> Path:
    """A FIFO on which services wait before they stop."""
    os.mkfifo(place / "go")
    return place / "go"


def reluctant(go: Path, rest: str = "") -> str:
    """A card whose service says ``asked`` when it is told to stop, and does once ``go`` says so."""
    return sh(f"trap 'echo asked; read word < {go}; exit 0' TERM; echo up; while :; do sleep 0.01; done", rest=rest)


class Applying(threading.Thread):
    """An apply of another client, which waits for its answer."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(daemon=True)
        self._socket = manager.socket
        self.plan: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        client = Client(self._socket, 60)
        self.plan = client.call("Apply", token="")["plan"]
        client.close()


def test_an_apply_that_the_end_overtakes_changes_nothing_and_everything_stops(manage: Manage, go: Path) -> None:
    manager = manage({"a": reluctant(go), "b": SLEEP, "c": sh("exec sleep infinity", rest='after = ["a"]')})
    manager.await_line("a", "up")
    pids = [manager.settle(label)["pid"] for label in "abc"]
    (manager.cards / "a.toml").unlink()
    applying = Applying(manager)
    manager.await_line("a", "asked")
    manager.process.send_signal(signal.SIGTERM)
    manager.until("b", lambda b: b["state"] == "stopped")
    go.write_text("go\n")
    assert manager.process.wait(30) == 0
    applying.join(30)
    assert (applying.plan["applied"], applying.plan["stopping"]) == (False, True)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_manager_that_stops_takes_no_cards_and_says_so(manage: Manage, go: Path) -> None:
    manager = manage({"a": reluctant(go), "b": SLEEP})
    manager.await_line("a", "up")
    manager.process.send_signal(signal.SIGTERM)
    manager.await_line("a", "asked")
    (manager.cards / "b.toml").unlink()
    done = manager.ctl("apply")
    assert done.returncode == 1
    assert "b: stopped: arje is stopping" in done.stdout
    go.write_text("go\n")


def test_a_service_that_somebody_starts_while_its_card_goes_is_stopped_again(manage: Manage, go: Path) -> None:
    manager = manage({"a": reluctant(go), "b": SLEEP})
    manager.await_line("a", "up")
    manager.settle("b")
    for label in "ab":
        (manager.cards / f"{label}.toml").unlink()
    applying = Applying(manager)
    manager.await_line("a", "asked")
    manager.until("b", lambda b: b["state"] == "stopped")
    manager.call("Start", labels=["b"])
    go.write_text("go\n")
    applying.join(30)
    assert applying.plan["applied"]
    assert manager.call("List", labels=[], full=False)["services"] == []


@pytest.mark.parametrize("state", ["waiting", "backoff"])
def test_a_card_may_go_while_its_service_waits(manage: Manage, state: str) -> None:
    """Its life ends quietly: the fixture finds no traceback."""
    cards = {
        "waiting": 'requires = ["skipped"]\n' + SLEEP,
        "backoff": sh("exit 1") + '[supervision]\nrestart = "always"\ninitial = 1000\nmax = 1000\n',
    }
    manager = manage({"a": cards[state], "skipped": 'only_if_exists = "/no/such"\n' + SLEEP})
    manager.until("a", lambda a: a["state"] == state)
    (manager.cards / "a.toml").unlink()
    assert manager.call("Apply", token="")["plan"]["applied"]
    manager.write("a", SLEEP)
    assert manager.call("Apply", token="")["plan"]["results"][0]["state"] == "running"


def test_services_that_change_together_stop_and_start_in_their_order(manage: Manage, place: Path) -> None:
    note = place / "note"

    def card(name: str, rest: str = "") -> str:
        script = f"echo +{name} >> {note}; trap 'sleep 0.1; echo -{name} >> {note}; exit 0' TERM"
        return sh(f"{script}; while :; do sleep 0.01; done", rest=rest)

    cards = {"a": card("a"), "b": card("b", 'requires = ["a"]'), "c": card("c", 'requires = ["b"]')}
    manager = manage({**cards, "other": 'requires = ["a"]\n' + SLEEP})
    manager.until("c", lambda _: note.exists() and len(note.read_text().split()) == 3)
    other = manager.settle("other")
    for label, text in cards.items():
        manager.write(label, text.replace("0.01", "0.02"))
    results = manager.call("Apply", token="")["plan"]["results"]
    assert {result["state"] for result in results} == {"running"}
    manager.until("c", lambda _: len(note.read_text().split()) == 9)
    assert note.read_text().split()[3:] == ["-c", "-b", "-a", "+a", "+b", "+c"]
    assert manager.show("other")["pid"] == other["pid"]


def test_a_card_that_cannot_be_planned_any_more_hides_no_other(manage: Manage) -> None:
    manager = manage({"a": sh("true", 'strict_caps = true\ncgroup = {memory_max = "1G"}'), "b": SLEEP}, user=True)
    assert manager.until("a", lambda a: a["state"] == "failed")["failure"]["reason"] == "isolation-refused"
    manager.write("a", sh("true", 'strict_caps = true\nrun_as = "no-such-user"'))
    assert manager.call("Apply", token="")["plan"]["applied"]
    assert {s["label"] for s in manager.call("List", labels=[], full=False)["services"]} == {"a", "b"}
    assert manager.ctl("status").returncode == 0


def test_bad_cards_are_counted_in_the_head_line_until_they_are_mended(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": "[payload]\nexecc = 1\ncolour = 2\n", "c": 'requires = ["nobody"]\n' + SLEEP})
    assert manager.call("GetManager")["manager"]["problems"] == 2
    assert "2 bad cards: arjectl plan" in manager.ctl("status").stdout
    for label in "bc":
        manager.write(label, SLEEP)
    assert manager.call("Apply", token="")["plan"]["applied"]
    assert manager.call("GetManager")["manager"]["problems"] == 0
    assert "bad card" not in manager.ctl("status").stdout


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
