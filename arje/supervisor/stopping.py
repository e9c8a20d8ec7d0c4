"""The end of an incarnation that arje brings about: the card's command, its signals one after the other, then the kill.

What is being waited for stands in the service's record while it is waited for. Whoever asks a second time goes on to the
next step at once; a service that says EXTEND_TIMEOUT_USEC gets more time for the one it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from arje import log
from arje.card import signals
from arje.card.card import Card
from arje.service.state import Event
from arje.supervisor import hooks
from arje.supervisor.birth import DYING
from arje.supervisor.host import Living
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.vigil import Doom

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


def steps(card: Card, doom: Doom | None = None) -> tuple[tuple[str, float], ...]:
    """Return the signals to send, each with its seconds; an empty name sends nothing and only waits."""
    asked = card.supervision
    if doom is not None and (doom.patient or doom.signal):
        return ((doom.signal, asked.stop_timeout),)
    return asked.stop or ((asked.stop_signal, asked.stop_timeout),)


class Stop:
    """One stop of one incarnation."""

    def __init__(self, supervisor: Supervisor, card: Card, living: Living, slot: ExitSlot) -> None:
        self._supervisor = supervisor
        self._card = card
        self._label = card.label
        self._living = living
        self._slot = slot
        self._scope: trio.CancelScope | None = None

    async def run(self, doom: Doom | None = None) -> str:
        """End it. Returns the way that worked; waits for as long as none does."""
        self._living.thaw()  # a frozen process hears nothing but KILL
        if self._card.hooks.stop and not (doom and (doom.signal or doom.patient)):
            await self._command()
            if self._slot.exit is not None:
                return "hook stop"
        refused, tried = "", list[str]()
        for name, seconds in steps(self._card, doom):
            refused = self._living.signal_main(signals.number(name)) if name else ""
            if refused:
                break
            if await self._wait(name, seconds):
                return f"signal {name}" if name else "by itself"
            tried.append(f"{name} {seconds:g} s" if len(steps(self._card, doom)) > 1 else f"{seconds:g} s")
        return await self._kill(refused, ", ".join(tried))

    async def _command(self) -> None:
        limit = self._card.supervision.stop_timeout
        with trio.CancelScope() as self._scope:
            await hooks.run(self._supervisor, self._card, "stop", running=self._living, seconds=limit)
        self._scope = None

    async def _wait(self, name: str, seconds: float) -> bool:
        """Wait for the end; return whether it came in time."""
        self._note(f"{name} sent, {seconds:g} s to go" if name else f"it has {seconds:g} s to end by itself")
        with trio.move_on_after(seconds) as self._scope:
            await self._slot.wait()
        self._scope = None
        return self._slot.exit is not None

    async def _kill(self, refused: str, after: str) -> str:
        way = self._living.kill_tree()
        method = f"{way} after {after}" if not refused else way if way == refused else f"{way}: {refused}"
        self._note(f"killed ({method}), and not gone yet")
        if way == refused or not await self._slot.wait(DYING):
            stuck = method if way == refused else f"{method}; it does not die"
            pid = self._living.incarnation.pid
            LOG.error("a service cannot be stopped", service=self._label, pid=pid, why=stuck)
            cause = self._supervisor.cause("supervisor", stuck)
            self._supervisor.table.fire(self._label, Event.STUCK, cause, kill_method=stuck)
            await self._slot.wait()
        return method

    def hurry(self) -> None:
        """Go on to the next step."""
        if self._scope is not None:
            self._scope.cancel()

    def extend(self, seconds: float) -> None:
        """Let the step that it is in last at least so many seconds from now."""
        if self._scope is not None:
            self._scope.deadline = max(self._scope.deadline, trio.current_time() + seconds)

    def _note(self, doing: str) -> None:
        if self._label in self._supervisor.table:
            self._supervisor.table.note(self._label, doing=doing)
