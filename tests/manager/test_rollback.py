"""``apply --confirm`` and ``rollback`` with real services, as a person sees them."""

from __future__ import annotations

import json
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Manager, open_links, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
OTHER = sh("exec sleep 1000")


def test_a_set_that_is_no_good_is_gone_back_from_and_told(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": SLEEP, "c": SLEEP})
    before = {label: manager.settle(label)["pid"] for label in "abc"}
    manager.write("a", sh("exit 3"))
    manager.write("b", OTHER)
    manager.write("d", SLEEP)
    done = manager.ctl("apply", "--confirm", "30")
    assert done.returncode == 155, done
    assert "a has failed: exit-code: exited 3" in done.stdout
    assert "Rolled back at" in done.stdout
    after = {label: manager.settle(label) for label in "abc"}
    assert {label: found["state"] for label, found in after.items()} == dict.fromkeys("abc", "running")
    assert after["c"]["pid"] == before["c"]
    assert after["b"]["command"] == ["/bin/sh", "-c", "exec sleep infinity"]
    assert "rollback (a has failed" in manager.ctl("why", "a").stdout + manager.ctl("history", "a").stdout
    assert "rollback (a has failed" in manager.ctl("history", "b").stdout
    plan = manager.ctl("plan").stdout
    assert "Rolled back at" in plan
    assert "the files still hold what was undone" in plan
    assert "~ a (payload): restarts" in plan
    assert [s["label"] for s in manager.json("list")] == ["a", "b", "c"]
    assert manager.json("rollback", "--list")[0]["why"].startswith("a has failed")


def test_a_good_set_is_confirmed_as_soon_as_all_say_that_they_are_ready(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    ready = "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    ready += "s.connect(os.environ['NOTIFY_SOCKET']); s.send(b'READY=1'); time.sleep(1000)"
    text = f"[payload]\nexec = {json.dumps(sys.executable)}\nargv = {json.dumps(['-c', ready])}\n"
    manager.write("a", text + "[supervision.readiness]\nnotify = true\n")
    done = manager.ctl("apply", "--confirm", "600", timeout=60)
    assert done.returncode == 0, done
    assert "Confirmed" in done.stdout
    assert manager.show("a")["state"] == "running"


def test_rollback_goes_back_and_apply_forward_again(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": SLEEP})
    pids = {label: manager.settle(label)["pid"] for label in "ab"}
    assert manager.ctl("rollback").returncode == 1
    manager.write("a", OTHER)
    assert manager.ctl("apply").returncode == 0
    done = manager.ctl("rollback")
    assert done.returncode == 0, done
    assert "~ a (payload): restarts" in done.stdout
    assert manager.settle("a")["command"][-1] == "exec sleep infinity"
    assert manager.show("b")["pid"] == pids["b"]
    assert "in force" in manager.ctl("rollback", "--list").stdout
    assert "rollback by uid" in manager.ctl("history", "a").stdout
    assert manager.ctl("apply").returncode == 0
    assert manager.settle("a")["command"][-1] == "exec sleep 1000"
    assert manager.ctl("rollback", "nonsense").returncode == 1


def test_a_client_that_goes_away_changes_nothing_of_a_confirmation(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.write("a", sh("read word; exit 1", 'stdio = {stdin = "null"}').replace("read word; ", "sleep 0.3; "))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(manager.socket))
        call = {"method": "io.arje.Manager.Apply", "parameters": {"confirm_ms": 60_000}}
        client.sendall(json.dumps(call).encode() + b"\0")
        manager.until("a", lambda a: a["command"][-1] != "exec sleep infinity")
    manager.until("a", lambda a: a["command"][-1] == "exec sleep infinity" and a["state"] == "running")
    assert manager.call("Plan")["plan"]["undone"]["label"] == "a"


def test_a_service_that_applies_the_cards_that_restart_it_is_restarted(manage: Manage, place: Path) -> None:
    run = f"export PYTHONPATH={ROOT}; {sys.executable} -m arje.ctl --socket {place}/0/run/io.arje apply --confirm 2"
    script = f"touch {place}/note; while [ ! -e {place}/go ]; do sleep 0.02; done; {run}; exec sleep infinity"
    manager = manage({"self": sh(f"[ -e {place}/note ] && exec sleep 999; {script}")})
    pid = manager.settle("self")["pid"]
    manager.until("self", lambda _: (place / "note").exists())
    manager.write("self", sh(f"[ -e {place}/note ] && exec sleep 1000; {script}"))
    (place / "go").touch()
    found = manager.until("self", lambda s: s["pid"] not in (None, pid) and s["state"] == "running")
    assert found["restarts"] == 0
    while manager.call("Apply", token="")["plan"]["busy"]:
        pass
    assert manager.show("self")["pid"] == found["pid"], "the set was good: it stays"
    assert manager.call("Plan")["plan"]["changes"] == []
    assert manager.call("Plan")["plan"]["undone"] is None


def test_an_instance_feels_what_its_template_says_and_scale_is_foreseen(manage: Manage) -> None:
    manager = manage({"web@": "copies = 2\n" + SLEEP, "lb": 'part_of = ["web@1"]\n' + SLEEP})
    for label in ("web@1", "web@2", "lb"):
        manager.settle(label)
    manager.write("web@", "copies = 2\n" + OTHER)
    plan = manager.call("Plan")["plan"]
    told = {change["label"]: (change["change"], change["feels"], change["why"]) for change in plan["changes"]}
    assert told == {
        "web@1": ("modify", "restarts", ""),
        "web@2": ("modify", "restarts", ""),
        "lb": ("keep", "restarts", "it is part of web@1"),
    }
    assert "= lb: restarts (it is part of web@1)" in manager.ctl("plan").stdout
    pid = manager.show("lb")["pid"]
    assert manager.ctl("apply").returncode == 0
    assert manager.settle("lb")["pid"] != pid
    scaled = manager.call("Scale", template="web@", copies=3)["plan"]
    assert [(change["label"], change["feels"]) for change in scaled["changes"]] == [("web@3", "starts")]


def test_fifty_rollbacks_leave_no_descriptor(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")

    def go(count: int) -> None:
        for _ in range(count):
            manager.write("b", SLEEP)
            assert manager.call("Apply", token="")["plan"]["applied"]
            assert manager.call("Rollback", token="")["plan"]["applied"]

    go(10)
    few = len(open_links(manager.process.pid))
    go(40)
    end = time.monotonic() + 30
    while len(open_links(manager.process.pid)) > few:  # a thread may be writing the history of sets
        assert time.monotonic() < end, open_links(manager.process.pid)
    assert [s["label"] for s in manager.json("list")] == ["a"]


def test_a_service_on_demand_arms_and_is_good_so(manage: Manage, place: Path) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    card = f'activation = "on-demand"\nsockets = "{place}/s"\n' + SLEEP
    manager.write("b", card)
    assert [(c["label"], c["feels"]) for c in manager.call("Plan")["plan"]["changes"]] == [("b", "arms")]
    done = manager.ctl("apply", "--confirm", "60")
    assert done.returncode == 0, done
    assert manager.show("b")["state"] == "waiting"
    manager.write("c", card)
    refused = manager.ctl("apply", "--confirm", "60")
    assert refused.returncode == 155
    assert "c has failed" in refused.stdout
    assert [s["label"] for s in manager.json("list")] == ["a", "b"]


def again(manager: Manager) -> Manager:
    """End a manager in good order, and start another one in its place."""
    assert manager.stop() == 0
    return Manager(manager.directory)


def test_rollback_works_after_a_restart_of_the_manager(place: Path) -> None:
    (place / "cards").mkdir()
    for label in ("a", "b", "web@"):
        (place / "cards" / f"{label}.toml").write_text(SLEEP)
    manager = Manager(place)
    try:
        manager.settle("a", "b")
        manager.write("a", OTHER)
        (manager.cards / "b.toml").unlink()
        manager.write("c", SLEEP)
        assert manager.ctl("apply").returncode == 0
        known = manager.json("rollback", "--list")
        manager = again(manager)
        manager.settle("a", "c")
        assert manager.json("rollback", "--list") == known
        pid = manager.show("c")["pid"]
        done = manager.ctl("rollback")
        assert done.returncode == 0, done
        assert "~ a (payload): restarts" in done.stdout
        assert manager.settle("a")["command"][-1] == "exec sleep infinity"
        assert manager.settle("b")["state"] == "running"
        assert pid not in [service["pid"] for service in manager.call("List", labels=[])["services"]]
        assert manager.ctl("rollback").returncode == 1  # there is none before that
        manager = again(manager)  # its files still hold what was undone: the steps lead nowhere from there
        assert len(manager.json("rollback", "--list")) == 1
        manager.await_said("the cards were changed while arje was away")
    finally:
        manager.stop()


def test_what_was_kept_and_is_not_ours_or_corrupt_is_not_believed(place: Path) -> None:
    (place / "cards").mkdir()
    (place / "cards/a.toml").write_text(SLEEP)
    manager = Manager(place, "--state-dir", str(place / "state"))
    try:
        manager.settle("a")
        manager.write("a", OTHER)
        assert manager.ctl("apply").returncode == 0
        manager.stop()
        kept = place / "state/sets"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        text = kept.read_bytes()
        for wrong in (text[:-2], text.replace(b"sleep infinity", b"sleep infinitY"), b"", b"{}"):
            kept.write_bytes(wrong)
            manager = Manager(place, "--state-dir", str(place / "state"))
            assert len(manager.json("rollback", "--list")) == 1
            manager.stop()
            manager.await_said("earlier sets of cards are not known")
        kept.write_bytes(text)
        manager = Manager(place, "--state-dir", str(place / "state"))
        assert len(manager.json("rollback", "--list")) == 2
    finally:
        manager.stop()


def test_a_directory_of_state_that_cannot_be_is_told_and_hurts_nobody(manage: Manage, place: Path) -> None:
    (place / "file").touch()
    manager = manage({"a": SLEEP}, "--state-dir", str(place / "file"))
    manager.settle("a")
    manager.write("a", OTHER)
    assert manager.ctl("apply").returncode == 0
    assert manager.ctl("rollback").returncode == 0
    assert manager.stop() == 0
    manager.await_said("rollback will not know of this step after a restart")
