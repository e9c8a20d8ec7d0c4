"""What sticks: enabled, masked, pinned; written down where a person can see and undo it, and in force at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.supervisor import stick
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def dropin(manager: Manager, label: str) -> Path:
    return manager.cards / f"{label}.card.d" / "50-arjectl.toml"


def again(manager: Manager) -> Manager:
    """The next manager on the same directories."""
    assert manager.stop() == 0, manager.said()
    return Manager(manager.directory)


def test_what_is_disabled_is_so_for_the_next_manager_and_in_a_file_that_says_it(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": SLEEP})
    pid = manager.settle("a")["pid"]
    done = manager.ctl("disable", "a")
    assert (done.returncode, done.stdout) == (0, f"a: disabled ({dropin(manager, 'a')})\n")
    assert "enabled = false" in dropin(manager, "a").read_text()
    assert (manager.show("a")["enabled"], manager.show("a")["pid"]) == (False, pid)
    assert manager.ctl("plan").stdout == "The cards on disk are the ones in force.\n"
    assert manager.ctl("is-enabled", "a").stdout == "disabled\n"
    second = again(manager)
    try:
        assert (second.settle("a")["state"], second.settle("b")["state"]) == ("stopped", "running")
        assert second.ctl("enable", "--now", "a").returncode == 0
        assert (second.show("a")["state"], second.show("a")["enabled"]) == ("running", True)
        assert str(dropin(second, "a")) in second.ctl("status", "a").stdout
    finally:
        assert second.stop() == 0


def test_undoing_it_by_hand_is_a_change_on_disk_like_any_other(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.ctl("disable", "a")
    dropin(manager, "a").unlink()
    assert manager.show("a")["card_on_disk"] == "changed"
    (change,) = manager.call("Plan")["plan"]["changes"]
    assert (change["label"], change["feels"], change["fields"]) == ("a", "nothing", ["enabled"])
    assert manager.call("Apply")["plan"]["applied"]
    assert manager.show("a")["enabled"]


def test_what_else_has_changed_on_disk_waits_for_apply(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.write("a", 'description = "new"\n' + SLEEP)
    assert manager.ctl("disable", "a").returncode == 0
    found = manager.show("a")
    assert (found["enabled"], found["description"], found["card_on_disk"]) == (False, "", "changed")
    assert manager.call("Plan")["plan"]["changes"][0]["fields"] == ["description"]
    manager.write("a", "[payload")
    assert manager.ctl("enable", "a").returncode == 0
    assert manager.show("a")["enabled"]


def test_a_masked_service_starts_for_nobody_and_says_why(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": 'requires = ["a"]\nenabled = false\n' + SLEEP})
    manager.settle("a")
    assert manager.ctl("mask", "--now", "a").returncode == 0
    assert manager.show("a")["state"] == "stopped"
    done = manager.ctl("start", "a")
    assert done.returncode == 1
    assert f"masked by {dropin(manager, 'a')}" in done.stdout
    assert manager.call("Start", labels=["b"])["results"][0]["result"] == "failed"
    assert manager.show("a")["masked"] == str(dropin(manager, "a"))
    assert manager.ctl("is-enabled", "a").stdout == "masked\n"
    assert "masked" in manager.ctl("status").stdout
    assert "masked by" in manager.ctl("enable", "a").stdout
    manager.ctl("stop", "--force", "b")
    assert manager.ctl("unmask", "a").returncode == 0
    assert not dropin(manager, "a").parent.exists()
    assert manager.ctl("start", "a").returncode == 0


def test_a_link_to_null_in_the_card_s_place_is_a_mask_for_the_next_manager(manage: Manage, place: Path) -> None:
    (place / "low").mkdir()
    (place / "low" / "a.toml").write_text('description = "low"\n' + SLEEP)
    manager = manage({}, "--cards", str(place / "low"))
    assert manager.settle("a")["state"] == "running"
    (place / "low" / "b.toml").symlink_to("/dev/null")
    (place / "low" / "a.toml").rename(manager.cards / "a.toml")
    (place / "low" / "a.toml").symlink_to("/dev/null")
    assert manager.call("Plan")["plan"]["problems"] == []
    assert manager.call("Apply")["plan"]["applied"]
    found = manager.show("a")
    assert (found["masked"], found["description"]) == (str(place / "low" / "a.toml"), "low")
    assert manager.ctl("unmask", "a").returncode == 0
    assert (manager.show("a")["masked"], (place / "low" / "a.toml").is_symlink()) == (None, False)
    assert manager.show("b")["state"] == "stopped"


def test_pinned_stopped_only_a_hand_starts_it(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": 'requires = ["a"]\n' + SLEEP})
    manager.settle("b")
    manager.ctl("stop", "--force", "a")
    assert manager.ctl("pin", "a").stdout == f"a: pinned stopped ({dropin(manager, 'a')})\n"
    assert manager.ctl("start", "b").returncode == 1
    assert (manager.show("b")["state"], manager.show("a")["state"]) == ("waiting", "stopped")
    assert "pinned stopped" in manager.ctl("status").stdout
    assert manager.ctl("start", "a").returncode == 0
    assert manager.settle("b")["state"] == "running"
    assert manager.ctl("unpin", "a").returncode == 0
    assert not dropin(manager, "a").exists()


def test_pinned_stopped_it_stays_so_at_the_next_boot(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.ctl("stop", "a")
    manager.ctl("pin", "a")
    second = again(manager)
    try:
        assert second.settle("a")["state"] == "stopped"
    finally:
        assert second.stop() == 0


def test_pinned_started_the_end_of_another_does_not_stop_it(manage: Manage) -> None:
    manager = manage({"a": sh("trap 'exit 3' TERM; while :; do sleep 0.01; done"), "b": 'requires = ["a"]\n' + SLEEP})
    pid = manager.settle("b")["pid"]
    assert manager.ctl("pin", "b").stdout.startswith("b: pinned started")
    os.kill(manager.show("a")["pid"], signal.SIGKILL)
    assert manager.until("a", lambda a: a["state"] == "failed")
    assert (manager.show("b")["state"], manager.show("b")["pid"]) == ("running", pid)
    assert manager.ctl("stop", "b").returncode == 0


def test_a_failure_is_forgotten_when_it_is_reset(manage: Manage) -> None:
    manager = manage({"a": sh("exit 3"), "b": SLEEP})
    manager.until("a", lambda a: a["state"] == "failed")
    assert manager.ctl("is-system-running").stdout == "degraded\n"
    assert manager.ctl("reset-failed").returncode == 0
    assert (manager.show("a")["state"], manager.show("b")["state"]) == ("stopped", "running")
    assert (manager.ctl("is-system-running").returncode, manager.ctl("reset-failed", "a").returncode) == (0, 0)


def test_where_nothing_can_be_written_nothing_has_changed(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    (manager.cards / "a.card.d").write_text("in the way")
    done = manager.ctl("disable", "a")
    assert done.returncode == 1
    assert "cannot be written down" in done.stdout
    assert manager.show("a")["enabled"]
    (manager.cards / "a.card.d").unlink()


def test_what_a_person_wrote_into_the_drop_in_beside_it_stays(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    manager.ctl("disable", "a")
    (manager.cards / "a.card.d" / "10-mine.toml").write_text('description = "mine"\n')
    manager.ctl("pin", "a")
    text = dropin(manager, "a").read_text()
    assert "enabled = false" in text
    assert 'pinned = "started"' in text
    manager.ctl("enable", "a")
    manager.ctl("unpin", "a")
    assert (manager.cards / "a.card.d" / "10-mine.toml").exists()


@pytest.mark.parametrize(
    ("verb", "up", "down", "failed"),
    [
        ("is-active", 0, 3, 3),
        ("is-ready", 0, 3, 3),
        ("is-failed", 1, 1, 0),
        ("is-enabled", 0, 1, 0),
        ("is-degraded", 1, 1, 1),
    ],
)
def test_the_exit_codes_of_the_questions(manage: Manage, verb: str, up: int, down: int, failed: int) -> None:
    manager = manage({"up": SLEEP, "down": "enabled = false\n" + SLEEP, "failed": sh("exit 3")})
    manager.settle("up")
    manager.until("failed", lambda found: found["state"] == "failed")
    for label, code in {"up": up, "down": down, "failed": failed, "nobody": 4}.items():
        assert manager.ctl(verb, "--quiet", label).returncode == code, label
    assert manager.ctl(verb, "-q", "up").stdout == ""


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    stick.write_whole(tmp_path / "x", "old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        stick.write_whole(tmp_path / "x", "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "old")]
