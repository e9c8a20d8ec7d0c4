"""Paths that start services: because they are there, were filled, or have changed. Nothing is missed, nothing is polled."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Manager, needs_root, sh
from tests.manager.dead_mount import dead_mount

Manage = Callable[..., Manager]


def armed(manager: Manager, label: str = "job") -> dict[str, object]:
    """Wait until the service waits for its paths."""
    return manager.until(label, lambda job: job["awaits"] != [])


def test_a_path_that_comes_to_be_starts_the_service(manage: Manage, place: Path) -> None:
    script = f"rm {place}/not/yet/there/x; echo ran"
    manager = manage({"job": sh(script, rest=f'paths = "exists:{place}/not/yet/there/x"')})
    waiting = manager.settle("job")
    assert (waiting["state"], waiting["up"], waiting["awaits"]) == (
        "waiting",
        True,
        [f"exists:{place}/not/yet/there/x"],
    )
    assert f"waits for exists:{place}/not/yet/there/x" in manager.ctl("status").stdout
    (place / "not/yet/there").mkdir(parents=True)
    (place / "not/yet/there/x").touch()
    manager.await_line("job", "ran")
    history = armed(manager)["history"]
    assert isinstance(history, list)
    assert f"exists:{place}/not/yet/there/x" in [entry["detail"] for entry in history]


def test_a_path_that_is_there_already_starts_it_at_once(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    manager = manage({"job": sh(f"rm {place}/x; echo ran", rest=f'paths = "exists:{place}/x"')})
    manager.await_line("job", "ran")
    armed(manager)


def test_a_pattern_is_met_in_directories_that_come_later(manage: Manage, place: Path) -> None:
    manager = manage({"job": sh(f"rm {place}/*/in-*.txt; echo ran", rest=f'paths = "exists-glob:{place}/*/in-*.txt"')})
    armed(manager)
    (place / "box").mkdir()
    (place / "box/other.txt").touch()
    (place / "box/in-1.txt").touch()
    manager.await_line("job", "ran")


def test_a_spool_is_emptied_also_of_what_comes_during_the_run(manage: Manage, place: Path) -> None:
    script = f"set -- {place}/spool/*; echo took ${{1##*/}}; rm $1; read x < {place}/go"
    os.mkfifo(place / "go")
    watch = f'{{watch = "directory-not-empty:{place}/spool", make_directory = true, directory_mode = "0750"}}'
    manager = manage({"job": sh(script, rest=f"paths = [{watch}]")})
    armed(manager)
    assert stat.S_IMODE((place / "spool").stat().st_mode) == 0o750
    (place / "spool/1").touch()
    manager.await_line("job", "took 1")
    (place / "spool/2").touch()
    (place / "go").write_text("on\n")
    manager.await_line("job", "took 2")
    (place / "go").write_text("on\n")
    armed(manager)
    assert manager.lines("job") == ["took 1", "took 2"]


@pytest.mark.parametrize("how", ["write", "replace", "during the run"])
def test_a_file_that_changes_starts_the_service(manage: Manage, place: Path, how: str) -> None:
    (place / "file").write_text("old")
    os.mkfifo(place / "go")
    manager = manage(
        {"job": sh(f"cat {place}/file; echo; read x < {place}/go", rest=f'paths = "changed:{place}/file"')}
    )
    armed(manager)
    if how == "replace":
        (place / "other").write_text("new")
        (place / "other").rename(place / "file")
    else:
        (place / "file").write_text("new")
    manager.await_line("job", "new")
    if how == "during the run":
        (place / "file").write_text("newer")
        (place / "go").write_text("on\n")
        manager.await_line("job", "newer")
    (place / "go").write_text("on\n")
    armed(manager)


def test_changed_waits_until_a_writer_is_done_and_modified_does_not(manage: Manage, place: Path) -> None:
    for name in ("one", "two"):
        (place / name).write_text("")
    cards = {
        "changed": sh("echo ran", rest=f'paths = "changed:{place}/one"'),
        "modified": sh("echo ran", rest=f'paths = "modified:{place}/two"'),
    }
    manager = manage(cards)
    armed(manager, "changed")
    armed(manager, "modified")
    with (place / "one").open("w") as one, (place / "two").open("w") as two:
        for file in (one, two):
            file.write("half")
            file.flush()
        manager.await_line("modified", "ran")
        assert manager.lines("changed") == []
    manager.await_line("changed", "ran")


def test_a_directory_changes_with_what_is_in_it(manage: Manage, place: Path) -> None:
    (place / "d").mkdir()
    manager = manage({"job": sh("echo ran", rest=f'paths = "changed:{place}/d"')})
    armed(manager)
    (place / "d/x").touch()
    manager.await_line("job", "ran")


def test_who_leaves_the_sign_as_it_is_is_given_up(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    limit = "[activation.trigger_limit]\ntimes = 5\ninterval = '1h'\n"
    manager = manage({"job": sh("echo ran", rest=f'paths = "exists:{place}/x"\n{limit}')})
    failed = manager.until("job", lambda job: job["state"] == "failed")
    assert failed["failure"]["detail"] == "trigger-limit: 5 starts in 3600 s"
    assert manager.lines("job") == ["ran"] * 5


def test_a_stop_ends_the_watch_and_a_new_card_changes_it(manage: Manage, place: Path) -> None:
    manager = manage({"job": sh("echo ran", rest=f'paths = "changed:{place}/a"')})
    armed(manager)
    manager.write("job", sh("echo ran", rest=f'paths = "changed:{place}/b"'))
    manager.call("Apply")
    manager.until("job", lambda job: job["awaits"] == [f"changed:{place}/b"])
    (place / "b").touch()
    manager.await_line("job", "ran")
    armed(manager)
    manager.call("Stop", labels=["job"], force=False)
    assert manager.show("job")["state"] == "stopped"
    listed = manager.json("paths")
    assert listed == [{"path": f"changed:{place}/b", "service": "job", "state": "stopped", "watched": False}]
    assert "not watched" in manager.ctl("list-paths").stdout


def test_paths_and_sockets_start_the_same_service(manage: Manage, place: Path) -> None:
    rest = f'activation = "on-demand"\nsockets = "fifo:{place}/f"\npaths = "exists:{place}/x"'
    manager = manage(
        {"job": sh(f"echo $LISTEN_FDS; rm -f {place}/x; [ -e {place}/x ] || read w <&3; echo got $w", rest=rest)}
    )
    waiting = armed(manager)
    assert waiting["awaits"] == [f"fifo:{place}/f", f"exists:{place}/x"]
    (place / "f").write_text("word\n")
    manager.await_line("job", "got word")


@needs_root
def test_a_mount_that_does_not_answer_holds_nobody_up(manage: Manage, place: Path) -> None:
    with dead_mount(place / "dead"):
        cards = {
            "job": sh("echo ran", rest=f'paths = "exists:{place}/dead/x"'),
            "listens": sh("echo ran", rest=f'sockets = "unix:{place}/dead/s"'),
            "other": sh("exec sleep infinity"),
        }
        manager = manage(cards)
        assert manager.settle("other")["state"] == "running"
        assert manager.show("job")["state"] == "waiting"
        for label in ("job", "listens"):
            assert manager.call("Stop", labels=[label], force=False)["results"][0]["result"] == "done"
        assert manager.stop() == 0
