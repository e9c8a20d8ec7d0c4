"""shell X, and run --in X: a command inside of a running service, on a terminal and without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import ROOT, Manager, needs_root, sh
from tests.ctl.terminals import Terminal

Manage = Callable[..., Manager]
HOUSE = 'namespaces = ["mount", "uts", "pid", "ipc"]\nhostname = "inside"\nprivate_tmp = true\n'


def command(manager: Manager, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    asked = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), *words]
    return subprocess.run(asked, input=stdin, capture_output=True, check=False, cwd=ROOT, timeout=60)


@needs_root
def test_a_command_is_in_the_service_s_namespaces(manage: Manage) -> None:
    manager = manage({"a": sh("echo up; exec sleep infinity", HOUSE) + '[supervision]\nreadiness = "log:up"\n'})
    pid = manager.settle("a")["pid"]
    done = command(manager, "shell", "a", "sh", "-c", "hostname; readlink /proc/self/ns/mnt; ps -o args= -p 2")
    hostname, mount, second = done.stdout.decode().splitlines()
    assert hostname == "inside"
    assert mount == os.readlink(f"/proc/{pid}/ns/mnt")
    assert "sleep infinity" in second
    assert (done.returncode, done.stderr) == (0, b"")


def test_bytes_go_in_and_out_as_they_are_and_the_exit_status_is_the_command_s(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    data = bytes(range(256)) * 2000
    assert command(manager, "shell", "a", "cat", stdin=data).stdout == data
    done = command(manager, "run", "--in", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert command(manager, "shell", "a", "sh", "-c", "kill -9 $$").returncode == 137
    assert command(manager, "shell", "a", "cat").stdout == b"", "an empty stdin ends"
    assert manager.show("a")["state"] == "running", "what ran inside is not the service"
    assert manager.lines("a") == [], "nor does it write into its log"


def test_what_cannot_run_is_told(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity"), "down": "enabled = false\n" + sh("true")})
    manager.settle("a")
    done = command(manager, "shell", "a", "/no/such")
    assert done.returncode == 1
    assert b"/no/such: ENOENT (No such file or directory)" in done.stderr
    done = command(manager, "shell", "a", "nosuch")
    assert done.returncode == 127
    assert b"nosuch: not found" in done.stderr
    assert command(manager, "shell", "down", "true").returncode == 7


def test_it_ends_with_the_service_and_with_who_asked(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    words = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "shell", "a", "sh", "-c"]
    script = "echo $$; exec sleep infinity"
    with subprocess.Popen([*words, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        manager.call("Stop", labels=["a"])
        assert process.wait(30) == 1
        assert b"a has ended, and so has what ran inside of it" in process.stderr.read()
    manager.call("Start", labels=["a"])
    with subprocess.Popen([*words, script], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait(30)
    fd = None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([fd], [], [], 30)[0], "it is killed when the client is gone"
    os.close(fd)


def test_a_shell_on_a_terminal_has_job_control_and_the_terminal_s_size(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    terminal = Terminal(manager, "shell", "a", "sh", lines=33, columns=77, PS1="ready> ")
    terminal.until(lambda said: bool(re.search(r"[#$>] $", said)))
    terminal.send("stty size; tty\n")
    terminal.until(lambda said: "33 77" in said and "/dev/pts/" in said)
    terminal.send("sleep 1000; echo it was $?\n\x03")
    terminal.until(lambda said: "it was 130" in said or re.search(r"\^C.*[#$>] $", said, re.S) is not None)
    terminal.send("exit 5\n")
    assert terminal.end() == 5


@pytest.mark.parametrize(
    "more", [{"stdio": ["log", "log", "log"]}, {"stdio": ["null"]}, {"terminal": "tty1"}, {"command": []}]
)
def test_what_is_no_place_for_a_command_is_a_wrong_parameter(manage: Manage, more: dict[str, object]) -> None:
    from arje.ctl.client import CallError

    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    asked = {"label": "a", "command": ["/bin/true"], "stdio": ["null", "null", "null"]} | more
    with pytest.raises(CallError) as raised:
        manager.call("Enter", **asked)
    assert (raised.value.name, raised.value.parameters) == ("InvalidParameter", {"parameter": next(iter(more))})
