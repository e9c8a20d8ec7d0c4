"""A service that is started for each connection, as inetd does it: arje accepts, and every connection gets a process.

Each of them is an incarnation of its own, with the card's whole body and limits and a cgroup of its own (``LABEL:N``). What
it writes goes to the service's log; that it fails is counted and told, and hurts nobody else. When as many run as may, the
next connections wait in the kernel's queue.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card import signals
from arje.card.activation import Activation
from arje.card.card import Card
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.given import Given
from arje.incarnation import Exit
from arje.service import trigger
from arje.service.record import Failure, FailureReason
from arje.service.restart import is_success
from arje.supervisor import inetd
from arje.supervisor.birth import DYING, Birth
from arje.supervisor.descriptors import Held
from arje.supervisor.host import Living, keep_descriptors
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.stopping import steps

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_BREATH: Final = 1.0  # seconds until accept is tried again when the machine had no room
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: Of this one connection, not of the listener (accept(2)).
_GONE: Final = frozenset(
    {
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPERM, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT),
        *(errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH),
    }
)
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One that is served: ``peer`` for people, ``source`` what counts as one of the limit; pid None: being started."""

    number: int
    listen: str
    peer: str
    source: str
    since: float
    address: str = ""
    port: int = 0
    pid: int | None = None


class Connections:
    """The connections of one service, while it listens."""

    def __init__(self, supervisor: Supervisor, card: Card) -> None:
        self._supervisor = supervisor
        self._card = card
        self._alive: dict[int, Connection] = {}
        self._living: dict[int, tuple[Living, ExitSlot]] = {}
        self._room = trio.Event()
        self._times: tuple[float, ...] = ()
        self._ending = False
        self.accepted = self.refused = self.failed = 0
        self.last_failure = ""
        self.failure: Failure | None = None

    @property
    def alive(self) -> tuple[Connection, ...]:
        """Those that are served now."""
        return tuple(self._alive.values())

    async def serve(self, sockets: tuple[Held, ...]) -> None:
        """Accept and serve until cancelled, or until :attr:`failure` says why not. Then end every connection."""
        async with trio.open_nursery() as instances:
            try:
                async with trio.open_nursery() as listeners:
                    for held in sockets:
                        listeners.start_soon(self._listen, held, instances, listeners.cancel_scope)
            finally:
                self._ending = True
                with trio.CancelScope(shield=True):
                    await self._end()
                instances.cancel_scope.cancel()

    # -- accepting -----------------------------------------------------------------------------------------------------

    async def _listen(self, held: Held, instances: trio.Nursery, scope: trio.CancelScope) -> None:
        assert held.socket is not None
        os.set_blocking(held.fd, False)
        listener = socket.socket(fileno=held.fd)
        try:
            while True:
                while len(self._alive) >= self._limits.max_connections:
                    await self._some_room()
                await trio.lowlevel.wait_readable(held.fd)
                if len(self._alive) >= self._limits.max_connections:
                    continue
                try:
                    keep_descriptors()
                    accepted, peer = listener.accept()
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    if error.errno not in _NO_ROOM:
                        raise
                    LOG.warning("no room for a connection", service=self._card.label, error=error.strerror)
                    await trio.sleep(_BREATH)
                    continue
                if not self._take(held.socket.listen, accepted, peer, instances):
                    return
        except OSError as error:
            self.failure = Failure(reason=FailureReason.RESOURCES, errno=error.errno or 0, detail=str(error))
        finally:
            listener.detach()
            if self.failure is not None:
                scope.cancel()

    @property
    def _limits(self) -> Activation:
        """Those of the card in force: a new one may raise them without a restart."""
        label = self._card.label
        table = self._supervisor.table
        return (table.get(label).card if label in table else self._card).activation

    async def _some_room(self) -> None:
        if self._room.is_set():
            self._room = trio.Event()
        await self._room.wait()

    def _take(self, listen: str, accepted: socket.socket, peer: object, instances: trio.Nursery) -> bool:
        """Serve a connection, or close it. Returns false when there were too many in too short a time."""
        now = self._supervisor.host.now()
        limits = self._limits
        if trigger.spent(self._times, now, limits):
            accepted.close()
            self.failure = trigger.too_often(limits)
            return False
        self._times = trigger.noted(self._times, now, limits)
        self.accepted += 1
        number = next(number for number in range(1, len(self._alive) + 2) if number not in self._alive)
        found = _connection(number, listen, accepted, peer, now)
        most = limits.max_connections_per_source
        if most and Counter(each.source for each in self._alive.values())[found.source] >= most:
            accepted.close()
            self.refused += 1
            LOG.info("a connection too many from one source", service=self._card.label, peer=found.peer)
            return True
        self._alive[number] = found
        instances.start_soon(self._serve, found, accepted)
        return True

    # -- serving -------------------------------------------------------------------------------------------------------

    async def _serve(self, found: Connection, accepted: socket.socket) -> None:
        try:
            trouble = await self._one_life(found, accepted)
        except Exception:
            LOG.exception("a connection could not be served", service=self._card.label, peer=found.peer)
            trouble = "arje itself failed"
        finally:
            accepted.close()
            self._alive.pop(found.number, None)
            self._living.pop(found.number, None)
            self._room.set()
        if trouble and not self._ending:
            self.failed += 1
            self.last_failure = f"{found.peer}: {trouble}"
            LOG.warning("a connection has failed", service=self._card.label, peer=found.peer, why=trouble)

    async def _one_life(self, found: Connection, accepted: socket.socket) -> str:
        """Start a process for a connection, and wait for its end. Returns what went wrong."""
        accepted.setblocking(True)
        card = _card(self._card, found.number, accepted.fileno())
        birth = Birth(self._supervisor, card, _given(self._card, found, accepted.fileno()), self._card.label)
        try:
            outcome, slot = await birth.run()
        except (IncarnationRefused, SetupFailed, OSError) as error:
            await birth.give_up()
            return str(error)
        except BaseException:
            with trio.CancelScope(shield=True):
                await birth.give_up()
            raise
        accepted.close()  # the peer is to see the end when the process closes it
        label = outcome.incarnation.label
        self._supervisor.commands[label] = outcome
        self._living[found.number] = outcome, slot
        self._alive[found.number] = replace(found, pid=outcome.incarnation.pid)
        if self._ending:
            outcome.kill_tree()
        try:
            await slot.wait()
        finally:
            with trio.CancelScope(shield=True):
                ended = await self._bury(outcome, slot)
        if ended is None:
            return "it does not die"
        return "" if is_success(self._card.supervision, ended) else str(ended)

    async def _bury(self, outcome: Living, slot: ExitSlot) -> Exit | None:
        """End what is left of a process, and let go. Returns how it ended; None when it does not die."""
        label = outcome.incarnation.label
        self._supervisor.commands.pop(label, None)
        if slot.exit is None:
            outcome.kill_tree()
            if not await slot.wait(DYING):
                LOG.error("a connection's process cannot be killed", service=label)
                return None
        assert slot.exit is not None
        ended = outcome.exit_of(slot.exit)
        self._supervisor.forget_helpers(label)
        try:
            await self._supervisor.host.close(outcome)
        except OSError as error:
            LOG.error("something of a connection is left", service=label, error=str(error))
        return ended

    async def _end(self) -> None:
        """Tell every process to go, as the card says; who does not is killed when this is over."""
        for name, seconds in steps(self._card):
            for outcome, _ in self._living.values():
                outcome.thaw()  # a frozen process hears nothing but KILL
                if name and outcome.signal_main(signals.number(name)):
                    outcome.kill_tree()
            with trio.move_on_after(seconds):
                while self._alive:
                    await self._some_room()


async def serve(supervisor: Supervisor, card: Card, is_over: Callable[[], bool]) -> Failure | None:
    """Serve a card's connections until its bell rings and it is over; return why that had to end, if it had."""
    found = supervisor.activations.connections[card.label] = Connections(supervisor, card)

    async def serve_them() -> None:
        await found.serve(supervisor.activations.descriptors.sockets(card.label))
        supervisor.bells.ring(card.label)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_them)
            while not is_over() and found.failure is None:
                await supervisor.bells.wait(card.label)
            nursery.cancel_scope.cancel()
    finally:
        del supervisor.activations.connections[card.label]
    return found.failure


def _card(card: Card, number: int, fd: int) -> Card:
    """Return the card of one connection: the service's, below another name."""
    soma = card.soma
    soma = replace(soma, cgroup=soma.cgroup and replace(soma.cgroup, path=""))
    return inetd.dressed(replace(card, label=f"{card.label}:{number}", soma=soma), fd)


def _given(card: Card, found: Connection, fd: int) -> Given:
    env = [("REMOTE_ADDR", found.address), ("REMOTE_PORT", str(found.port))] if found.address else []
    if found.address and not found.port:
        env.pop()
    if inetd.is_meant(card):
        return Given(env=tuple(env))
    env += [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "connection")]
    return Given(env=tuple(env), pid_variables=("LISTEN_PID",), fds=(fd,))


def _connection(number: int, listen: str, accepted: socket.socket, peer: object, now: float) -> Connection:
    """Return who has connected: an address, or a process of this machine (unix(7), SO_PEERCRED)."""
    if accepted.family in (socket.AF_INET, socket.AF_INET6) and isinstance(peer, tuple):
        address = str(peer[0]).removeprefix("::ffff:") if "." in str(peer[0]) else str(peer[0])
        port = int(peer[1])
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return Connection(
            number=number, listen=listen, peer=shown, source=address, since=now, address=address, port=port
        )
    if accepted.family is socket.AF_UNIX:
        raw = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        path = peer if isinstance(peer, str) else ""
        return Connection(
            number=number, listen=listen, peer=f"pid {pid}, uid {uid}", source=f"uid {uid}", since=now, address=path
        )
    return Connection(number=number, listen=listen, peer=str(peer), source=str(peer), since=now)
