"""A shell on the console when there is no supervisor: the last way into a machine that does not boot.

It is started by the trampoline alone: no card, no cgroup, no log. Meanwhile this process does what pid 1 must: it reaps
all that ends, and hears the signals that end a machine.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from arje import native
from arje.init import console
from arje.native import Op

_SHELLS: Final = ("/bin/sh", "/usr/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/busybox")
_SULOGIN: Final = ("/usr/sbin/sulogin", "/sbin/sulogin", "/usr/bin/sulogin", "/bin/sulogin")


def command(*, trusted: bool, root: Path = Path("/")) -> list[str]:
    """Return what gives root a shell: sulogin(8) where root has a password, else the shell itself; empty for neither.

    ``trusted``: whoever sits there has said so on the kernel line, and could have named ``init=/bin/sh``. Where root is
    locked, sulogin lets only them in. A root file system without passwords has nobody whom it could ask.
    """
    if not trusted and _has_passwords(root):
        for path in _SULOGIN:
            if (root / path[1:]).exists():
                return [path]
    for path in _SHELLS:
        if (root / path[1:]).exists():
            return [path, "sh", "-l"] if path.endswith("busybox") else [path, "-l"]
    return []


def _has_passwords(root: Path) -> bool:
    """Whether shadow(5) has a line for root."""
    try:
        return any(line.startswith("root:") for line in (root / "etc/shadow").read_text(errors="replace").splitlines())
    except OSError:
        return False


def run(reason: str, *, trusted: bool = False, hears: Sequence[int] = ()) -> int:
    """Tell the reason, give a shell on the console and wait for its end. Returns the signal of ``hears`` that came, or 0.

    Raises OSError when there is no shell or no console, which the caller has to live with.
    """
    words = command(trusted=trusted)
    for line in (*reason.splitlines(), "arje: exit tries again; arje.rescue on the kernel line needs no password."):
        console.say(line)
    if not words:
        raise FileNotFoundError(2, "there is no shell", _SHELLS[0])
    terminal = console.terminal()
    fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        pid, status_fd = _spawn(words, terminal, fd)
    finally:
        os.close(fd)
    try:
        return _await(pid, hears)
    finally:
        os.close(status_fd)


def _spawn(words: list[str], terminal: str, fd: int) -> tuple[int, int]:
    ops = [Op("session"), Op("controlling-tty", optional=True, p=os.fsencode(terminal))]
    names = ("PATH", "HOME", "TERM", "LANG")
    env = [f"{name}={os.environ[name]}".encode() for name in names if name in os.environ]
    paths, argv = [os.fsencode(words[0])], [os.fsencode(word) for word in words]
    spawner = native.Spawner()
    child = spawner.spawn(native.Plan(ops, paths, argv, env, reaper=False), (fd, fd, fd), clone_flags=0)
    os.close(child.pidfd)
    native.release(child.status_fd)
    while native.receive(child.status_fd, block=True):
        pass
    spawner.give_back(child)
    return child.pid, child.status_fd


def _await(pid: int, hears: Sequence[int]) -> int:
    while True:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if ended == pid:
                    return 0
        except ChildProcessError:
            return 0
        number = signal.sigwait({signal.SIGCHLD, *hears})
        if number != signal.SIGCHLD:
            return int(number)
