"""One ear for the pipes of all services: an epoll(7) of its own, which one task waits for in trio's.

A task that waits in trio for each pipe would cost 3 kB of memory, twice per service, for the whole of its life. Here a pipe
costs an entry in the kernel's set. Who cannot take more for now, as its disk is slow, is taken out of the set meanwhile.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from arje import log

LOG = log.logger()
_AT_ONCE = 64  # pipes of one look; the kernel begins the next one with the others

Room = Callable[[], Awaitable[None]]


class Hearer(Protocol):
    """Whose pipes these are."""

    def hear(self, stream: str, fd: int) -> Room | None:
        """Read once; return what to wait for before that is possible, if there is anything."""


class Ears:
    """The pipes that are listened to, by the descriptor of their reading end."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._who: dict[int, tuple[Hearer, str]] = {}

    def listen(self, fd: int, hearer: Hearer, stream: str, nursery: trio.Nursery) -> None:
        """Let somebody hear a stream whenever there is something to read, until :meth:`leave`."""
        if self._epoll is None:
            self._epoll = select.epoll()
            nursery.start_soon(self._run, nursery, name="ears")
        self._who[fd] = (hearer, stream)
        self._epoll.register(fd, select.EPOLLIN)

    def leave(self, fd: int) -> None:
        """Listen no more. Call it before the descriptor is closed."""
        if self._who.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)

    async def _run(self, nursery: trio.Nursery) -> None:
        while self._epoll is not None:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0, _AT_ONCE):
                if (who := self._who.get(fd)) is not None:
                    self._take(fd, who, nursery)
                    await trio.lowlevel.checkpoint()  # one talkative service does not starve the others

    def _take(self, fd: int, who: tuple[Hearer, str], nursery: trio.Nursery) -> None:
        try:
            if (room := who[0].hear(who[1], fd)) is not None and self._who.get(fd) is who and self._epoll is not None:
                self._epoll.modify(fd, 0)  # we hold a writing end ourselves, so no EPOLLHUP comes all the same
                nursery.start_soon(self._rest, fd, who, room)
        except Exception:  # this task is in the nursery of all lives
            LOG.exception("a service's pipe cannot be read", fd=fd)
            self.leave(fd)

    async def _rest(self, fd: int, who: tuple[Hearer, str], room: Room) -> None:
        try:
            await room()
        finally:
            if self._who.get(fd) is who and self._epoll is not None:
                self._epoll.modify(fd, select.EPOLLIN)

    def close(self) -> None:
        """Listen to nobody any more."""
        epoll, self._epoll = self._epoll, None
        self._who.clear()
        if epoll is not None:
            epoll.close()
