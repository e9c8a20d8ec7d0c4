"""``arjectl bridge``: standard input and output are the manager's socket. What ``-H`` runs on the other side."""

from __future__ import annotations

import os
import select

from arje.ctl.exitcodes import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_PIECE: Final = 64 * 1024
_IN, _OUT = 0, 1


def bridge(client: Client, args: Arguments, paper: Paper) -> int:
    """Pass on what comes and goes, until the manager hangs up, or who asks does."""
    sock = client.raw
    sock.settimeout(None)
    while True:
        ready = select.select([sock.fileno(), _IN], [], [])[0]
        if sock.fileno() in ready and not _pass(sock):
            return Query.TRUE
        if _IN in ready:
            data = os.read(_IN, _PIECE)
            if not data:  # who asks has gone: a request that waits is given up, as by any client that hangs up
                return Query.TRUE
            sock.sendall(data)


def _pass(sock: socket) -> bool:
    data = sock.recv(_PIECE)
    while data:
        try:
            data = data[os.write(_OUT, data) :]
        except BrokenPipeError:
            return False
        if not data:
            return True
    return False
