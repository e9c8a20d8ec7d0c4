"""The socket on which one service tells of itself by sd_notify(3): one per service, so that nobody speaks for another.

A message counts when its sender belongs to the service. The kernel says who sent it (SCM_CREDENTIALS and, since Linux 6.5,
SCM_PIDFD; unix(7)), and its cgroup or its pid namespace says whose it is. A sender that has gone already is believed when
it had the main process's pid, or its user: the socket is known to the service alone, but a path is no secret.

In a root of its own the service sees the socket at :data:`PLACE`.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from arje import log
from arje.card.card import Card
from arje.card.files import Bind
from arje.card.soma import Soma
from arje.service.notification import LONGEST

LOG = log.logger()
#: Where a service with a root of its own finds its socket.
PLACE: Final = "/run/arje.notify"
DIRECTORY: Final = "notify"
_PASS_PIDFD: Final = 76  # SO_PASSPIDFD of Linux 6.5
_SCM_PIDFD: Final = 4
_MOST_FDS: Final = 253  # SCM_MAX_FD
_BUFFER: Final = 8 * 2**20  # bytes, as systemd's: a burst waits rather than block its service


@dataclass(slots=True)
class Message:
    """One datagram: its bytes, its sender, and the descriptors that came with it, which belong to whoever takes it.

    ``pid`` is the sender's as we see it, 0 for one that we do not see; ``pidfd`` is -1 where the kernel passes none.
    """

    data: bytes
    pid: int
    uid: int
    pidfd: int = -1
    fds: tuple[int, ...] = ()

    def close(self) -> None:
        """Close every descriptor that is left in it. May be called twice."""
        for fd in (*self.fds, *((self.pidfd,) if self.pidfd >= 0 else ())):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.fds, self.pidfd = (), -1


def wants_socket(card: Card) -> bool:
    """Whether a card asks for anything that a service says by sd_notify(3)."""
    supervision = card.supervision
    reload = supervision.reload is not None and supervision.reload.confirm
    readiness = supervision.readiness is not None and supervision.readiness.notify
    return readiness or reload or supervision.watchdog > 0 or card.fd_store_max > 0


class NotifySocket:
    """A service's socket, bound at ``path``. Raises OSError when it cannot be made."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _PASS_PIDFD, 1)
            with contextlib.suppress(OSError):  # beyond rmem_max it wants CAP_NET_ADMIN; less is enough
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
            try:  # a short way to it: sun_path holds 108 bytes (unix(7))
                self._socket.bind(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
            path.chmod(0o666)
        except BaseException:
            self._socket.close()
            raise

    async def receive(self) -> Message:
        """Wait for the next message. Raises trio.ClosedResourceError once it is closed."""
        while True:
            try:
                return self._take()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket.fileno())

    def waiting(self) -> Iterator[Message]:
        """Yield what has arrived already, without waiting."""
        while True:
            try:
                yield self._take()
            except (BlockingIOError, OSError):
                return

    def _take(self) -> Message:
        room = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4) + socket.CMSG_SPACE(4 * _MOST_FDS)
        data, ancillary, flags, _ = self._socket.recvmsg(LONGEST + 1, room, socket.MSG_CMSG_CLOEXEC)
        pid, uid, pidfd, fds = 0, -1, -1, list[int]()
        for level, kind, content in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS:
                pid, uid, _ = struct.unpack("iII", content[:12])
            elif kind == _SCM_PIDFD:
                (pidfd,) = struct.unpack("i", content[:4])
            elif kind == socket.SCM_RIGHTS:
                whole = array.array("i")
                whole.frombytes(content[: len(content) - len(content) % whole.itemsize])
                fds += whole
        if flags & socket.MSG_TRUNC:
            data = data.ljust(LONGEST + 1, b"\0")
        return Message(data, pid, uid, pidfd, tuple(fds))

    def close(self) -> None:
        """Close and remove it. May be called twice. Whoever sends on is told that nobody listens."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def visible(card: Card, path: Path) -> tuple[Card, str]:
    """Return the card with its socket put into its sandbox where that would hide it, and the path that the service sees."""
    soma = card.soma
    if not soma.namespaces.mount:
        return card, str(path)
    if _has_root(soma):
        return _bound(card, path, PLACE), PLACE
    if any(path.is_relative_to(place) for place in _covered(soma)):
        return _bound(card, path, str(path)), str(path)
    return card, str(path)


def _has_root(soma: Soma) -> bool:
    overlay = soma.overlay is not None and (soma.overlay.merged or "/") == "/"
    return bool(soma.root or overlay or soma.pivot_root or any(mount.target == "/" for mount in soma.tmpfs))


def _covered(soma: Soma) -> Iterator[str]:
    """The places of the manager's root that a mount of the service's own hides."""
    yield from (mount.target for mount in soma.tmpfs)
    yield from (bind.where for bind in soma.binds)
    yield from soma.masked_paths
    if soma.private_tmp:
        yield from ("/tmp", "/var/tmp")


def _bound(card: Card, path: Path, target: str) -> Card:
    bind = Bind(source=str(path), target=target)
    return replace(card, soma=replace(card.soma, binds=(*card.soma.binds, bind)))
