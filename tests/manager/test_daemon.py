"""The manager's own house: its directory, its lock, its log, its cgroup, and how it begins and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.ctl.client import Client
from tests.conftest import NOBODY, ROOT, Manager, needs_root, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def arje(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "arje", "--user", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, **more)


def refused(place: Path, runtime: Path) -> str:
    """What a manager says that cannot begin: one line."""
    (place / "cards").mkdir(exist_ok=True)
    done = arje("--cards", str(place / "cards"), "--runtime-dir", str(runtime))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_directory_whose_socket_would_be_too_long_is_refused_in_a_line(place: Path) -> None:
    assert "at most 107 bytes" in refused(place, place / ("x" * 120))


def test_a_link_is_no_runtime_directory(place: Path) -> None:
    (place / "real").mkdir(mode=0o700)
    (place / "link").symlink_to(place / "real")
    assert "not a directory itself" in refused(place, place / "link")


def test_a_directory_that_others_can_write_to_is_refused(place: Path) -> None:
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    assert "chmod go-w" in refused(place, place / "open")


@needs_root
def test_another_user_s_directory_is_refused_and_its_links_are_not_followed(place: Path) -> None:
    theirs, victim = place / "theirs", place / "victim"
    theirs.mkdir(mode=0o700)
    victim.write_text("precious")
    (theirs / "lock").symlink_to(victim)
    os.chown(theirs, NOBODY, NOBODY)
    assert f"belongs to user {NOBODY}" in refused(place, theirs)
    os.chown(theirs, 0, 0)
    refused(place, theirs)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("stderr", ["closed", "full", "gone"])
def test_a_log_that_cannot_be_written_ends_nothing(place: Path, stderr: str) -> None:
    (place / "cards").mkdir()
    (place / "cards" / "a.toml").write_text(sh("exit 1", rest='[supervision]\nrestart = "always"\ninitial = "1ms"\n'))
    ready_r, ready_w = os.pipe()
    gone_r, gone_w = os.pipe()
    command = [sys.executable, "-m", "arje", "--user", "--cards", str(place / "cards"), "--runtime-dir"]
    shell = {"closed": "2>&-", "full": "2>/dev/full", "gone": f"2>&{gone_w}"}[stderr]
    script = f'exec "$@" {shell}'
    words = ["bash", "-c", script, "bash", *command, str(place / "run"), "--ready-fd", str(ready_w)]
    process = subprocess.Popen(words, pass_fds=[ready_w, gone_w], cwd=ROOT)
    for fd in (ready_w, gone_w, gone_r):
        os.close(fd)
    assert os.read(ready_r, 1) == b"\n"
    os.close(ready_r)
    client = Client(place / "run" / "io.arje", 30)
    client.call("Wait", labels=["a"])
    for _ in range(20):
        client.call("Start", labels=["a"])
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_log_that_nobody_reads_stops_nobody(place: Path) -> None:
    (place / "cards").mkdir()
    (place / "cards" / "a.toml").write_text("enabled = false\n" + sh("exit 1"))
    ready_r, ready_w = os.pipe()
    command = [sys.executable, "-m", "arje", "--user", "--cards", str(place / "cards"), "--runtime-dir"]
    words = [*command, str(place / "run"), "--ready-fd", str(ready_w)]
    process = subprocess.Popen(words, pass_fds=[ready_w], stderr=subprocess.PIPE, cwd=ROOT)
    os.close(ready_w)
    assert os.read(ready_r, 1) == b"\n"
    os.close(ready_r)
    client = Client(place / "run" / "io.arje", 30)
    for _ in range(400):  # over 100 KiB of log: more than a pipe holds
        client.call("Start", labels=["a"])
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.stderr is not None
    process.stderr.close()


def test_whoever_wanted_to_know_of_readiness_may_have_gone(place: Path) -> None:
    (place / "cards").mkdir()
    ready_r, ready_w = os.pipe()
    os.close(ready_r)
    command = [sys.executable, "-m", "arje", "--user", "--cards", str(place / "cards"), "--runtime-dir"]
    words = [*command, str(place / "run"), "--ready-fd", str(ready_w)]
    process = subprocess.Popen(words, pass_fds=[ready_w], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(ready_w)
    assert process.stderr is not None
    for line in process.stderr:
        if "nobody hears" in line:
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stderr.close()


def test_cards_that_cannot_be_read_leave_the_old_ones_in_force(manage: Manage) -> None:
    manager = manage({"a": SLEEP}, user=True)
    manager.settle("a")
    manager.cards.chmod(0)
    manager.process.send_signal(signal.SIGHUP)
    manager.until("a", lambda _: "the old cards stay" in manager.said())
    assert manager.show("a")["state"] == "running"
    manager.cards.chmod(0o755)


def test_a_card_directory_that_comes_later_is_noticed(place: Path) -> None:
    ready_r, ready_w = os.pipe()
    words = [sys.executable, "-m", "arje", "--user", "--runtime-dir", str(place / "run"), "--ready-fd", str(ready_w)]
    process = subprocess.Popen(words, pass_fds=[ready_w], cwd=ROOT, env=os.environ | {"XDG_CONFIG_HOME": str(place)})
    os.close(ready_w)
    assert os.read(ready_r, 1) == b"\n"
    os.close(ready_r)
    client = Client(place / "run" / "io.arje", 30)
    assert not client.call("GetManager")["manager"]["changed_on_disk"]
    cards = place / "arje" / "cards.d"
    cards.mkdir(parents=True)
    (cards / "a.toml").write_text(SLEEP)
    while not client.call("GetManager")["manager"]["changed_on_disk"]:
        pass
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@needs_root
def test_what_a_killed_manager_has_left_is_told_and_ended_by_the_next(place: Path, manage: Manage) -> None:
    first = manage({"a": SLEEP})
    pid = first.settle("a")["pid"]
    if not first.show("a")["cgroup"]:
        pytest.skip("no cgroup to find them by")
    first.process.kill()
    first.process.wait()
    second = Manager(first.directory)
    try:
        second.await_said("killing what a manager that died has left")
        assert f"manager={first.process.pid}" in second.said()
        assert second.settle("a")["pid"] != pid
        assert not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    finally:
        first.process = second.process  # the fixture ends this one


@needs_root
def test_two_managers_on_two_directories_leave_each_other_alone(manage: Manage) -> None:
    one, other = manage({"a": SLEEP}), manage({"a": SLEEP})
    assert one.settle("a")["cgroup"] != other.settle("a")["cgroup"] or not one.show("a")["cgroup"]
    other.call("Stop", labels=["a"])
    assert one.show("a")["state"] == "running"


@pytest.mark.parametrize("soma", ["", "rlimits = {nofile = 200}"], ids=["asks for none", "asks for more"])
def test_a_manager_takes_the_descriptors_that_it_may_have_and_payloads_have_what_they_had(
    manage: Manage, soma: str
) -> None:
    ulimit = ("prlimit", "--nofile=90:5000")
    manager = manage({f"s{number:02}": sh("exec sleep infinity") for number in range(20)}, prefix=ulimit)
    manager.write("a", sh("ulimit -Sn; ulimit -Hn; exec sleep infinity", soma))
    manager.call("Apply", token="")
    services = manager.call("List")["services"]
    assert {service["state"] for service in services} == {"running"}
    manager.await_line("a", "5000" if not soma else "200")
    if not soma:
        assert manager.lines("a") == ["90", "5000"]
    assert Path(f"/proc/{manager.process.pid}/limits").read_text().count("5000                 5000") == 1
