"""``-H`` over a real ssh to a real sshd: one host as if it were here, several in one table, and one that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arje.ctl import ssh
from arje.ctl.hosts import BadHost, taken_out, where_of
from tests.conftest import NOBODY, ROOT, Manager, needs_root, python_for_nobody, sh
from tests.ctl.sshd import Sshd, me

Manage = Callable[..., Manager]
SLEEP = sh("echo up; exec sleep infinity")
Hosts = tuple[Sshd, Manager, Manager]


@pytest.fixture
def hosts(manage: Manage, place: Path) -> Iterator[Hosts]:
    one = manage({"web": SLEEP, "bad": sh("exit 3")})
    two = manage({"db": SLEEP})
    for manager in (one, two):
        manager.settle()
    server = Sshd(
        place / "ssh", {"one": str(one.socket), "two": str(two.socket), "gone": str(place / "none")}, user=me()
    )
    yield server, one, two
    server.stop()


def test_one_host_is_as_if_its_manager_were_here(hosts: Hosts) -> None:
    server, one, _ = hosts
    done = server.ctl("-H", "one", "status")
    assert done.returncode == 0, done.stderr
    assert "web" in done.stdout
    assert f"pid {one.process.pid}" in done.stdout
    assert server.ctl("-H", "one", "stop", "web").stdout.startswith("web: ")
    assert one.show("web")["state"] == "stopped"
    assert server.ctl("-H", "one", "is-active", "web").returncode == 3
    assert server.ctl("-Hone", "status", "nobody").returncode == 4


def test_what_goes_on_comes_line_by_line(hosts: Hosts) -> None:
    server, one, _ = hosts
    env = os.environ | {"ARJE_SSH": f"ssh -F {server.directory}/ssh_config"}
    command = [sys.executable, "-m", "arje.ctl", "-H", "one,two", "events", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as child:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("one  "):
            pass  # the last one of each host is told at once: now it follows
        one.call("Restart", labels=["web"])
        while "web: running -> stopping" not in (line := child.stdout.readline()):
            assert line
        assert line.startswith("one  ")
        child.terminate()


def test_several_hosts_stand_in_one_table(hosts: Hosts) -> None:
    server, *_ = hosts
    done = server.ctl("-H", "one", "-H", "two")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("one  arje ")
    assert lines[1].startswith("two  arje ")
    table = [line.split() for line in lines[3:]]
    assert table[0][:3] == ["HOST", "PID", "SERVICE"]
    assert [(row[0], row[2]) for row in table[1:]] == [("one", "bad"), ("one", "web"), ("two", "db")]


def test_what_other_verbs_say_has_its_host_before_it(hosts: Hosts) -> None:
    server, *_ = hosts
    done = server.ctl("-H", "one,two", "list")
    assert sorted(line.split()[:2] for line in done.stdout.splitlines()) == [
        ["one", "bad"],
        ["one", "web"],
        ["two", "db"],
    ]


def test_in_json_it_is_an_object_by_host(hosts: Hosts) -> None:
    server, *_ = hosts
    found = json.loads(server.ctl("-H", "one,two", "--json", "ping").stdout)["hosts"]
    assert found.keys() == {"one", "two"}
    assert found["one"]["code"] == 0
    assert found["one"]["answer"]["pid"] != found["two"]["answer"]["pid"]


def test_a_host_that_fails_does_not_hide_the_other(hosts: Hosts) -> None:
    server, *_ = hosts
    done = server.ctl("-H", "one,deaf,gone", "status")
    assert done.returncode == 150
    assert "one" in done.stdout
    assert "web" in done.stdout
    assert "deaf: ssh could not connect" in done.stderr
    assert "gone: no manager answers there" in done.stderr
    found = json.loads(server.ctl("-H", "one,deaf", "--json", "list").stdout)["hosts"]
    assert found["deaf"]["code"] == 150
    assert [service["label"] for service in found["one"]["answer"]] == ["bad", "web"]


def test_a_host_without_arjectl_is_told(hosts: Hosts) -> None:
    server, *_ = hosts
    (server.directory / "bin" / "arjectl").unlink()
    done = server.ctl("-H", "one", "ping")
    assert done.returncode == 150
    assert "there is no arjectl in the PATH there" in done.stderr


def test_a_verb_that_reads_files_reads_those_of_the_other_side(hosts: Hosts) -> None:
    server, one, _ = hosts
    done = server.ctl("-H", "one", "cat", "web")
    assert done.returncode == 0, done.stderr
    assert str(one.cards / "web.toml") in done.stdout


def test_its_words_reach_the_other_side_as_they_are(hosts: Hosts) -> None:
    server, *_ = hosts
    done = server.ctl("-H", "one", "cat", "a; touch /tmp/no $(id)")
    assert done.returncode == 4
    assert "a; touch /tmp/no $(id)" in done.stderr


def test_which_manager_is_asked_can_be_said(hosts: Hosts) -> None:
    server, one, two = hosts
    done = server.ctl("-H", "one", "--socket", str(two.socket), "--json", "ping")
    assert json.loads(done.stdout)["pid"] == two.process.pid
    env = {"ARJE_SOCKET": "ssh:two"}
    command = [sys.executable, "-m", "arje.ctl", "--json", "ping"]
    ways = os.environ | env | {"ARJE_SSH": f"ssh -F {server.directory}/ssh_config"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=ways)
    assert json.loads(done.stdout)["pid"] == two.process.pid, done.stderr
    assert one.process.pid != two.process.pid


def test_who_asks_is_the_user_that_ssh_has_become(hosts: Hosts) -> None:
    server, one, _ = hosts
    server.ctl("-H", "one", "restart", "web")
    assert any(
        event["who"].startswith(f"uid {os.geteuid()} (") for event in one.call("Events", labels=["web"])["events"]
    )


@needs_root
def test_who_is_not_root_runs_sshd_and_asks_his_own_manager(manage: Manage, place: Path) -> None:
    """sshd of an ordinary user, who can become no other; it sees an /etc/passwd in which nobody has a shell."""
    if python_for_nobody() is None:
        pytest.skip("no interpreter that user nobody may execute")
    manager = manage({"web": SLEEP}, user=True)
    manager.settle("web")
    passwd = place / "passwd"
    passwd.write_text(f"tester:NP:{NOBODY}:{NOBODY}::{place}:/bin/sh\n")
    own_passwd = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', str(passwd))
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    server = Sshd(place / "ssh", {"one": str(manager.socket)}, user="tester", prefix=(*own_passwd, *as_nobody))
    try:
        done = server.ctl("-H", "one", "restart", "web")
        assert done.returncode == 0, done.stderr + server.said()
        events = manager.call("Events", labels=["web"])["events"]
        assert any(event["who"].startswith(f"uid {NOBODY} (") for event in events)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("words", "hosts", "rest"),
    [
        (["-H", "a", "status"], ["a"], ["status"]),
        (["-Ha", "-H", "b,c", "ls"], ["a", "b", "c"], ["ls"]),
        (["ls", "--host=a", "--host", "u@b"], ["a", "u@b"], ["ls"]),
        (["-H", "a", "run", "--", "curl", "-H", "X: y"], ["a"], ["run", "--", "curl", "-H", "X: y"]),
        (["run", "curl", "-H", "X: y"], [], ["run", "curl", "-H", "X: y"]),
        (["-H", "a", "-H", "a", "ping"], ["a"], ["ping"]),
    ],
)
def test_hosts_are_taken_out_of_the_words(words: list[str], hosts: list[str], rest: list[str]) -> None:
    assert taken_out(words) == (hosts, rest)


@pytest.mark.parametrize("words", [["-H"], ["-H", "-oProxyCommand=x"], ["-H", ""], ["-H", "a b"], ["-H", "a,"]])
def test_what_is_no_host_is_refused(words: list[str]) -> None:
    with pytest.raises(BadHost):
        taken_out(words)


@pytest.mark.parametrize("host", ["a", "u@a.example", "ssh://u@a:22", "fe80::1%eth0", "u@10.0.0.1"])
@pytest.mark.parametrize("where", ["", "user", "system", "/run/x.sock"])
def test_a_host_and_its_socket_are_one_name(host: str, where: str) -> None:
    assert ssh.split(ssh.name_of(host, where)) == (host, where)


def test_the_other_sides_manager_is_chosen_by_the_usual_options() -> None:
    assert where_of(["--user", "ls"]) == ("user", ["ls"])
    assert where_of(["ls", "--socket=/x", "a"]) == ("/x", ["ls", "a"])
    assert where_of(["run", "--", "x", "--user"]) == ("", ["run", "--", "x", "--user"])
