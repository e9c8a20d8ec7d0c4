"""Where a service's descriptors 0, 1 and 2 lead: what its card says, opened for the length of one spawn.

A file is opened in a thread: the loop does not wait for a mount that does not answer, and who gives up waiting may.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final

import trio

from arje.card.card import Card
from arje.errors import SetupFailed
from arje.incarnate.spawn import StdioFds
from arje.incarnation import Step
from arje.service import pipeline
from arje.supervisor.servicelog import ServiceLog

_FILES = {
    "file": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_OPENED: Final = ("file", "append", "tty", "socket")
_PATHS: Final = ", ".join(f"{kind}:PATH" for kind in _OPENED)
_HINTS: Final = {
    ("file", errno.ENXIO): "nobody reads this FIFO",
    ("append", errno.ENXIO): "nobody reads this FIFO",
    ("socket", errno.ECONNREFUSED): "nobody listens there",
    ("socket", errno.ENOENT): "nobody listens there",
    ("socket", errno.EPROTOTYPE): "it is no stream socket",
    ("socket", errno.EAGAIN): "who listens there takes no more connections",
}


@asynccontextmanager
async def opened(card: Card, log: ServiceLog, nursery: trio.Nursery) -> AsyncIterator[StdioFds]:
    """Open the three descriptors. Raises SetupFailed that names the card's field."""
    wanted = card.soma.stdio
    shared: dict[str, int] = {}
    with ExitStack() as stack:

        async def one(name: str, what: str, own: int) -> int:
            kind, _, path = what.partition(":")
            if (piped := _piped(card, log, own)) is not None:
                stack.callback(os.close, piped)
                return piped
            if kind == "log" and own:
                stack.callback(os.close, fd := log.descriptor(name, nursery))
                return fd
            if kind == "inherit":
                return own
            if kind == "fd":  # ours, and stays so: see inetd.py
                return int(path)
            if what == "socket":
                raise _failed(card, name, 0, "no socket is open", "add sockets = […]")
            if what in shared:
                return shared[what]
            if kind not in ("null", *_OPENED) or (not own and kind == "append"):
                raise _failed(card, name, 0, f"{what!r} is not known", f"write null, log, inherit or {_PATHS}")
            flags = os.O_RDWR if kind == "tty" else os.O_RDONLY if not own else _FILES.get(kind, os.O_WRONLY)
            target = "/dev/null" if kind == "null" else path
            try:
                if kind == "null":
                    fd = _open(target, flags)
                else:
                    fd = await _in_thread(
                        partial(_connect, target) if kind == "socket" else partial(_open, target, flags)
                    )
            except OSError as error:
                hint = _HINTS.get((kind, error.errno or 0), "")
                raise _failed(card, name, error.errno or 0, target, hint) from error
            except ValueError as error:
                raise _failed(card, name, errno.EINVAL, target, str(error)) from error
            stack.callback(os.close, fd)
            if kind in ("tty", "socket"):
                shared[what] = fd
            return fd

        yield StdioFds(
            await one("stdin", wanted.stdin, 0),
            await one("stdout", wanted.stdout, 1),
            await one("stderr", wanted.stderr, 2),
        )


def _piped(card: Card, log: ServiceLog, own: int) -> int | None:
    """Return a new descriptor of the pipe that leads from one service to another, None for what leads elsewhere."""
    if card.label != log.label:  # a command for a service, which says what it says in that one's log
        return None
    if own == 0 and card.label in log.pipes.consumers:
        return log.pipes.reading(card.label)
    if own == 1 and card.log.to:
        if card.log.to not in log.pipes.known:
            raise _failed(
                card, pipeline.FIELD, 0, f"no service is called {card.log.to!r}", "add its card: arjectl apply"
            )
        return log.pipes.writing(card.log.to)
    return None


def _connect(path: str) -> int:
    """Connect to a listening stream socket (unix(7)). It does not wait: who has no room for more says EAGAIN."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        connection.connect(path)
        connection.setblocking(True)
        return connection.detach()


def _open(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO (fifo(7)), but hand out a descriptor that waits as usual."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o640)
    os.set_blocking(fd, True)
    return fd


async def _in_thread(opening: Callable[[], int]) -> int:
    gone = threading.Event()

    def open_it() -> int:
        fd = opening()
        if gone.is_set():  # nobody waits for it any more
            os.close(fd)
        return fd

    try:
        return await trio.to_thread.run_sync(open_it, abandon_on_cancel=True)
    except trio.Cancelled:
        gone.set()
        raise


def _failed(card: Card, name: str, number: int, detail: str, hint: str) -> SetupFailed:
    field = name if "." in name else f"soma.stdio.{name}"
    return SetupFailed(card.label, Step.PREPARE, number, field, detail, hint=hint, line=card.source.line_of(field))
