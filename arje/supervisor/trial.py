"""``apply --confirm``: whether a set of cards that was just taken is a good one, watched for some seconds.

Everything that the step touched has to be up in time: running and ready, or done for a one-shot, or armed. What says
itself that it is ready is believed, and when all have said so the trial is over. What does not (it is "ready" once it
runs) is watched to the end of the time, and may not end meanwhile, not even to be started again. A service that its
conditions or its rivals keep from starting, or that a hand has stopped, is as it should be.

Who was up before and depends on something that was touched may not fail either. What fails beside that is not the step's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from arje.card.card import Card
from arje.card.payload import Virtual
from arje.card.supervision import Kind
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor.cards import CardPlan
from arje.supervisor.history import Step

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_BEGINS: Final = ("starts", "restarts", "waits")


@dataclass(frozen=True, slots=True)
class Blame:
    """Which service was not good enough, and why; ``label`` is empty when somebody has broken the trial off."""

    label: str
    why: str


class Trial:
    """One step on trial for ``seconds``; ``who`` took it. ``answer`` is what its client is told when it was given up."""

    def __init__(self, supervisor: Supervisor, plan: CardPlan, step: Step, seconds: float, who: str) -> None:
        self.step, self.seconds, self.who = step, seconds, who
        self.ends = supervisor.host.now() + seconds
        self.over = trio.Event()
        self.answer: dict[str, Any] | None = None
        self._supervisor = supervisor
        self._table = supervisor.table
        self._new = {change.label for change in plan.changes if change.feels in _BEGINS}
        self._touched = sorted(self._new | {change.label for change in plan.changes if change.feels == "reloads"})
        self._armed = [change.label for change in plan.changes if change.feels in ("arms", "rebinds")]
        self._others = step.up - {change.label for change in plan.changes}
        self._blame: Blame | None = None
        self._bell = trio.Event()

    def __str__(self) -> str:
        left = max(0.0, self.ends - self._supervisor.host.now())
        return f"the apply of {self.who} is being confirmed for {left:.0f} s more"

    def break_off(self, who: str) -> None:
        """Let the trial end, and badly."""
        self._blame = Blame("", f"{who} has broken its confirmation off")
        self._bell.set()

    async def run(self) -> Blame | None:
        """Wait for the verdict: None when the set is good, or when the manager stops, who judges nothing any more."""
        unsubscribe = self._table.subscribe(lambda _old, _new: self._bell.set())
        try:
            with trio.move_on_after(self.seconds):
                while not (verdict := self._verdict()) and not self._supervisor.stopping:
                    self._bell = trio.Event()
                    if self._is_good() and not self._has_to_be_watched():
                        break
                    await self._bell.wait()
            verdict = self._verdict() or self._late()
            return None if self._supervisor.stopping else verdict
        finally:
            unsubscribe()

    def _verdict(self) -> Blame | None:
        """Return what is wrong for good."""
        if self._blame is not None or self._supervisor.stopping:
            return self._blame
        for service in filter(None, map(self._find, (*self._touched, *self._armed, *sorted(self._others)))):
            label = service.label
            if service.state is State.FAILED and (label not in self._others or self._is_felt(service)):
                return Blame(label, f"{label} has failed: {service.failure or service.cause}")
            if label not in self._others and service.state is State.DONE and not _may_end(service.card):
                return Blame(label, f"{label} has ended: {service.last_exit}")
        return None

    def _late(self) -> Blame | None:
        """Return what is not good when the time is over."""
        for service in filter(None, map(self._find, self._touched)):
            label = service.label
            if not self._is_up(service):
                return Blame(label, f"{label} is {service.state.value} and was not ready in {self.seconds:g} s")
            if label in self._new and service.restarts and not _speaks(service.card):
                return Blame(label, f"{label} has ended {service.restarts} times by itself in {self.seconds:g} s")
        for service in filter(None, map(self._find, self._armed)):
            if not self._supervisor.timers.is_armed(service.label) and not self._is_up(service):
                return Blame(service.label, f"{service.label} is not armed")
        lost = next(
            (each for each in filter(None, map(self._find, sorted(self._others))) if each.lost_dependency), None
        )
        return Blame(lost.label, f"{lost.label} is {lost.state.value}: {lost.failure}") if lost else None

    def _is_good(self) -> bool:
        return self._late() is None

    def _has_to_be_watched(self) -> bool:
        return any(not _speaks(service.card) for service in filter(None, map(self._find, self._new)))

    def _find(self, label: str) -> Service | None:
        return self._table.get(label) if label in self._table else None

    @staticmethod
    def _is_up(service: Service) -> bool:
        rests = service.state is State.STOPPED and not service.wanted
        return rests or service.is_up or (service.state is State.DONE and _may_end(service.card))

    def _is_felt(self, service: Service) -> bool:
        """Whether the failure of one that was not touched has to do with the step."""
        if service.lost_dependency:
            return True
        graph = self._supervisor.graph
        return service.label in graph and bool(set(graph.closure([service.label])) & {*self._touched, *self.step.cards})


def _speaks(card: Card) -> bool:
    """Whether a service says itself that it is good, so that nobody has to watch."""
    ends = card.supervision.kind in (Kind.ONE_SHOT, Kind.SCRIPTED)
    return ends or card.supervision.readiness is not None or isinstance(card.payload, Virtual)


def _may_end(card: Card) -> bool:
    return card.supervision.kind in (Kind.ONE_SHOT, Kind.DELEGATE)
