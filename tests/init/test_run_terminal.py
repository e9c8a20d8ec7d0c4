"""The starter's terminal: a command in a session of its own cannot type into it (TIOCSTI of ioctl_tty(2))."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
from pathlib import Path

import pytest

from tests.conftest import NOBODY, ROOT, needs_root, python_for_nobody

PUSH = """
import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    print("pushed")
except OSError as error:
    print("refused", error.errno)
"""


def said_on_a_terminal(*words: str, nobody: bool = False) -> str:
    """Run a command with a terminal as the starter's own, and return what it showed."""
    found = python_for_nobody() if nobody else (sys.executable, {})
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if nobody else []
    command = [*drop, found[0], "-m", "arje", "run", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | found[1]
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(ROOT)
            os.execvpe(command[0], command, environment)
        finally:
            os._exit(1)
    return until_it_has_left(pid, terminal)


def until_it_has_left(pid: int, terminal: int) -> str:
    """Return what a child showed on its terminal until it, and whoever else had it open, was gone."""
    said = b""
    with contextlib.suppress(OSError):  # EIO: the last one has left the terminal
        while chunk := os.read(terminal, 1000):
            said += chunk
    os.waitpid(pid, 0)
    os.close(terminal)
    return said.decode()


@needs_root
@pytest.mark.parametrize(
    ("words", "nobody"),
    [(["--cap", "none"], False), (["--unshare", "user"], False), ([], True), (["--unshare", "pid,mount"], True)],
)
def test_a_new_session_cannot_type_into_the_starters_terminal(words: list[str], nobody: bool) -> None:
    shown = said_on_a_terminal("--new-session", *words, "/usr/bin/python3", "-c", PUSH, nobody=nobody)
    assert "refused" in shown, shown
    assert "pushed" not in shown


@needs_root
def test_without_a_new_session_the_terminal_is_the_commands_as_well() -> None:
    sysctl = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if sysctl.exists() and sysctl.read_text().strip() == "0":
        pytest.skip("this kernel takes no TIOCSTI of anybody")
    assert "pushed" in said_on_a_terminal("--cap", "none", "/usr/bin/python3", "-c", PUSH)
