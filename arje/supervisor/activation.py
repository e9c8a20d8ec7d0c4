"""What starts services besides a hand: their sockets and their paths, held here over all lives of a service.

Sockets are opened when the service is about to start, or to wait for them, and closed when it is at rest: not wanted, done
or failed. Between two lives, while it backs off and while its card is changed they stay, and whoever connects waits in
their queues. They belong to the network namespace of the manager.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.activation import When
from arje.card.card import Card
from arje.card.listen import IP, Address, Kind
from arje.card.sockets import Socket
from arje.errors import SetupFailed
from arje.incarnate.given import Given
from arje.incarnation import Step
from arje.kernel import holders
from arje.service import trigger
from arje.service.record import Failure, Service
from arje.service.state import Event, State
from arje.supervisor import inetd, opening
from arje.supervisor.connections import Connections
from arje.supervisor.descriptors import Descriptors, Held
from arje.supervisor.fdstore import FdStore
from arje.supervisor.opening import Unbound
from arje.supervisor.pathwatch import PathWatch

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_LEAVES: Final = 5.0  # seconds that the manager waits at its end for files to be removed
_INOTIFY: Final = {
    errno.EMFILE: "raise fs.inotify.max_user_instances",
    errno.ENOSPC: "raise fs.inotify.max_user_watches",
}


class Activations:
    """The descriptors and the paths of all services, and who waits for them. ``connections``: of services that are started
    for each one, by label."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self.descriptors = Descriptors()
        self.store = FdStore(self._table, self.descriptors)
        self.connections: dict[str, Connections] = {}
        self._paths: dict[str, PathWatch] = {}
        self._hands: dict[str, str] = {}  # who asked for a start of a service that waits
        self._triggers: dict[str, tuple[float, ...]] = {}
        self._leaving: dict[str, trio.Event] = {}  # files that are being removed
        self._opening: dict[Address, trio.Lock] = {}
        self._table.subscribe(self._changed)

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def prepare(self, card: Card) -> None:
        """Make what is open for a service what its card says; what is so already stays. Raises SetupFailed."""
        wanted = {_place(socket): socket for socket in card.sockets}
        kept: dict[Socket, Held] = {}
        for held in self.descriptors.sockets(card.label):
            assert held.socket is not None
            if _place(held.socket) in wanted:
                kept[_place(held.socket)] = held
            else:
                self._close(card.label, held)
        await self._left(card.label)
        for index, socket in enumerate(card.sockets):
            if _place(socket) not in kept:
                fd = await self._open(card, socket, f"sockets.{index}")
                if not self.still(card):
                    os.close(fd)
                    return
                self.descriptors.add(card.label, Held(socket.name or card.label, fd, socket))
        await self._arm(card)

    async def _open(self, card: Card, socket: Socket, field: str) -> int:
        try:
            async with self._one_by_one(socket.address):
                make = partial(opening.opened, socket)
                return await self._supervisor.host.descriptor(f"open {socket.listen}", make)
        except Unbound as error:
            field = f"{field}.{error.option}"
            hint = error.hint
            if error.errno == errno.EADDRINUSE:
                hint = await self._holder(socket)
            raise self._failed(card, field, error, socket.listen, hint) from error
        except OSError as error:  # they run out
            raise self._failed(card, field, error, socket.listen, "raise the manager's RLIMIT_NOFILE") from error

    @contextlib.asynccontextmanager
    async def _one_by_one(self, where: Address) -> AsyncIterator[None]:
        """Let two services open one address in turn: the second must know the first as who listens there."""
        lock = self._opening.setdefault(where, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._opening.pop(where, None)

    def _failed(self, card: Card, field: str, error: OSError, detail: str, hint: str) -> SetupFailed:
        line = card.source.line_of(field)
        return SetupFailed(card.label, Step.PREPARE, error.errno or 0, field, detail, hint=hint, line=line)

    async def _holder(self, socket: Socket) -> str:
        """Return who has an address already, and what to do."""
        where = socket.address
        if where.kind in IP:
            look = partial(holders.of_port, where.number, stream=where.kind is Kind.TCP)
        else:
            look = partial(holders.of_path, where.path)
        who = await self._supervisor.host.ask(f"holder {socket.listen}", look)
        for label, held in self.descriptors:
            if held.socket is not None and held.socket.address == where:
                return f"service {label} listens there: stop it, or choose another address"
        if who:
            return f"{who} listens there"
        if where.is_file and not await self._supervisor.host.ask(f"socket {where.path}", Path(where.path).is_socket):
            return "it is there and no socket: remove it"
        return "somebody else listens there"

    async def _arm(self, card: Card) -> None:
        watch = self._paths.get(card.label)
        if watch is not None and watch.watches != card.paths:
            self._paths.pop(card.label).close()
            watch = None
        if not card.paths:
            return
        if watch is None:
            watch = self._paths[card.label] = PathWatch(card.label, card.paths, self._supervisor.host.ask)
        try:
            await watch.arm()
        except trio.ClosedResourceError:
            return
        except OSError as error:
            raise self._failed(card, "paths", error, "", _INOTIFY.get(error.errno or 0, "")) from error

    def _changed(self, old: Service, new: Service) -> None:
        """Close what is open for a service that has come to rest."""
        if new.state in (State.DONE, State.FAILED) or (new.state is State.STOPPED and not new.wanted):
            self.close(new.label, store=not new.card.fd_store_preserve)

    def close(self, label: str, *, store: bool = True) -> None:
        """Close everything that is open for a service; ``store``: also what it has stored."""
        for held in self.descriptors.sockets(label):
            self._close(label, held)
        if (watch := self._paths.pop(label, None)) is not None:
            watch.close()
        self._hands.pop(label, None)
        self._triggers.pop(label, None)
        if store:
            self.store.clear(label)

    def _close(self, label: str, held: Held) -> None:
        self.descriptors.close(label, held)
        if held.socket is not None and held.socket.remove_on_stop and held.socket.address.is_file:
            before, gone = self._leaving.get(label), trio.Event()
            self._leaving[label] = gone
            self._supervisor.nursery.start_soon(self._remove, label, held.socket, before, gone)

    async def _remove(self, label: str, socket: Socket, before: trio.Event | None, gone: trio.Event) -> None:
        if before is not None:
            await before.wait()
        try:
            await self._supervisor.host.ask(f"remove {socket.listen}", partial(opening.remove, socket))
        except OSError as error:
            LOG.warning("a socket's file is left", service=label, socket=socket.listen, error=error.strerror)
        finally:
            gone.set()
            if self._leaving.get(label) is gone:
                del self._leaving[label]

    async def _left(self, label: str) -> None:
        if (gone := self._leaving.get(label)) is not None:
            await gone.wait()

    async def all_left(self) -> None:
        """Wait until no file is being removed any more; not for ever."""
        with trio.move_on_after(_LEAVES):
            for label in list(self._leaving):
                await self._left(label)

    # -- waiting -------------------------------------------------------------------------------------------------------

    def demand(self, label: str, who: str) -> None:
        """Start a service that waits for its sockets or paths without them."""
        self._hands[label] = who
        self._supervisor.bells.ring(label)

    def is_demanded(self, label: str) -> bool:
        """Whether somebody has asked so, and the service has not begun to start yet."""
        return label in self._hands

    async def demanded(self, card: Card) -> tuple[str, str] | None:
        """Wait until something starts a service that is prepared; return who, and why. None: look at it again,
        its state or its card has changed. Raises SetupFailed."""
        label = card.label
        found: list[tuple[str, str | OSError]] = []
        waits: list[tuple[str, str, Callable[[], Awaitable[str]]]] = []
        if card.activation.when is When.ON_DEMAND:
            waits += [
                (
                    "socket",
                    f"{held.socket.listen if held.socket else ''} of {label}",
                    partial(self._readable, label, held),
                )
                for held in self.descriptors.sockets(label)
            ]
        if label in self._paths:
            waits.append(("path", f"signs of {label}", partial(_hit, self._paths[label])))

        async def one(who: str, what: str, wait: Callable[[], Awaitable[str]], scope: trio.CancelScope) -> None:
            try:
                found.append((who, await self._supervisor.host.heed(what, wait)))
            except OSError as error:
                found.append((who, error))
            except trio.ClosedResourceError:
                return
            scope.cancel()

        async with trio.open_nursery() as nursery:
            for who, what, wait in waits:
                nursery.start_soon(one, who, what, wait, nursery.cancel_scope)
            while label not in self._hands and self.still(card):
                await self._supervisor.bells.wait(label)
            nursery.cancel_scope.cancel()
        if not self.still(card):
            return None
        if label in self._hands:
            return self._hands[label], "started by hand"
        for who, told in found[:1]:
            if isinstance(told, str):
                return who, told
            hint = "epoll(7) cannot wait for such a file" if told.errno == errno.EPERM else ""
            raise self._failed(card, f"{who}s", told, "", hint)
        return None

    async def _readable(self, label: str, held: Held) -> str:
        if held not in self.descriptors.sockets(label):  # its number may be another's by now
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(held.fd)
        return f"something has come to {held.socket.listen}" if held.socket else ""

    def still(self, card: Card) -> bool:
        """Whether a service waits, with this card."""
        if card.label not in self._table:
            return False
        service = self._table.get(card.label)
        return service.state is State.WAITING and service.card is card

    def arm(self, card: Card) -> None:
        """Let the record say what a service waits for."""
        label, words = card.label, awaits(card)
        if self._table.get(label).awaits != words:
            self._table.fire(label, Event.ARMED, self._supervisor.cause("supervisor", "it is prepared"), awaits=words)

    def start(self, card: Card) -> Failure | None:
        """A start that something has asked for begins. Returns why it must not, when there were too many of them."""
        label, now = card.label, self._supervisor.host.now()
        if label in self._paths:
            self._paths[label].take()
        if self._hands.pop(label, ""):
            self._triggers.pop(label, None)
            return None
        times = self._triggers.get(label, ())
        if trigger.spent(times, now, card.activation):
            return trigger.too_often(card.activation)
        self._triggers[label] = trigger.noted(times, now, card.activation)
        return None

    # -- giving --------------------------------------------------------------------------------------------------------

    def given(self, card: Card) -> Given:
        """Return what an incarnation gets: its sockets in the order of the card, then what it has stored.

        ``sd_listen_fds(3)`` says how it finds them. All of them block, unless the card says otherwise: an earlier life may
        have changed that, which is a matter of the open file and not of its holder.
        """
        order = {_place(socket): index for index, socket in enumerate(card.sockets)}
        sockets = [
            held for held in self.descriptors.sockets(card.label) if held.socket and _place(held.socket) in order
        ]
        sockets.sort(key=lambda held: order[_place(held.socket)] if held.socket else 0)
        named = [(card.sockets[order[_place(held.socket)]], held) for held in sockets if held.socket]
        for socket, held in named:
            os.set_blocking(held.fd, not socket.non_blocking)
        if inetd.is_meant(card):
            named = []
        stored = self.descriptors.stored(card.label)
        fds = [held.fd for _, held in named] + [held.fd for held in stored]
        names = [socket.name or card.label for socket, _ in named] + [held.name for held in stored]
        if not fds:
            return Given()
        env = (("LISTEN_FDS", str(len(fds))), ("LISTEN_FDNAMES", ":".join(names)))
        return Given(env=env, pid_variables=("LISTEN_PID",), fds=tuple(fds))

    def dressed(self, card: Card) -> Card:
        """Return the card of an incarnation whose stdio is the only socket of its card, as it is written."""
        held = self.descriptors.sockets(card.label)
        return inetd.dressed(card, held[0].fd) if len(held) == 1 else card


async def _hit(watch: PathWatch) -> str:
    return (await watch.wait()).watch


def _place(socket: Socket) -> Socket:
    """What must be the same for a socket to stay open: all but what is told to the service."""
    return replace(socket, name="", non_blocking=False)


def awaits(card: Card) -> tuple[str, ...]:
    """Return what starts a service that waits for its sockets or paths; nothing for another."""
    listened = [socket.listen for socket in card.sockets] if card.activation.when is not When.START else []
    return (*listened, *(watch.watch for watch in card.paths)) if card.on_demand else ()
