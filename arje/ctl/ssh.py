"""A manager on another machine: ``--socket ssh:[user@]host[:/path/of/socket]``, which ``-H`` stands for.

ssh(1) runs ``arjectl bridge`` there, which passes on what comes and goes between its standard descriptors and the manager's
socket. So every verb, its answers and what it follows are the same as here, and the other side needs no more than arjectl;
who asks is, to that manager, the user that ssh has become. ``$ARJE_SSH`` is the command and its options (``ssh``), as git
has it.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Final

PREFIX: Final = "ssh:"
#: What a remote arjectl is asked for when no path is named: the user's own manager, or the system's.
WORDS: Final = ("user", "system")


class Link:
    """A connection through ssh; ``sock`` is its end here."""

    def __init__(self, name: str) -> None:
        self.host, where = split(name)
        ours, theirs = socket.socketpair()
        options = (
            ["--user" if where == "user" else "--system"] if where in WORDS else ["--socket", where] if where else []
        )
        command = [*ssh(), "-T", "--", self.host, "arjectl", *map(shlex.quote, options), "bridge"]
        self._child = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()
        self.sock: _socket.socket = ours

    def why(self) -> str:
        """Return why it has ended, in words; what ssh or the other arjectl had to say is on stderr already."""
        try:
            code = self._child.wait(2)
        except subprocess.TimeoutExpired:
            return "it hung up"
        return {
            255: "ssh could not connect, or lost the connection",
            127: "there is no arjectl in the PATH there",
            150: "no manager answers there",
            2: "its arjectl does not know the verb bridge: it is too old",
        }.get(code, f"its arjectl ended with {code}")

    def close(self) -> None:
        """Hang up, and wait for ssh to end."""
        self.sock.close()
        try:
            self._child.wait(2)
        except subprocess.TimeoutExpired:
            self._child.terminate()


def ssh() -> list[str]:
    """Return the command that reaches other hosts."""
    return shlex.split(os.environ.get("ARJE_SSH", "")) or ["ssh"]


def split(name: str) -> tuple[str, str]:
    """Return host and socket of ``ssh:host:/path``; ``ssh:ssh://user@host:22/path`` has a port."""
    rest = name.removeprefix(PREFIX)
    if rest.startswith("ssh://"):
        host, slash, path = rest[6:].partition("/")
        last = host.rpartition(":")[2]
        if last in WORDS:
            return "ssh://" + host[: -len(last) - 1], last
        return f"ssh://{host}", slash + path
    if rest.startswith("[") and "]" in rest:  # an address of IPv6
        host, _, where = rest[1:].partition("]")
        return host, where.removeprefix(":")
    host, _, where = rest.partition(":")
    return host, where


def name_of(host: str, where: str) -> str:
    """Return the socket's name of a host: the inverse of :func:`split`."""
    if host.startswith("ssh://"):
        return f"{PREFIX}{host.rstrip('/')}{where if where.startswith('/') or not where else ':' + where}"
    plain = f"[{host}]" if ":" in host else host
    return f"{PREFIX}{plain}:{where}" if where else f"{PREFIX}{plain}"
