"""What a service says of itself by sd_notify(3), heard and acted upon for the length of one life.

Whose message it is is judged first (notify.py says how); then its parts act in the order that systemd gives them: STOPPING
wins over READY, READY over RELOADING.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from arje import log
from arje.card.card import Card
from arje.card.supervision import NotifyAccess
from arje.incarnate.given import Given
from arje.kernel import process
from arje.service.notification import Notification, parse
from arje.supervisor import notify
from arje.supervisor.following import follow
from arje.supervisor.host import Living
from arje.supervisor.notify import Message, NotifySocket
from arje.supervisor.stopping import Stop
from arje.supervisor.vigil import Vigil

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_LONGEST_STATUS = 512  # characters that are kept of STATUS=


class Voice:
    """The ear for one life of one service; does nothing for a card that asks for nothing of it. Raises OSError.

    ``card`` is the card with the socket put into its sandbox.
    """

    def __init__(self, supervisor: Supervisor, card: Card) -> None:
        self._supervisor = supervisor
        self._label = card.label
        self._watchdog = card.supervision.watchdog
        self._main_only = card.supervision.notify_access is NotifyAccess.MAIN
        self._muted = False
        self._socket: NotifySocket | None = None
        self._seen = ""
        self._vigil: Vigil | None = None
        self._living: Living | None = None
        self.stop: Stop | None = None
        self.card = card
        if notify.wants_socket(card):
            self._socket = supervisor.host.notify_socket(card.label)
            self.card, self._seen = supervisor.seen_with(card, self._socket.path)

    def close(self) -> None:
        """Hear nothing more."""
        if self._socket is not None:
            self._socket.close()

    @property
    def is_listening(self) -> bool:
        """Whether there is anything to hear at all."""
        return self._socket is not None

    def given(self) -> Given:
        """Return what the payload is told."""
        if self._socket is None:
            return Given()
        env = [("NOTIFY_SOCKET", self._seen)]
        if self._watchdog:
            env.append(("WATCHDOG_USEC", str(round(self._watchdog * 1e6))))
        return Given(env=tuple(env), pid_variables=("WATCHDOG_PID",) if self._watchdog else ())

    def begins(self, vigil: Vigil, living: Living) -> None:
        """Whom the messages are about from now on."""
        self._vigil, self._living = vigil, living

    async def listen(self) -> None:
        """Act upon every message until cancelled."""
        while self._socket is not None:
            self._take(await self._socket.receive())
            await trio.lowlevel.checkpoint()

    def drain(self) -> None:
        """Act upon what has arrived already: the last words of one that has ended."""
        for message in self._socket.waiting() if self._socket is not None else ():
            self._take(message)

    def _take(self, message: Message) -> None:
        try:
            if trouble := self._stranger(message):
                LOG.warning("a message is not heard", service=self._label, pid=message.pid, why=trouble)
                return
            try:
                said = parse(message.data)
            except ValueError as error:
                LOG.warning("a message is none", service=self._label, pid=message.pid, why=str(error))
                return
            for wrong in said.wrong:
                LOG.warning("a line of a message says nothing", service=self._label, why=wrong)
            self._act(said, message)
        finally:
            message.close()

    def _stranger(self, message: Message) -> str:
        """Say why a message does not count; empty when it does."""
        living = self._living
        if living is None or message.pid == 0:
            return "nobody knows who sent it"
        if self._muted:
            return "it has said NOTIFYACCESS=none"
        if message.pid == living.incarnation.pid:
            return ""
        if self._main_only:
            return "only the main process speaks (notify_access)"
        if living.owns(message.pid):
            return ""
        if _is_gone(message.pid) and message.uid in (0, _uid_of(living.incarnation.pid)):
            return ""  # its path is known to the service alone, and its user is the service's
        return "its sender is not one of the service's"

    def _act(self, said: Notification, message: Message) -> None:
        assert self._vigil is not None
        vigil, table = self._vigil, self._supervisor.table
        if said.status is not None and self._label in table:
            table.note(self._label, status_text=said.status[:_LONGEST_STATUS])
        if said.main_pid is not None:
            self._follow(said.main_pid)
        if said.extend is not None:
            vigil.extend(said.extend)
            if self.stop is not None:
                self.stop.extend(said.extend)
        if said.watchdog_interval is not None:
            vigil.set_watchdog(said.watchdog_interval)
        if said.store_remove:
            self._supervisor.activations.store.remove(self._label, said.store_name)
        elif said.store and self._label in table:
            self._store(said, message)
        if said.restart_reset:
            table.forgive(self._label)
        if said.access is not None:
            self._muted, self._main_only = said.access == "none", said.access in ("main", "exec")
        if said.errno or said.error_name:
            vigil.says_error(said.errno or 0, said.error_name or "")
        if said.stopping:
            vigil.says_stopping()
        elif said.reloading:
            vigil.says_reloading(said.monotonic)
        if said.ready and not said.stopping:
            vigil.says_ready()
        if said.watchdog:
            vigil.feed()
        if said.watchdog_trigger:
            vigil.trigger()

    def _store(self, said: Notification, message: Message) -> None:
        """Keep the descriptors of a message for the next life."""
        fds, message.fds = message.fds, ()
        for fd in fds:
            self._supervisor.activations.store.add(self._label, said.store_name, fd, poll=said.store_poll)

    def _follow(self, pid: int) -> None:
        """Let another of the service's processes be its main one."""
        assert self._living is not None
        with contextlib.suppress(OSError):
            pid = _as_we_see(pid, self._living.incarnation.pid)
        if pid == self._living.incarnation.pid:
            return
        try:
            follow(self._supervisor, self._label, self._living, pid)
        except (OSError, ValueError) as error:
            LOG.warning("MAINPID is not followed", service=self._label, pid=pid, why=str(error))


def _is_gone(pid: int) -> bool:
    try:
        return process.status(pid)["State"][0] in "ZX"
    except (OSError, KeyError):
        return True


def _uid_of(pid: int) -> int:
    try:
        return int(process.status(pid)["Uid"].split()[1])
    except (OSError, KeyError, ValueError):
        return -1


def _as_we_see(pid: int, main: int) -> int:
    """Return our number of a process that the service names: its main process by the number inside, others as they are."""
    inside = process.status(main).get("NSpid", "").split()
    return main if inside[-1:] == [str(pid)] else pid
