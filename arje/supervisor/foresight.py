"""What a plan would do to every service, found out by doing it: in a supposed world, where everything goes well.

The supposed world is a supervisor like the real one, with a copy of its records and without processes, tasks or a disk.
So what pulls in what, who makes room for whom and who feels a restart is decided by the very rules that will decide it;
what cannot be known beforehand (an end, a condition, a set-up) is supposed to be good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from arje.card.card import Card
from arje.card.supervision import Kind
from arje.service.order import Graph
from arje.service.record import Service
from arje.service.state import Event, State
from arje.supervisor.aftermath import Aftermath
from arje.supervisor.cards import CardPlan, Change, to_arm
from arje.supervisor.catalogue import masked_by
from arje.supervisor.host import Host
from arje.supervisor.needs import Loss
from arje.supervisor.supervisor import Supervisor
from arje.supervisor.ties import Ties

if TYPE_CHECKING:
    from arje.supervisor.timers import Timers

_MOVING: Final = frozenset({State.WAITING, State.STARTING, State.STOPPING})
_LIVES: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING})
_WHO: Final = "apply"


def foresee(supervisor: Supervisor, plan: CardPlan) -> CardPlan:
    """Return a plan whose changes say what everybody feels; its orders are what the changes said before."""
    orders = {change.label: change.feels for change in plan.changes if change.feels != "nothing"}
    plan = replace(plan, orders=orders)
    if plan.problems or not plan.changes:
        return plan
    world = Supposed(supervisor)
    world.calm()
    world.take(plan)
    own = [_own(world, change) for change in plan.changes]
    known = {change.label for change in own}
    return replace(plan, changes=(*own, *(_other(world, label) for label in world.touched() if label not in known)))


def _own(world: Supposed, change: Change) -> Change:
    """What one service feels whose card changes."""
    if change.change == "remove":
        armed = change.feels == "nothing" and world.timers.is_armed(change.label)
        return replace(change, feels="disarms") if armed else change
    feels, why = world.feels(change.label)
    if feels == "nothing" and change.feels in ("arms", "rebinds"):
        return change
    return replace(change, feels=feels, why="" if feels == change.feels else why)


def _other(world: Supposed, label: str) -> Change:
    feels, why = world.feels(label)
    return Change(label, "keep", feels, why=why)


class Supposed(Supervisor):
    """A world that is only thought of. ``began`` and ``ended``: the lives that begin and end in it, by label, with why."""

    def __init__(self, real: Supervisor) -> None:
        super().__init__(cast("Host", _Clock(real.host)), real.logs, Path())
        self.ties = _Ties(self)
        self._armed = _Armed(real)
        self.timers = cast("Timers", self._armed)
        self.began: dict[str, str] = {}
        self.ended: dict[str, str] = {}
        self.reloaded: dict[str, str] = {}
        self._held: set[str] = set()
        self._moving = {service.label for service in real.table if service.state in _MOVING}
        self.graph, self.stopping = real.graph, real.stopping
        self.needs.unmet = dict(real.needs.unmet)
        self.table.adopt(real.table)

    # -- what is done --------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let what is on its way already have come."""
        self._play()
        self.began, self.ended, self.reloaded = {}, {}, {}
        self._held = set(self._moving)

    def take(self, plan: CardPlan) -> None:
        """Do what ``taking.enact`` does."""
        self._set(plan.cards)
        for label in plan.ordered("disarms"):
            self.timers.disarm(label, _WHO)
        for label in self.graph.stop_order(stopped(plan)):
            self.unwant(label, _WHO)
            self._end_stops()
        again = with_parts(self, plan.ordered("restarts"))
        self.paused.update(again)
        for label in self.graph.stop_order(again):
            self.again(label, _WHO)
            self._end_stops()
        self.ended |= {label: self._whole(label, again) for label in again if label not in plan.orders}
        self.paused.clear()
        for label in self.graph.start_order(plan.ordered("starts")):
            self.want(label, _WHO, gently=True)
        for label in to_arm(plan, self.table):
            self.timers.arm(label, _WHO)
        self._play()
        for label in list(cast("_Ties", self.ties).borne):
            if (lost := self.needs.loss(label)) is not None:
                self.ties._lose(lost)
        self._play()

    def _whole(self, label: str, again: list[str]) -> str:
        """Return of what a service is part that restarts."""
        names = self.table.get(label).card.part_of
        wholes = (other for name in names for other in self.graph.resolve(name, label) if other in again)
        return f"it is part of {next(wholes, '')}"

    def _set(self, cards: Iterable[Card]) -> None:
        cards = list(cards)
        labels = {card.label for card in cards}
        for service in self.table:
            if service.label not in labels:
                self.table.adopt([replace(service, state=State.STOPPED)])
                self.table.remove(service.label)
                self._moving.discard(service.label)
        for card in cards:
            if card.label in self.table:
                self.table.replace_card(card)
            else:
                self.table.add(card, self.cause(_WHO, ""))
        self.graph = Graph.for_boot(cards)
        self.timers.take(cards)
        self.want_what_is_lost(_WHO)

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Let everything that is on its way come about, and well."""
        steps = 100 * (len(self.table) + 10)  # two that restart each other never come to rest
        moved = True
        while moved and steps > 0:
            moved = False
            order = sorted(self._moving)
            with contextlib.suppress(Exception):
                order = list(self.graph.start_order(order))
            for label in order:
                steps -= 1
                moved = self._step(label) or moved

    def _end_stops(self) -> None:
        for label in sorted(self._moving):
            if self.table.get(label).state is State.STOPPING:
                self._step(label)

    def _step(self, label: str) -> bool:
        """Let the next thing happen to a service; whether anything did."""
        service = self.table.get(label)
        if service.state is State.STOPPING and not service.is_stuck:
            Aftermath(self, label).stopped()
            ended = self.table.get(label)
            if ended.state is State.STOPPED and ended.wanted:
                self.table.fire(label, Event.WANTED, self.cause("", ended.cause.detail), activation=ended.activation)
            return True
        if service.state is State.WAITING and masked_by(service.card):
            self.table.fire(label, Event.SKIPPED, self.cause("mask", "masked"))
            return True
        if service.state is State.WAITING and self.may_start(label):
            if service.card.on_demand and not self.activations.is_demanded(label):
                self.activations.arm(service.card)
                return self.table.get(label) is not service
            self.activations.start(service.card)
            self.table.fire(label, Event.DEPENDENCIES_MET, self.cause("", ""))
            return True
        if service.state is State.STARTING:
            one_shot = service.card.supervision.kind is Kind.ONE_SHOT
            self.table.fire(label, Event.EXITED_DONE if one_shot else Event.READY, self.cause("", ""))
            return True
        return False

    def _changed(self, old: Service, new: Service) -> None:
        label = new.label
        if new.state in _MOVING:
            self._moving.add(label)
        else:
            self._moving.discard(label)
        if old.state is State.WAITING and new.state is State.STARTING:
            self.began.setdefault(label, str(new.activation or ""))
        if old.state in _LIVES and new.state is State.STOPPING:
            self.ended.setdefault(label, new.cause.detail or new.cause.who)
        super()._changed(old, new)

    def _log(self, old: Service, new: Service) -> None:
        """Nothing of this has happened."""

    @property
    def nursery(self) -> Any:
        """Where tasks are heard of and not run."""
        return _Nursery(self)

    # -- told ----------------------------------------------------------------------------------------------------------

    def touched(self) -> Iterator[str]:
        """Yield the labels of all that feel something, in their order in the table."""
        for service in self.table:
            if self.feels(service.label)[0] != "nothing":
                yield service.label

    def feels(self, label: str) -> tuple[str, str]:
        """Return what a service feels, and why."""
        if label in self.ended:
            return ("restarts" if label in self.began else "stops"), self._because(self.ended[label])
        if label in self.began:
            return "starts", self._because(self.began[label])
        if label in self._moving - self._held and self.table.get(label).is_armed:
            return "arms", ""
        if label in self._moving - self._held and self.table.get(label).state is State.WAITING:
            waits = ", ".join(self.needs.waits_for(label))
            return "waits", f"waits for {waits}" if waits else ""
        if label in self.reloaded:
            return "reloads", self.reloaded[label]
        if label in self._armed.new:
            return "arms", self._because(self._armed.new[label])
        if label in self._armed.gone:
            return "disarms", ""
        return "nothing", self._skip(label)

    def _because(self, why: str) -> str:
        who, _, rest = why.partition(": ")
        return "" if why == _WHO else rest if who in (_WHO, "") or who in self.table else why

    def _skip(self, label: str) -> str:
        cause = self.table.get(label).cause
        return cause.detail if cause.detail.startswith("skipped: ") else ""


def stopped(plan: CardPlan) -> list[str]:
    """Return those who are stopped although their cards stay."""
    return [
        change.label for change in plan.changes if change.change == "keep" and plan.orders.get(change.label) == "stops"
    ]


def with_parts(supervisor: Supervisor, labels: Iterable[str]) -> list[str]:
    """Return services that are restarted, and what runs of their parts, which is so with them."""
    named = list(labels)
    more = (other for other in supervisor.graph.with_parts(named) if other not in named and other in supervisor.table)
    return [*named, *(other for other in more if supervisor.table.get(other).state in _LIVES)]


class _Ties(Ties):
    """Ties in which no grace passes: ``borne`` are those that run on one."""

    def __init__(self, world: Supposed) -> None:
        super().__init__(world)
        self.borne: dict[str, Loss] = {}

    def _bear(self, label: str, lost: Loss) -> None:
        self.borne[label] = lost


class _Armed:
    """Timers that are armed and never due; ``new`` are those that were not armed before, with who did it."""

    def __init__(self, real: Supervisor) -> None:
        self._timed = {service.label for service in real.table if service.card.timer}
        self._armed = {label for label in self._timed if real.timers.is_armed(label)}
        self.new: dict[str, str] = {}
        self.gone: set[str] = set()

    def take(self, cards: list[Card]) -> None:
        self._timed = {card.label for card in cards if card.timer}
        labels = {card.label for card in cards}
        self.gone = {label for label in self._armed if label in labels} - self._timed
        self._armed -= self.gone

    def arm(self, label: str, who: str) -> bool:
        if label in self._timed and label not in self._armed:
            self._armed.add(label)
            self.new[label] = f"{who}: {who} wants it" if who != _WHO else who
        return label in self._timed

    def disarm(self, label: str, who: str) -> bool:
        self._armed.discard(label)
        self.gone.add(label)
        return True

    def is_armed(self, label: str) -> bool:
        return label in self._armed


class _Nursery:
    """Runs nothing; a reload is noted."""

    def __init__(self, world: Supposed) -> None:
        self._world = world

    def start_soon(self, what: Any, *words: Any, name: object = None) -> None:
        if getattr(what, "__name__", "") == "_reload":
            asker, _, rule = words
            service = self._world.table.get(asker)
            if service.card.supervision.reload is not None and service.state is State.RUNNING:
                self._world.reloaded.setdefault(asker, rule)
                self._world.table.fire(asker, Event.RELOAD, self._world.cause("", rule))
                self._world.table.fire(asker, Event.READY, self._world.cause("", ""))


class _Clock:
    """A host that knows the time, and nothing else."""

    def __init__(self, real: Host) -> None:
        self.now, self.wall = real.now, real.wall

    def introduce(self, neighbours: object) -> None:
        """Nobody joins anybody here."""
