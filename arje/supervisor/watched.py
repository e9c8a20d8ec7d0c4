"""Live conditions: a service that waits while its conditions do not hold, and feels it when they cease to (inotify(7)).

One task per service that is wanted, and none when none is. They are *on* or *off*, and in *flux* between the two: from the
first sign of a change (a file system tells of changes in bursts) until somebody has looked after the burst, and, when they
do not hold then, until the card's grace is over. In flux what was last known stays in force: who runs keeps running. Each
look also takes a *print* of what the conditions speak of, so that a file which is replaced between two looks is a change
although nobody has seen it missing.

A path that is not there is watched for through its nearest parent that is. What only changes with the machine (its kernel,
its processors) needs no watching, what may change and tells nobody is refused by the card (``card/conditions.py``).
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.card import Card
from arje.card.edges import Reaction
from arje.card.live_conditions import LiveConditions, Off
from arje.service.state import Event, State
from arje.supervisor.condition_watch import ConditionWatch, look
from arje.supervisor.needs import UNSEEN

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_QUIET: Final = 0.02  # seconds without a further change: the burst is over
_RUNS: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING})
_AT_REST: Final = frozenset({State.STOPPED, State.FAILED, State.DONE})


class Watched:
    """The live conditions of one manager's services. What does not hold stands in ``Needs.unmet``."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._unmet = supervisor.needs.unmet
        self._rounds: dict[str, int] = {}  # who is watched, and how often that has begun
        self._begun: Counter[str] = Counter()
        self._flux: dict[str, str] = {}  # whose conditions are in flux, and why

    def begin(self, label: str) -> None:
        """Watch a service's conditions from now until it is at rest; it may not start before they were looked at anew."""
        known = label in self._rounds
        self._rounds[label] = self._rounds.get(label, 0) + 1
        self._unmet[label] = UNSEEN
        if known:  # its task hears of the new round by the bell of the change that has begun it
            return
        self._supervisor.nursery.start_soon(self._watch, label, name=f"conditions of {label}")

    def is_watching(self, label: str) -> bool:
        """Whether what is in ``unmet``, or is not, is so: else the conditions are looked at before each start."""
        return label in self._rounds

    def words(self, card: Card) -> str:
        """Return whether the live conditions of a card are on, off or in flux, and why; empty when nobody watches them."""
        if card.live_conditions is None or card.label not in self._rounds:
            return ""
        if why := self._flux.get(card.label):
            return f"flux: {why}"
        unmet = self._unmet.get(card.label)
        return f"flux: {unmet}" if unmet == UNSEEN else f"off: {unmet}" if unmet else "on"

    async def _watch(self, label: str) -> None:
        table = self._supervisor.table
        try:
            while self._is_wanted(label):
                card, number = table.get(label).card, self._rounds[label]
                asked = card.conditions, card.live_conditions
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._look_again_and_again, card)
                    while self._is_wanted(label) and self._rounds[label] == number:
                        card = table.get(label).card
                        if (card.conditions, card.live_conditions) != asked:
                            break
                        await self._supervisor.bells.wait(label)
                    nursery.cancel_scope.cancel()
        except Exception:
            LOG.exception("conditions cannot be watched", service=label)
        finally:
            del self._rounds[label]
            self._unmet.pop(label, None)
            self._flux.pop(label, None)
            self._supervisor.bells.ring(label)

    def _is_wanted(self, label: str) -> bool:
        table = self._supervisor.table
        if label not in table:
            return False
        service = table.get(label)
        between = service.state is State.STOPPED and service.wanted  # it stopped to start again
        return service.card.live_conditions is not None and (between or service.state not in _AT_REST)

    async def _look_again_and_again(self, card: Card) -> None:
        host, label, asked = self._supervisor.host, card.label, card.live_conditions
        assert asked is not None
        self._begun[label] += 1
        what = f"{label} (watch {self._begun[label]})"  # what is asked in one belongs to no other, wherever that ended
        watch, known, until = ConditionWatch(card.conditions), "", None
        try:
            while True:
                await host.ask(f"watches of {what}", watch.arm)
                false, found = await host.ask(f"conditions of {what}", partial(look, card.conditions))
                renewed = bool(known and found != known) or until is not None
                until = self._judge(label, asked, false, until)
                if false == "":
                    if renewed or self._unmet.get(label):
                        self._be_on(label, asked, renewed=renewed)
                    known = found
                with trio.move_on_after(max(0.0, until - trio.current_time()) if until else float("inf")):
                    await host.heed(f"changes at {what}", watch.changed)
                    self._flux.setdefault(label, "something that they speak of has changed")
                    await host.heed(f"quiet at {what}", partial(watch.quiet, _QUIET))
        finally:
            watch.close()
            self._flux.pop(label, None)

    def _judge(self, label: str, asked: LiveConditions, false: str, until: float | None) -> float | None:
        """Judge what was found. Returns until when the conditions are in flux; None when they are not."""
        self._flux.pop(label, None)
        if not false or label in self._unmet:
            if false:
                self._unmet[label] = false
                self._supervisor.bells.ring(label)
            return None
        until = until or trio.current_time() + asked.grace
        if self._state(label) in _RUNS and trio.current_time() < until:
            self._flux[label] = f"{false}, and may be so for {asked.grace:g} s"
            return until
        self._be_off(label, asked, false)
        return None

    def _state(self, label: str) -> State | None:
        table = self._supervisor.table
        return table.get(label).state if label in table else None

    def _be_off(self, label: str, asked: LiveConditions, false: str) -> None:
        self._unmet[label] = false
        if self._state(label) in _RUNS:
            self._do(label, Reaction.RELOAD if asked.off is Off.RELOAD else Reaction.RESTART, false)
        self._supervisor.bells.ring(label)

    def _be_on(self, label: str, asked: LiveConditions, *, renewed: bool) -> None:
        """Let a service start, or feel that its conditions hold anew."""
        was_off = self._unmet.pop(label, UNSEEN) != UNSEEN
        if (renewed or was_off) and self._state(label) in _RUNS:
            self._do(label, asked.renewed, "its conditions hold anew")
        self._supervisor.bells.ring(label)

    def _do(self, label: str, reaction: Reaction, why: str) -> None:
        if reaction is Reaction.RESTART:
            cause = self._supervisor.cause("condition", why)
            self._supervisor.table.fire(label, Event.STOP, cause, wanted=True)
        elif reaction is Reaction.RELOAD:
            self._supervisor.nursery.start_soon(self._reload, label, why)

    async def _reload(self, label: str, why: str) -> None:
        try:
            life = self._supervisor.life(label)
            trouble = await life.reload("condition") if life is not None else "it does not run"
            LOG.info("reloaded", service=label, why=why, trouble=trouble)
        except Exception:
            LOG.exception("a service could not be reloaded", service=label)
