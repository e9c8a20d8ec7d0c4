"""What a service's descriptors, terminal and environment files lead to."""

from __future__ import annotations

import os
import pty
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
ONCE = "supervision.kind = 'one-shot'"


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A terminal that is nobody's: our end, and its path."""
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def test_a_socket_is_one_connection_for_all_that_name_it(manage: Manage, place: Path) -> None:
    path = place / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stdio = f'stdio = {{stdin = "socket:{path}", stdout = "socket:{path}", stderr = "log"}}'
        manager = manage({"a": sh("read word; echo got $word; echo told >&2", stdio)})
        connection = listener.accept()[0]
        with connection, connection.makefile("rw") as stream:
            stream.write("this\n")
            stream.flush()
            assert stream.read() == "got this\n", "and then its end"
        manager.await_line("a", "told")


@pytest.mark.parametrize(
    ("kind", "name"), [(socket.SOCK_STREAM, "ECONNREFUSED"), (socket.SOCK_DGRAM, "EPROTOTYPE"), (None, "ENOENT")]
)
def test_a_socket_without_a_listener_is_told_with_its_field(
    manage: Manage, place: Path, kind: socket.SocketKind | None, name: str
) -> None:
    path = place / "socket"
    if kind is not None:
        with socket.socket(socket.AF_UNIX, kind) as nobody:
            nobody.bind(str(path))
            if kind is socket.SOCK_DGRAM:
                manager = manage({"a": sh("true", f'stdio = {{stdout = "socket:{path}"}}', ONCE)})
                failure = manager.settle("a")["failure"]
    if kind is not socket.SOCK_DGRAM:
        manager = manage({"a": sh("true", f'stdio = {{stdout = "socket:{path}"}}', ONCE)})
        failure = manager.settle("a")["failure"]
    assert (failure["errno_name"], failure["field"]) == (name, "soma.stdio.stdout")
    assert failure["hint"]


@pytest.mark.parametrize("spaces", ["", 'namespaces = ["pid", "mount"]\n'])
def test_a_terminal_is_the_services_own(manage: Manage, terminal: tuple[int, str], spaces: str) -> None:
    ours, path = terminal
    stdio = (
        f'controlling_tty = "{path}"\nstdio = {{stdin = "tty:{path}", stdout = "tty:{path}", stderr = "tty:{path}"}}'
    )
    script = "trap 'echo interrupted; exit 0' INT; echo to the terminal > /dev/tty; while :; do sleep 0.01; done"
    manager = manage({"a": sh(script, spaces + stdio, ONCE)})
    said = b""
    while b"to the terminal" not in said:
        said += os.read(ours, 1000)
    os.write(ours, b"\x03")
    while b"interrupted" not in said:
        said += os.read(ours, 1000)
    service = manager.settle("a")
    assert service["state"] == "done"
    assert {grant["feature"]: grant["ok"] for grant in service["isolation"]["grants"]}["controlling_tty"]


def test_a_terminal_that_is_none_is_told_with_its_field(manage: Manage) -> None:
    manager = manage({"a": sh("true", 'controlling_tty = "/dev/null"', ONCE)})
    failure = manager.settle("a")["failure"]
    assert (failure["step"], failure["errno_name"], failure["field"]) == (
        "controlling-tty",
        "ENOTTY",
        "soma.controlling_tty",
    )


def test_a_terminal_needs_a_session(manage: Manage, terminal: tuple[int, str]) -> None:
    manager = manage({"a": sh("true", f'controlling_tty = "{terminal[1]}"\nnew_session = false', ONCE)})
    failure = manager.settle("a")["failure"]
    assert (failure["field"], failure["hint"]) == ("soma.controlling_tty", "set new_session = true")


def test_environment_files_are_read_at_each_start(manage: Manage, place: Path) -> None:
    file = place / "env"
    file.write_text("A=from the file\nB='quoted $HOME'\nC=3\n")
    body = sh('echo "$A|$B|$C"', rest=ONCE).replace(
        "[soma]", f'env_file = ["{file}", "-/no/such/file"]\nenv = {{C = "the card"}}\n[soma]'
    )
    manager = manage({"a": body})
    manager.settle("a")
    file.write_text("A=again\n")
    assert manager.ctl("restart", "a").returncode == 0
    manager.settle("a")
    assert manager.lines("a") == ["from the file|quoted $HOME|the card", "again||the card"]


@pytest.mark.parametrize(
    ("text", "said"), [("A=1\nB\n", "env:2: no variable"), ('A="\n', "env:1: the quote"), (None, "cannot be read")]
)
def test_an_environment_file_that_is_wrong_is_told_by_line(
    manage: Manage, place: Path, text: str | None, said: str
) -> None:
    file = place / "env"
    if text is not None:
        file.write_text(text)
    manager = manage({"a": sh("true", rest=ONCE).replace("[soma]", f'env_file = "{file}"\n[soma]')})
    failure = manager.settle("a")["failure"]
    assert failure["field"] == "payload.env_file"
    assert said in failure["detail"]
