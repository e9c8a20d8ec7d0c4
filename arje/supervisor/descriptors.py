"""Which descriptors arje holds for whom, in one place: what a service listens on, and what it has left to be kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from arje.card.sockets import Socket


@dataclass(frozen=True, slots=True)
class Held:
    """One descriptor: its name for ``LISTEN_FDNAMES``, its number, and the socket of the card; None: it was stored."""

    name: str
    fd: int
    socket: Socket | None = None


class Descriptors:
    """Label → the descriptors of that service, in the order in which they came."""

    def __init__(self) -> None:
        self._held: dict[str, list[Held]] = {}

    def __iter__(self) -> Iterator[tuple[str, Held]]:
        return iter([(label, held) for label, all_of in self._held.items() for held in all_of])

    def sockets(self, label: str) -> tuple[Held, ...]:
        """Return what is listened on for a service."""
        return tuple(held for held in self._held.get(label, ()) if held.socket is not None)

    def stored(self, label: str) -> tuple[Held, ...]:
        """Return what a service has left to be kept, oldest first."""
        return tuple(held for held in self._held.get(label, ()) if held.socket is None)

    def add(self, label: str, held: Held) -> None:
        """Hold one more; the descriptor is the table's from now on."""
        self._held.setdefault(label, []).append(held)

    def close(self, label: str, held: Held) -> None:
        """Hold one no more. Who waits for it gets trio.ClosedResourceError."""
        kept = self._held.get(label, [])
        kept.remove(held)
        if not kept:
            self._held.pop(label, None)
        trio.lowlevel.notify_closing(held.fd)
        os.close(held.fd)
