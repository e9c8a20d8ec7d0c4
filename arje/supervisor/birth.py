"""The birth of one incarnation: from opened descriptors to confirmed exec, in a bounded time, whatever the kernel does.

A set-up may hang in the kernel, as in a mount whose server does not answer. It is killed when its time is over; one that
does not even die is given up, and buried when it is dead.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.card import Card
from arje.errors import SetupFailed
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.spawn import StdioFds
from arje.incarnation import Step
from arje.supervisor import heal
from arje.supervisor.host import Living, Unborn
from arje.supervisor.reaper import ExitSlot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
SETUP: Final = 30.0  # seconds for everything between "its dependencies are up" and exec
DYING: Final = 5.0  # seconds for a killed process to go; who takes longer may never


class Overdue(SetupFailed):
    """A set-up that took longer than it may."""

    def __init__(self, label: str, step: Step, detail: str) -> None:
        super().__init__(label, step, 0, "", detail, hint="what it opens or enters may lie on a mount that is dead")


class Birth:
    """One start of one service, or of a command for one: ``log_of`` is whose log it writes to, if not its own."""

    def __init__(self, supervisor: Supervisor, card: Card, given: Given = NOTHING, log_of: str = "") -> None:
        self._supervisor = supervisor
        self._host = supervisor.host
        self._card = card
        self._given = given
        self._label = card.label
        self._log_of = log_of or card.label
        self._held: tuple[Unborn, ExitSlot] | None = None
        self._asked_for = "a file of its stdio was not opened in time"
        self.patience = trio.CancelScope()

    async def run(self) -> tuple[Living, ExitSlot]:
        """Start the service. Raises SetupFailed, IncarnationRefused and OSError; nothing is left then."""
        self.patience.deadline = min(self.patience.deadline, trio.current_time() + SETUP)
        with self.patience:
            log_of = self._supervisor.logs.of(self._log_of)
            async with self._host.stdio(self._card, log_of, self._supervisor.nursery) as stdio:
                self._asked_for = "an env file, a user's name or a directory of its mounts was not to be had in time"
                await self._host.furnish(self._card, self._given)
                pending, slot = self._begin(stdio)
            await pending.confirmed()
        if self.patience.cancelled_caught:
            if self._held is None:
                raise Overdue(self._label, Step.PREPARE, self._asked_for)
            pending, slot = self._held
            await self._kill(pending)
        outcome = self._finish(pending, slot)
        self._let_go()
        return outcome, slot

    def _begin(self, stdio: StdioFds) -> tuple[Unborn, ExitSlot]:
        pending = self._host.begin(self._card, stdio, self._given)
        slot = self._host.expect(pending.leader_pid, partial(self._supervisor.bells.ring, self._label))
        self._held = pending, slot
        self._supervisor.pendings[self._label] = pending
        if pending.helper_pids:
            self._supervisor.helpers[self._label] = {
                pid: self._host.expect(pid, self._helper_ended) for pid in pending.helper_pids
            }
        return self._held

    def _helper_ended(self) -> None:
        heal.helper_ended(self._supervisor, self._label)

    def _let_go(self) -> None:
        self._held = None
        self._supervisor.pendings.pop(self._label, None)

    async def _kill(self, pending: Unborn) -> None:
        """The set-up took too long. Raises Overdue when it does not even die."""
        self._host.kill(pending.leader_pid)
        with trio.move_on_after(DYING) as dying:
            await pending.confirmed()
        if dying.cancelled_caught:
            raise Overdue(self._label, Step.GATE, "its set-up hangs in the kernel and does not die")

    def _finish(self, pending: Unborn, slot: ExitSlot) -> Living:
        try:
            return pending.finish()
        except Exception as error:  # it was reaped there
            self._host.forget(pending.leader_pid, slot)
            self._supervisor.forget_helpers(self._label)
            self._let_go()
            if self.patience.cancelled_caught and isinstance(error, SetupFailed):
                raise Overdue(self._label, error.step, "its set-up was not over in time, and was killed") from error
            raise

    async def give_up(self) -> None:
        """Kill what a start that raised has left, and clean up once it is dead; that may be later than one can wait."""
        if self._held is None:
            return
        pending, slot = self._held
        self._let_go()
        self._supervisor.forget_helpers(self._label)
        self._host.kill(pending.leader_pid)
        if await slot.wait(0.0 if self.patience.cancelled_caught else DYING):
            await pending.abort()
        else:
            self._supervisor.nursery.start_soon(_bury, self._label, pending, slot)


async def _bury(label: str, pending: Unborn, slot: ExitSlot) -> None:
    await slot.wait()
    try:
        await pending.abort()
    except Exception:
        LOG.exception("something of a set-up is left", service=label)
