"""arjectl as hands and scripts meet it: exit codes, JSON, columns, what it does with hostile text."""

from __future__ import annotations

import grp
import json
import os
import pty
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.ctl import words
from arje.ctl.arguments import parse, verb_first
from tests.conftest import ROOT, Manager, sh
from tests.ctl import until_state

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
ONCE = '[supervision]\nkind = "one-shot"\n'


def test_without_a_manager_it_says_which_socket_and_what_to_do(place: Path) -> None:
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(place / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 150
    assert str(place / "none") in done.stderr
    assert "arje --user" in done.stderr


def test_the_version_needs_no_manager(place: Path) -> None:
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(place / "none"), "version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.startswith("arjectl ")


def test_the_exit_codes(manage: Manage) -> None:
    manager = manage(
        {
            "up": SLEEP,
            "down": "enabled = false\n" + SLEEP,
            "bad": "enabled = false\n" + sh("exit 1") + ONCE,
            "needs": 'requires = ["up"]\n' + SLEEP,
            "degraded": "enabled = false\n" + sh("exec sleep infinity", 'cgroup = {memory_max = "1G"}'),
            "strict": "enabled = false\n" + sh("true", 'strict_caps = true\ncgroup = {memory_max = "1G"}'),
        },
        user=True,
    )
    manager.settle("needs")
    expected = {
        ("status",): 0,
        ("status", "up"): 0,
        ("status", "down"): 3,
        ("status", "nobody"): 4,
        ("why", "nobody"): 4,
        ("start", "nobody"): 5,
        ("start", "up"): 0,
        ("start", "bad"): 1,
        ("start", "degraded"): 0,
        ("restart", "--strict", "degraded"): 154,
        ("start", "strict"): 153,
        ("stop", "up"): 151,
        ("stop", "down"): 0,
        ("stop", "--force", "up"): 0,
        ("start",): 2,
        ("no-such-verb",): 2,
        ("ping",): 0,
        ("doctor",): 0,
        ("schema",): 0,
        ("list",): 0,
        ("ls", "u*"): 0,
        ("show", "up"): 0,
        ("degradations",): 0,
        ("logs", "-n", "5"): 0,
        ("logs", "-n", "-1"): 2,
        ("plan",): 0,
        ("plan", "up"): 0,
        ("plan", "strict"): 153,
        ("plan", "nobody"): 4,
        ("plan", "/no/such/card.toml"): 6,
        ("apply",): 0,
    }
    assert {command: manager.ctl(*command).returncode for command in expected} == expected


def test_a_slow_verb_is_given_up_on_request(manage: Manage) -> None:
    manager = manage(
        {"a": sh("trap '' TERM; echo up; while :; do sleep 0.01; done") + "[supervision]\nstop_timeout = 1\n"}
    )
    manager.await_line("a", "up")
    done = manager.ctl("--timeout", "0.2", "stop", "a")
    assert done.returncode == 152
    assert "goes on" in done.stderr


@pytest.mark.parametrize(
    "verb",
    [
        "status",
        "list",
        "show",
        "degradations",
        "doctor",
        "plan",
        "plan a",
        "plan /no/such.toml",
        "apply",
        "ping",
        "version",
        "schema",
        "status a",
        "why a",
        "start a",
        "restart a",
        "wait a",
        "timers",
        "trigger a",
        "a stop",
        "status b",
        "no-such-verb",
        "start",
    ],
)
def test_every_verb_answers_in_json(manage: Manage, verb: str) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    assert json.loads(manager.ctl(*verb.split(), "--json").stdout) is not None


def test_logs_in_json_are_one_object_per_line(manage: Manage) -> None:
    manager = manage({"a": sh("echo one; echo two") + ONCE})
    manager.settle("a")
    lines = manager.ctl("logs", "a", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]


def test_an_error_is_json_too_when_asked(manage: Manage) -> None:
    manager = manage({})
    assert json.loads(manager.ctl("--json", "status", "a").stdout)["error"] == "NoSuchService"
    assert json.loads(manager.ctl("start", "--json").stdout)["code"] == 2


def test_the_verb_may_follow_the_services(manage: Manage) -> None:
    manager = manage({"web": SLEEP, "db": SLEEP})
    manager.settle("web")
    before = manager.show("web")["pid"]
    assert manager.ctl("web", "db", "restart", "--strict").stdout == "web: running\ndb: running\n"
    assert manager.show("web")["pid"] != before
    assert verb_first(["--timeout", "5", "web", "stop"]) == ["--timeout", "5", "stop", "web"]
    assert parse(["web", "logs", "-n", "3", "db", "-f"]).labels == ["web", "db"]
    assert verb_first(["list", "restart"]) == ["list", "restart"], "a verb in front is the verb"


def test_a_wrong_verb_is_answered_with_the_nearest(place: Path) -> None:
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(place / "none"), "restrat"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "did you mean restart?" in done.stderr


def test_the_table_says_what_a_service_waits_for_and_why_it_failed(manage: Manage) -> None:
    manager = manage(
        {
            "front": 'requires = ["net-up"]\n' + SLEEP,
            "net-up": 'requires = ["dev"]\n' + SLEEP,
            "dev": 'only_if_exists = "/no/such"\n' + SLEEP,
            "other": 'requires = ["broken"]\n' + SLEEP,
            "broken": '[payload]\nexec = "/no/such/device"\n',
            "worker": sh("exit 3") + '[supervision]\nrestart = "on-failure"\ninitial = 1000\nmax = 1000\n',
            "limit": sh("exit 3")
            + '[supervision]\nrestart = "on-failure"\ninitial = 0\nrate_limit = {starts = 2, interval = 60}\n',
            "skipped": 'only_if_exists = "/no/such"\n' + SLEEP,
        }
    )
    for label, state in {"broken": "failed", "other": "failed", "worker": "backoff", "limit": "failed"}.items():
        until_state(manager, label, state)
    lines = manager.ctl().stdout.splitlines()
    rows = {line.split()[1]: line for line in lines[2:]}
    assert rows["front"].endswith("needs net-up <- dev (stopped)")
    assert rows["net-up"].endswith("needs dev (stopped)")
    assert "dependency: other requires broken, which failed" in rows["other"]
    assert rows["broken"].endswith("setup at exec: /no/such/device: ENOENT (No such file or directory)")
    assert re.search(r"backoff \d+m.* exited 3, next start .*\d\d:\d\d:\d\d$", rows["worker"])
    assert rows["limit"].endswith("start-limit: 2 in 60 s, last: exited 3")
    assert rows["skipped"].endswith("skipped: only_if_exists = /no/such: there is no such path")
    assert "needs net-up ← dev (stopped)" in on_terminal(manager)


def test_the_detail_says_why_it_runs_as_whom_and_beside_what(manage: Manage) -> None:
    manager = manage(
        {
            "front": 'description = "Front end"\nrequires = ["db"]\nwants = ["cache"]\n' + SLEEP,
            "db": "enabled = false\n" + sh("exec sleep infinity", 'cgroup = {path = "db"}'),
            "cache": '[payload]\nexec = "/no/such/cache"\n',
        }
    )
    manager.settle("front")
    shown = manager.ctl("status", "db", "front").stdout
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    for expected in (
        "front - Front end",
        "Activation: needed by front; front is enabled in cards.d",
        f"Main PID: {manager.show('db')['pid']} (sleep), user {user}:{group}",
        "ready after",
        *(["tasks 1"] if manager.show("db")["cgroup"] else []),
        "Deps: needs db (running); wants cache (failed)",
        "Deps: needed by front",
    ):
        assert expected in shown
    assert "needs db \x1b[32m●\x1b[0m (" in on_terminal(manager, "status", "front")
    manager.ctl("restart", "db")
    shown = manager.ctl("status", "db").stdout
    assert re.search(r"explicitly restarted by uid \d+ \(python\S*, pid \d+\)", shown)
    assert "last: signal TERM at" in shown


def test_the_doctor_groups_features_and_names_remedies(manage: Manage) -> None:
    manager = manage({})
    shown = manager.ctl("doctor").stdout
    report = manager.json("doctor")
    features = report["features"]
    assert shown.splitlines()[0].startswith(f"{report['host']['name']}: Linux {report['host']['kernel']}")
    assert shown.splitlines()[1] == (
        f"{sum(f['available'] for f in features)} of {len(features)} features can be had here."
    )
    titles = ("Namespaces", "Files", "Identities", "Network", "Control groups", "Limits", "Filters")
    places = [shown.index(f"\n{title}: ") for title in titles]
    assert places == sorted(places)
    assert "Other: " not in shown
    for feature in features:
        assert feature["available"] or feature["remedy"] in shown


def test_degradations_are_counted_over_all_services(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity", 'cgroup = {memory_max = "1G"}'), "b": SLEEP}, user=True)
    manager.settle("a", "b")
    count = sum(len(lost) for lost in manager.json("degradations").values())
    assert count
    assert manager.ctl("degradations").stdout.splitlines()[-1].startswith(f"{count} degradation")


def test_a_pipe_gets_plain_columns(manage: Manage) -> None:
    manager = manage({"a": 'description = "the a"\n' + SLEEP, "b": "enabled = false\n" + SLEEP})
    pid = manager.settle("a")["pid"]
    lines = manager.ctl().stdout.splitlines()
    assert lines[0].startswith("arje ")
    assert "2 services: 1 running, 1 stopped" in lines[0]
    assert lines[1].split() == ["PID", "SERVICE", "STATE", "SINCE", "READY", "RST", "ISO", "MEM", "DESCRIPTION"]
    assert lines[2].split()[:3] == [str(pid), "a", "running"]
    assert lines[2].endswith("the a")
    assert lines[3].endswith("disabled")
    assert all(line.isascii() for line in lines)


def on_terminal(manager: Manager, *command: str, **environment: str) -> str:
    """Return what arjectl writes to a terminal."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), *command]
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | environment
    process = subprocess.Popen(words, stdout=theirs, stdin=theirs, stderr=theirs, cwd=ROOT, env=env)
    os.close(theirs)
    data = b""
    try:
        while more := os.read(ours, 65536):
            data += more
    except OSError:  # EIO: nobody holds the other end any more
        pass
    process.wait()
    os.close(ours)
    return data.decode()


def test_a_terminal_gets_glyphs_and_colours_unless_told_not_to(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    assert "\x1b[32m●" in on_terminal(manager)
    assert "●" in (without := on_terminal(manager, NO_COLOR="1"))
    assert "\x1b" not in without
    assert "●" not in on_terminal(manager, "--plain")


def test_what_a_service_says_cannot_drive_the_terminal(manage: Manage) -> None:
    manager = manage({"a": sh(r"printf '\033[31mred\007\342\200\256\n'") + ONCE})
    manager.settle("a")
    for shown in (
        manager.ctl("logs", "a").stdout,
        manager.ctl("status", "a").stdout,
        on_terminal(manager, "logs", "a"),
    ):
        assert r"\x1b[31mred\x07\u202e" in shown


def test_the_detail_names_what_was_asked_and_not_granted(manage: Manage) -> None:
    manager = manage(
        {"a": sh("exec sleep infinity", 'namespaces = ["mount"]\ncgroup = {memory_max = "64M"}')}, user=True
    )
    manager.settle("a")
    shown = manager.ctl("status", "a").stdout
    (line,) = [line for line in shown.splitlines() if "! cgroup.memory_max" in line]
    assert "asked: 67108864" in line
    assert "got: none" in line
    assert "remedy:" in shown
    assert "+ mount" in shown
    assert "set-up" in shown
    (line,) = [line for line in shown.splitlines() if "Set-up: " in line]
    assert re.search(r"ms: plan [0-9.]+, cgroup [0-9.]+, clone [0-9.]+, configure .*exec [0-9.]+$", line)


def test_a_failed_start_says_where_why_and_what_to_type_next(manage: Manage) -> None:
    manager = manage({"a": '[payload]\nexec = "/no/such/program"\n'})
    manager.settle("a")
    done = manager.ctl("status", "a")
    assert done.returncode == 3
    for expected in (
        "setup at exec: /no/such/program: ENOENT (No such file or directory)",
        "payload.exec (",
        "arjectl start a",
    ):
        assert expected in done.stdout


def test_logs_follow_until_the_reader_leaves(manage: Manage) -> None:
    manager = manage(
        {"a": sh("echo first; read x; exec sleep infinity", 'stdio = {stdin = "null"}'), "b": sh("echo other")}
    )
    manager.await_line("a", "first")
    words = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "logs", "-f", "a"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert "first" in process.stdout.readline()
        manager.call("Restart", labels=["a"])
        assert "first" in process.stdout.readline()
        process.terminate()


def test_lengths_of_time_and_sizes_are_short() -> None:
    assert [words.duration(s) for s in (0.4, 59, 60, 842, 9999, 100000)] == [
        "0s",
        "59s",
        "1m 00s",
        "14m 02s",
        "2h 46m",
        "1d 3h",
    ]
    assert [words.size(n) for n in (None, 0, 1023, 1200, 40000000, 5 * 2**40)] == [
        "-",
        "0",
        "1023",
        "1.2K",
        "38M",
        "5.0T",
    ]


def test_names_and_patterns_may_be_mixed(manage: Manage) -> None:
    manager = manage({"web1": SLEEP, "web2": SLEEP, "db": SLEEP})
    assert [s["label"] for s in manager.json("list", "db", "web*")] == ["db", "web1", "web2"]
    assert manager.ctl("list", "x*").returncode == 4
