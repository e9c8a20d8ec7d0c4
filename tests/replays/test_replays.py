"""Recorded runs of real managers, played again: the same inputs lead to the same, others are told from them.

Every ``*.jsonl`` beside this file is a run that once was, and has to lead to the same for ever: a bug report becomes a
test when its recording is put here.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from arje.replay.command import main_replay
from arje.replay.play import replay
from arje.replay.tape import NotARecording, Recording, read
from arje.replay.writer import Writer
from tests.conftest import Manager, needs_root, sh
from tests.manager.test_readiness import py

Manage = Callable[..., Manager]
HERE = Path(__file__).parent
KEPT = sorted(HERE.glob("*.jsonl"))
SLEEP = sh("exec sleep infinity")
OFF = "enabled = false\n"
ONCE = '[supervision]\nkind = "one-shot"\n'
#: Where a run of these tests leaves its recordings, to be kept: ARJE_KEEP_RECORDINGS=DIR.
KEEP = os.environ.get("ARJE_KEEP_RECORDINGS")
LIVES = {
    "crashes": sh("exit 3") + '[supervision]\nrestart = "on-failure"\ninitial = "20ms"\njitter = 0.5\n'
    "rate_limit = {starts = 4, interval = 10}\n",
    "tells": py('say("STATUS=up\\nREADY=1"); time.sleep(3600)', 'readiness = "notify"\nstop_timeout = "2s"'),
    "hooked": SLEEP + '[hooks]\npre = ["/bin/true"]\npost = ["/bin/true"]\ncleanup = ["/bin/false"]\n',
    "broken": SLEEP + '[hooks]\npre = ["/bin/false"]\n',
    "logs": sh("echo it is on; exec sleep infinity") + '[supervision]\nreadiness = {log = "is on"}\n',
    "probed": SLEEP + '[supervision]\nreadiness = {exec = ["/bin/true"]}\n',
    "deaf": sh("trap '' TERM; echo deaf; while :; do read x < /dev/zero; sleep 0.05; done")
    + '[supervision]\nreadiness = {log = "deaf"}\nstop_timeout = "200ms"\n',
    "needs": 'requires = ["tells"]\n' + SLEEP,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let arje's log of what is played say nothing."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def recorded(manage: Manage, place: Path, cards: dict[str, str]) -> tuple[Manager, Path]:
    """Start a manager whose run is recorded."""
    file = place / "run.jsonl"
    return manage(cards, "--record", str(file)), file


def kept(file: Path, name: str) -> None:
    if KEEP:
        shutil.copy(file, Path(KEEP) / f"{name}.jsonl")


def same(file: Path) -> Recording:
    """Play a recording and return it; it is to lead to the same, and to leave nobody out."""
    found = read(file)
    result = replay(found)
    assert [str(each) for each in result.differences] == []
    assert result.left_out == {}
    assert result.changes == len(found.of("became"))
    return found


def change(file: Path, which: Callable[[dict[str, Any]], bool], to: Callable[[dict[str, Any]], None] | None) -> Path:
    """Write a recording in which the first line of a kind is another one, or is missing."""
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    hit = next(line for line in lines if which(line))
    if to is None:
        lines.remove(hit)
    else:
        to(hit)
    changed = file.with_name("changed.jsonl")
    changed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return changed


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_once_was_is_the_same_for_ever(file: Path) -> None:
    same(file)


def test_a_run_with_every_kind_of_life_is_the_same_again(manage: Manage, place: Path) -> None:
    manager, file = recorded(manage, place, LIVES)
    manager.until("crashes", lambda crashes: crashes["state"] == "failed")
    manager.settle(*LIVES)
    manager.call("Restart", labels=["hooked"])
    manager.call("Stop", labels=["deaf"], force=False)
    assert manager.show("deaf")["last_exit"] == "signal KILL"
    manager.call("Stop", labels=["tells"], force=True)
    manager.call("Start", labels=["needs"])
    manager.settle("needs")
    assert manager.stop() == 0
    kept(file, "lives")
    found = same(file)
    assert found.end == ""
    kinds = {line["is"] for line in found.lines}
    assert kinds >= {"verb", "born", "exit", "closed", "answer", "said", "lot", "became", "end"}


#: What it does with its first connection, and then ends.
ONE = """
import os, socket
connection, _ = socket.socket(fileno=3).accept()
connection.sendall(b"heard")
connection.close()
"""


#: Leaves a file with arje, and says in its next life that it is back.
STORES = """
if "LISTEN_FDS" not in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect(os.environ["NOTIFY_SOCKET"])
        socket.send_fds(to, [b"FDSTORE=1"], [os.memfd_create("kept")])
say("READY=1\\nSTATUS=given " + os.environ.get("LISTEN_FDS", "nothing"))
time.sleep(3600)
"""


def python(script: str) -> str:
    return f'[payload]\nexec = "/usr/bin/python3"\nargv = {json.dumps(["-c", script])}\n'


def visit(path: Path) -> None:
    """Be served once."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        assert client.recv(10) == b"heard"


def test_sockets_paths_and_changes_of_files_are_the_same_again(manage: Manage, place: Path) -> None:
    idle = '{when = "on-demand", idle_timeout = "200ms"}'
    cards = {
        "lazy": f'activation = "on-demand"\nsockets = ["unix:{place}/lazy"]\n' + python(ONE),
        "idle": f'activation = {idle}\nsockets = ["unix:{place}/idle"]\n'
        + python(f"{ONE}import time; time.sleep(10**6)"),
        "passed": f'sockets = ["unix:{place}/passed"]\n' + SLEEP,
        "taken": OFF + f'sockets = ["unix:{place}/passed"]\n' + SLEEP,
        "needs": 'requires = ["lazy"]\n' + SLEEP,
        "stores": "fd_store_max = 2\n" + py(STORES, 'readiness = "notify"'),
        "path": f'paths = ["exists:{place}/spool/x"]\n' + sh(f"rm {place}/spool/x"),
        "edge": f'paths = ["changed:{place}/spool"]\n' + sh("true"),
        "feels": SLEEP + f'[supervision]\non_change = ["{place}/conf"]\ninitial = 0\n',
        "greedy": sh("x=$(head -c 48M /dev/zero | tr '\\\\0' x); echo taken; exec sleep infinity")
        + '[supervision]\nmax_memory = "1G"\nmemory_check = "50ms"\n',
    }
    (place / "spool").mkdir()
    manager, file = recorded(manage, place, cards)
    manager.settle(*cards)
    for number in range(2):
        visit(place / "lazy")
        manager.until("lazy", lambda lazy: lazy["state"] == "waiting" and not lazy["restarts"])
        (place / "spool/x").touch()
        manager.until("path", lambda path: sum(m["state"] == "waiting" for m in path["history"]) == number + 2)  # noqa: B023
    visit(place / "idle")
    manager.until("idle", lambda idle: idle["state"] == "waiting" and len(idle["history"]) > 4)
    manager.call("Start", labels=["taken"])
    assert manager.settle("taken")["state"] == "failed"
    (place / "conf").write_text("new")
    manager.until("feels", lambda feels: feels["state"] == "running" and feels["restarts"] == 1)
    manager.until("stores", lambda stores: stores["stored"])
    manager.call("Restart", labels=["passed", "stores"])
    manager.until("stores", lambda stores: stores["status_text"] == "given 1")
    manager.call("Stop", labels=["lazy"], force=True)
    assert manager.stop() == 0
    kept(file, "sockets")
    same(file)


def test_live_conditions_are_the_same_again(manage: Manage, place: Path) -> None:
    live = f'conditions.path_exists = "{place}/x"\nlive_conditions = '
    cards = {
        "stops": live + "true\n" + SLEEP,
        "patient": live + '{grace = "1h"}\n' + SLEEP,
        "hasty": live + '{grace = "100ms", renewed = "restart"}\n' + SLEEP,
        "needs": 'requires = ["stops"]\n' + SLEEP,
    }
    manager, file = recorded(manage, place, cards)
    manager.until("stops", lambda stops: stops["state"] == "waiting" and stops["live_conditions"].startswith("off"))
    for _ in range(2):
        (place / "x").touch()
        for label in cards:
            manager.until(label, lambda found: found["state"] == "running")
        (place / "x").unlink()
        for label in ("stops", "needs", "hasty"):
            manager.until(label, lambda found: found["state"] == "waiting")
    assert manager.stop() == 0
    kept(file, "conditions")
    same(file)


@needs_root
def test_isolation_that_drifts_and_is_mended_is_the_same_again(manage: Manage, place: Path) -> None:
    cards = {"a": sh("exec sleep infinity", "nice = 5"), "needs": 'requires = {a = "undegraded"}\n' + SLEEP}
    manager, file = recorded(manage, place, cards)
    manager.settle("a", "needs")
    os.setpriority(os.PRIO_PROCESS, manager.show("a")["pid"], 0)
    manager.ctl("degradations", "a")
    manager.until("needs", lambda needs: needs["state"] in ("failed", "waiting"))
    assert "a: nice is mended: 5" in manager.ctl("heal", "a").stdout
    manager.until("needs", lambda needs: needs["state"] == "running")
    assert manager.stop() == 0
    kept(file, "healed")
    assert [line["of"] for line in same(file).of("granted")] == ["a", "a"]


def test_limits_that_are_hit_and_groups_are_the_same_again(manage: Manage, place: Path) -> None:
    group = '[supervision]\nrestart = "always"\ninitial = 0\nbudget = {group = "g", restarts = 3}\n'
    limit = '[supervision]\nrestart = "always"\ninitial = 0\nrate_limit = {starts = 2, action = "target:rescue"}\n'
    cards = {
        "one": OFF + sh("exit 1") + group,
        "other": SLEEP + group,
        "flaky": OFF + sh("exit 1") + limit,
        "rescue": OFF + 'payload = "virtual"\n',
    }
    manager, file = recorded(manage, place, cards)
    manager.settle("other")
    manager.call("Start", labels=["one"])
    manager.until("one", lambda one: one["state"] == "failed")
    manager.call("Start", labels=["flaky"])
    manager.until("other", lambda other: other["state"] == "stopped")
    assert manager.stop() == 0
    kept(file, "limits")
    same(file)


def test_timers_conflicts_and_an_apply_are_the_same_again(manage: Manage, place: Path) -> None:
    cards = {
        "timed": sh("true") + ONCE + '[timer]\nevery = "50ms"\njitter = "10ms"\nafter_start = 0\n',
        "daily": OFF + sh("true") + ONCE + '[timer]\ncalendar = "daily"\n',
        "one": SLEEP,
        "other": OFF + 'conflicts = ["one"]\n' + SLEEP,
        "goes": SLEEP,
        "changes": SLEEP,
    }
    manager, file = recorded(manage, place, cards)
    manager.until("timed", lambda timed: timed["timer"]["runs"] >= 3)
    manager.call("Start", labels=["daily"])
    manager.call("Start", labels=["other"])
    manager.settle("one")
    assert manager.show("one")["state"] == "stopped"
    (manager.cards / "goes.toml").unlink()
    manager.write("changes", sh("exec sleep 3600"))
    manager.write("comes", 'requires = ["changes"]\n' + SLEEP)
    assert manager.call("Apply", token="")["plan"]["applied"]
    assert manager.settle("comes")["state"] == "running"
    assert manager.stop() == 0
    kept(file, "changes")
    same(file)


def test_a_run_that_is_told_otherwise_differs_and_says_where(
    manage: Manage, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manager, file = recorded(manage, place, {"a": sh("read x; exit 3", "stdio.stdin = 'null'"), "b": SLEEP})
    manager.until("a", lambda a: a["state"] == "failed")
    manager.settle("b")
    manager.call("Stop", labels=["b"], force=False)
    assert manager.stop() == 0
    same(file)
    exit = change(file, lambda line: line["is"] == "exit", lambda line: line.update(exit=["exited", 0]))
    assert main_replay([str(exit), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [each["service"] for each in told["differences"]] == ["a"]
    first = told["differences"][0]
    assert (first["expected"]["new"], first["got"]["new"]) == ("failed", "done")
    assert "exited 3" in first["expected"]["why"]
    verb = change(file, lambda line: line.get("verb") == "unwant", None)
    assert main_replay([str(verb)]) == 1
    told = capsys.readouterr().out
    assert "b, its change 4, first differs" in told
    assert "a, its change" not in told


def test_a_recording_of_a_manager_that_was_killed_is_readable(manage: Manage, place: Path) -> None:
    manager = Manager(fresh(place, {"a": SLEEP, "b": sh("exit 1")}), "--record", str(place / "run.jsonl"))
    manager.until("b", lambda b: b["state"] == "failed")
    manager.settle("a")
    pid = manager.show("a")["pid"]
    manager.process.send_signal(signal.SIGKILL)
    manager.process.wait(30)
    manager.client.close()
    manager.log.close()
    os.kill(pid, signal.SIGKILL)
    found = read(place / "run.jsonl")
    assert found.end is None
    assert replay(found).differences == ()
    cut = place / "cut.jsonl"
    cut.write_bytes((place / "run.jsonl").read_bytes()[:-20])
    assert replay(read(cut)).differences == ()


def fresh(place: Path, cards: dict[str, str]) -> Path:
    directory = place / "killed"
    (directory / "cards").mkdir(parents=True)
    for label, text in cards.items():
        (directory / "cards" / f"{label}.toml").write_text(text)
    return directory


def test_what_cannot_be_recorded_is_told_and_not_compared(manage: Manage, place: Path) -> None:
    cards = {
        "listens": f'sockets = ["unix:{place}/x"]\nactivation = "per-connection"\n' + sh("true"),
        "after": 'after = ["listens"]\n' + SLEEP,
        "alone": SLEEP,
    }
    manager, file = recorded(manage, place, cards)
    manager.settle(*cards)
    assert manager.stop() == 0
    result = replay(read(file))
    assert result.differences == ()
    assert result.services == 1
    assert result.left_out == {
        "listens": "connections that are served one by one",
        "after": "it has to do with listens",
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty"),
        ("hello\n", ":1: this is no line of a recording"),
        ('{"is": "card", "t": 0}\n', ":1: the head is missing"),
        ('{"is": "head", "t": 0, "format": 99, "arje": "9.9"}\n', "it is in format 99 of 9.9"),
        (
            '{"is": "head", "t": 0, "format": 1, "now": 0, "wall": 0}\n\0\0\n{"is": "end", "t": 1}\n',
            ":2: this is no line",
        ),
        (
            '{"is": "head", "t": 0, "format": 1, "now": 0, "wall": 0}\n'
            '{"is":"card","t":0,"key":"a","card":["c","os:x",{}]}\n\n',
            ":2: a card of another arje",
        ),
        (
            '{"is": "head", "t": 0, "format": 1, "now": 0, "wall": 0}\n'
            '{"is":"verb","t":0,"step":1,"verb":"rm","args":[],"more":{}}\n\n',
            "it means nothing",
        ),
    ],
)
def test_what_is_no_recording_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(content)
    assert main_replay([str(file)]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_replay([str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_recording_that_grows_too_large_ends_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text("the last one")
    writer = Writer(file, largest=2000)
    writer.put({"t": 0, "is": "head", "format": 1, "now": 0, "wall": 0})
    for number in range(100):
        writer.put({"t": number, "is": "lot", "of": "x" * 50, "n": number, "value": 0.5})
    writer.close(100)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run.jsonl.1").read_text() == "the last one"
    found = read(file)
    assert found.end == "the recording is larger than 2000 bytes"
    assert file.stat().st_size < 2200


def test_a_card_of_none_is_no_recording(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    head = {"is": "head", "t": 0, "format": 1, "now": 0, "wall": 0}
    file.write_text("".join(json.dumps(line) + "\n" for line in (head, {"is": "card", "t": 0, "key": "a", "card": 3})))
    with pytest.raises(NotARecording, match="what should be a card is none"):
        read(file)
