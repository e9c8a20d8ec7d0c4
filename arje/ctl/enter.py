"""``arjectl shell X`` and ``run --in X``: a command inside of a running service, in its namespaces and by its rules.

On a terminal the command gets one of its own, as ssh(1) does it: job control, full-screen programs and Ctrl-C belong to
it, and ours only passes bytes on. Without a terminal its stdin, stdout and stderr are ours, through three pipes with
names, which the manager opens.
"""

from __future__ import annotations

import os
import select
import sys

from arje.ctl.client import Client, Unreachable
from arje.ctl.exitcodes import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper

#: bash where the service has one, else sh; looked up inside of it.
_SHELL: Final = ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"]
_LOOKED_UP: Final = ["/bin/sh", "-c", 'exec "$0" "$@"']
_VARIABLES: Final = ("TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE")


def shell(client: Client, args: Arguments, paper: Paper) -> int:
    """Be a shell in a service, or a command that is named; return its exit status."""
    return enter(client, args.labels[0], args.command or _SHELL, args, paper)


def enter(client: Client, label: str, command: list[str], args: Arguments, paper: Paper) -> int:
    """Run a command inside of a service and return its exit status. A bare name is looked up in the service's own PATH."""
    if "/" not in command[0]:
        command = [*_LOOKED_UP, *command]
    if sys.stdin.isatty() and sys.stdout.isatty() and not args.json:
        found = _on_terminal(client, label, command)
    else:
        found = _through_pipes(client, label, command)
    if args.json:
        from arje.ctl.answers import in_json

        in_json(paper, found)
    elif found["exit_code"] is None:
        from arje.ctl.words import escape

        print(f"arjectl: {label}: {escape(found['detail'])}", file=sys.stderr)
    return Action.FAILED if found["exit_code"] is None else int(found["exit_code"])


def _asked(label: str, command: list[str], stdio: list[str], terminal: str) -> dict[str, Any]:
    env = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    return {"label": label, "command": command, "stdio": stdio, "terminal": terminal, "env": env}


def _answer(client: Client, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manager's answer. Raises as a call does."""
    if found:
        return found[0]
    raise Unreachable(f"the manager on {client.path} hung up")


# -- on a terminal -----------------------------------------------------------------------------------------------------


def _on_terminal(client: Client, label: str, command: list[str]) -> dict[str, Any]:
    """Pass bytes between our terminal, raw, and a new one, until the command has ended."""
    import pty
    import signal
    import termios
    import tty

    ours, theirs = pty.openpty()
    path = os.ttyname(theirs)
    _give(client, theirs)
    termios.tcsetattr(theirs, termios.TCSANOW, termios.tcgetattr(0))
    _resize(ours)
    client.begin("Enter", **_asked(label, command, [f"tty:{path}"] * 3, path))
    before = termios.tcgetattr(0)
    old = signal.signal(signal.SIGWINCH, lambda *_: _resize(ours))
    try:
        tty.setraw(0)
        found = _pass_on(client, ours)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)
        os.close(theirs)
        os.close(ours)
    return _answer(client, found)


def _resize(fd: int) -> None:
    """Let a terminal be as large as ours (ioctl_tty(2))."""
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))


def _pass_on(client: Client, master: int) -> list[dict[str, Any]]:
    heard: list[Any] = [0, master, client]
    found: list[dict[str, Any]] = []
    while True:
        ready = select.select(heard, [], [], 0 if found else None)[0]
        if master in ready:
            os.write(1, os.read(master, 65536))  # our own end of theirs stays open: this never fails
        elif found:
            return found
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                heard.remove(0)
            while data:
                data = data[os.write(master, data) :]
        if client in ready:
            found = client.waiting()
            heard = [master]


# -- without one -------------------------------------------------------------------------------------------------------


def _through_pipes(client: Client, label: str, command: list[str]) -> dict[str, Any]:
    """Pass our stdin in, and stdout and stderr out, until the command has ended and all of it is passed on."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="arjectl.") as place:
        paths = [f"{place}/{name}" for name in ("stdin", "stdout", "stderr")]
        for path in paths:
            os.mkfifo(path, 0o600)
        _give(client, place, *paths)
        # Our own reading ends keep what is in the pipes, whoever comes and goes; the one of stdin is never read.
        ends = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in paths]
        feed = os.open(paths[0], os.O_WRONLY | os.O_NONBLOCK)
        stdio = [f"file:{paths[0]}", f"append:{paths[1]}", f"append:{paths[2]}"]
        try:
            client.begin("Enter", **_asked(label, command, stdio, ""))
            return _answer(client, _pump(client, feed, {ends[1]: 1, ends[2]: 2}))
        finally:
            for fd in ends:
                os.close(fd)


def _give(client: Client, *paths: str | int) -> None:
    """Let root's pipes or terminal be the manager's, where that is another user's own."""
    owner = os.stat(client.path).st_uid
    if os.geteuid() == 0 and owner != 0:
        for path in paths:
            os.chown(path, owner, -1)


def _pump(client: Client, feed: int, outs: dict[int, int]) -> list[dict[str, Any]]:
    """Copy between our descriptors and the pipes; the end of our stdin is the command's. Returns the manager's answer."""
    found: list[dict[str, Any]] = []
    waiting, stdin = b"", True
    while not found:
        heard: list[Any] = [*outs, client, *([0] if stdin and not waiting else [])]
        ready, free, _ = select.select(heard, [feed] if waiting else [], [])
        if 0 in ready:
            waiting = os.read(0, 65536)
            stdin = bool(waiting)
        if free:
            waiting = waiting[os.write(feed, waiting[:4096]) :]
        if not stdin and not waiting and feed >= 0:
            os.close(feed)
            feed = -1
        if client in ready:
            found = client.waiting()
        for fd in [fd for fd in outs if fd in ready]:
            if not _copy(fd, outs[fd]):
                del outs[fd]
    for fd, number in outs.items():
        while _copy(fd, number):
            pass
    if feed >= 0:
        os.close(feed)
    return found


def _copy(fd: int, number: int) -> bool:
    """Pass on what there is; return whether there was something."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return False
    rest = data
    while rest:
        rest = rest[os.write(number, rest) :]
    return bool(data)
