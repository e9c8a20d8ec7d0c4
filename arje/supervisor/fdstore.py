"""Descriptors that services leave with arje to get them back at their next start (sd_notify(3), FDSTORE).

They are kept in the one table of descriptors, and given back after the sockets. One whose other end is gone is of no use
and goes by itself, unless its service said otherwise: an epoll of the store's own tells (EPOLLHUP, EPOLLERR), so that
nothing that can be read wakes arje.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.supervisor.descriptors import Descriptors, Held

if TYPE_CHECKING:
    from arje.service.table import StateTable

LOG = log.logger()
UNNAMED: Final = "stored"
_NAME: Final = re.compile(r"[ -9;-~]{1,255}")  # sd_notify(3): no control characters, no colon
_DUPFD_QUERY: Final = 1027  # fcntl(2), since Linux 6.10


class Kept(StrEnum):
    """What became of a descriptor that was to be stored."""

    STORED = "stored"
    SAME = "is kept already"
    FULL = "the store is full"
    UNWANTED = "the card keeps none"


class FdStore:
    """The stored descriptors of all services."""

    def __init__(self, table: StateTable, descriptors: Descriptors) -> None:
        self._table = table
        self._descriptors = descriptors
        self._epoll: select.epoll | None = None
        self._polled: dict[int, str] = {}  # descriptor → whose it is

    async def run(self) -> None:
        """Drop what has lost its other end, until cancelled."""
        self._epoll = select.epoll()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0):
                    self._lost(fd)
        finally:
            self._epoll.close()
            self._epoll = None

    def add(self, label: str, name: str, fd: int, *, poll: bool = True) -> Kept:
        """Keep a descriptor for a service; it is the store's from now on, and closed when it is not kept.

        A name that sd_notify(3) does not allow, or none, becomes ``stored``. ``poll``: it goes when its other end does.
        Raises NoSuchService.
        """
        most = self._table.get(label).card.fd_store_max
        stored = self._descriptors.stored(label)
        if most and any(same(fd, held.fd) for held in stored):
            kept = Kept.SAME
        elif len(stored) >= most:
            kept = Kept.FULL if most else Kept.UNWANTED
        else:
            self._descriptors.add(label, Held(name if _NAME.fullmatch(name) else UNNAMED, fd))
            if poll:
                self._watch(label, fd)
            return Kept.STORED
        os.close(fd)
        if kept is not Kept.SAME:
            LOG.warning("a descriptor is not kept", service=label, name=name, why=kept.value)
        return kept

    def remove(self, label: str, name: str) -> int:
        """Close what a service has stored under a name. Returns how many those were."""
        found = [held for held in self._descriptors.stored(label) if held.name == name]
        for held in found:
            self._drop(label, held)
        return len(found)

    def clear(self, label: str) -> None:
        """Close everything that a service has stored."""
        for held in self._descriptors.stored(label):
            self._drop(label, held)

    def _watch(self, label: str, fd: int) -> None:
        try:
            assert self._epoll is not None, "the store does not run"
            self._epoll.register(fd, 0)  # EPOLLHUP and EPOLLERR are always told (epoll_ctl(2))
            self._polled[fd] = label
        except PermissionError:  # a file that cannot be polled has no other end
            return

    def _lost(self, fd: int) -> None:
        label = self._polled.get(fd, "")
        for held in self._descriptors.stored(label):
            if held.fd == fd:
                LOG.info("a stored descriptor has lost its other end", service=label, name=held.name)
                self._drop(label, held)

    def _drop(self, label: str, held: Held) -> None:
        if self._polled.pop(held.fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(held.fd)  # closing is not enough: the service may have a copy (epoll(7))
        self._descriptors.close(label, held)


def same(one: int, other: int) -> bool:
    """Whether two descriptors are one open file: by the kernel's word; before Linux 6.10 only of sockets and pipes."""
    try:
        return bool(fcntl.fcntl(one, _DUPFD_QUERY, other))
    except OSError:
        first, second = os.fstat(one), os.fstat(other)
        tellable = stat.S_ISSOCK(first.st_mode) or stat.S_ISFIFO(first.st_mode)
        return tellable and (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
