"""One service's timer: it waits for the nearest of its times, and starts a run of the service then.

One task per armed timer, which wakes for a time that is due and for what moves one: a start or an end of the service,
the clock being set. What is remembered (counts, the last start and end) outlives disarming and a new card.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.timer import Overlap, Timer
from arje.service import timing
from arje.service.record import Service, StateCause
from arje.service.state import State
from arje.service.timing import Due, Facts, Round
from arje.supervisor import stamps

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
#: Who starts a run that is due; no label has a space.
WHO: Final = "its timer"
_PATIENCE: Final = 30.0  # seconds for the file with the last time: a timer does not wait for a dead disk
_STAMP: Final = "its last time"
_OVER: Final = frozenset({State.STOPPED, State.DONE, State.FAILED})


@dataclass(frozen=True, slots=True)
class Next:
    """The time that is waited for: ``at`` in CLOCK_MONOTONIC, ``wall`` in CLOCK_REALTIME, seconds."""

    at: float
    wall: float
    rule: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a timer: when (CLOCK_REALTIME, seconds), and what."""

    wall: float
    what: str


class Timekeeper:
    """The timer of one service. ``armed`` is by whom, None while it is not; ``runs`` counts the times that started a run,
    ``skipped`` those that did not."""

    def __init__(self, supervisor: Supervisor, label: str, timers: tuple[Timer, ...], began: float) -> None:
        self._supervisor = supervisor
        self._label = label
        self._began = began
        self._scope: trio.CancelScope | None = None
        self._news = trio.Event()
        self._planned = trio.Event()
        self._rounds: list[Round] = []
        self._spent: dict[int, frozenset[str]] = {}
        self._last_start: float | None = None
        self._last_end: float | None = None
        self._unwritten: dict[str, float] = {}
        self._writes = False
        self.timers = timers
        self.armed: StateCause | None = None
        self.next: Next | None = None
        self.queued = ""
        self.last: Event | None = None
        self.skip: Event | None = None
        self.runs = 0
        self.skipped = 0
        self.problem = ""

    # -- armed or not --------------------------------------------------------------------------------------------------

    def arm(self, why: StateCause) -> None:
        """Wait for its times from now on; one that is armed goes on."""
        if self.armed is not None:
            return
        self.armed, self._planned, self.problem = why, trio.Event(), ""
        self._scope = trio.CancelScope()
        self._supervisor.nursery.start_soon(self._run, self._scope, name=f"timer of {self._label}")

    def disarm(self) -> None:
        """Wait no more; a run goes on."""
        self.armed = self.next = None
        self.queued = ""
        self._planned.set()
        if self._scope is not None:
            self._scope.cancel()

    def change(self, timers: tuple[Timer, ...]) -> None:
        """Take what a new card says: an armed one waits for that. What comes once and has been does not come again."""
        armed = self.armed
        self.disarm()
        self.timers = timers
        if armed is not None:
            self.arm(armed)

    async def planned(self) -> None:
        """Wait until it is known when it is due, or it is not armed."""
        await self._planned.wait()

    def wake(self) -> None:
        """Look again at what is due."""
        self._news.set()

    def heard(self, old: Service, new: Service) -> None:
        """Hear of a change of the service's state."""
        if new.state is State.STARTING:
            self._last_start = new.cause.at
        if new.state in _OVER and old.state not in _OVER:
            self._last_end = new.cause.at
        self.wake()

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self._keep(scope)
            except Exception:  # it belongs to one service
                LOG.exception("a timer failed", service=self._label)
                self.disarm()
                self.problem = "arje itself failed at this timer, and has disarmed it: its log has the traceback"

    async def _keep(self, scope: trio.CancelScope) -> None:
        self._rounds = [await self._first_round(number, timer) for number, timer in enumerate(self.timers)]
        while not scope.cancel_called:  # the bell may have rung just before
            self._news = trio.Event()
            if self.queued and not self._is_busy():
                self._start(self.queued)
            number, due = self._nearest()
            if due is not None and due.left <= 0:
                self._is_due(number, due)
                await trio.lowlevel.checkpoint()
                continue
            self._planned.set()
            with trio.move_on_after(inf if due is None else due.left):
                await self._news.wait()

    async def _first_round(self, number: int, timer: Timer) -> Round:
        host = self._supervisor.host
        base = host.wall()
        if timer.persistent:
            last = await self._recall(number)
            base = base if last is None else min(last, base)
            if last is None:
                self._keep_stamp(number, base)  # what passes from now on is missed
        spent = self._spent.get(number, frozenset())
        return Round(armed=host.now(), base=base, spent=spent, draw=self._draw(number, timer))

    def _draw(self, number: int, timer: Timer) -> float:
        if timer.fixed_jitter:
            return timing.fixed_draw(self._label, number, self._supervisor.host.machine_id())
        return self._supervisor.host.draw(self._label) if timer.jitter else 0.0

    def _nearest(self) -> tuple[int, Due | None]:
        """Return the time that comes first, and which of the timers it is of; remember it for those who ask."""
        facts = self._facts()
        self._rounds = [timing.rewound(round, facts.wall) for round in self._rounds]
        found = [
            (number, due)
            for number, (timer, round) in enumerate(zip(self.timers, self._rounds, strict=True))
            if (due := timing.nearest(timer, round, facts)) is not None
        ]
        if not found:
            self.next = None
            return 0, None
        number, due = min(found, key=lambda pair: pair[1].left)
        self.next = Next(facts.now + due.left, facts.wall + due.left, str(due))
        return number, due

    def _facts(self) -> Facts:
        host = self._supervisor.host
        return Facts(
            now=host.now(),
            wall=host.wall(),
            began=self._began,
            zone=host.zone(),
            last_start=self._last_start,
            last_end=self._last_end,
            busy=self._is_busy(),
        )

    def _is_busy(self) -> bool:
        table = self._supervisor.table
        return self._label in table and table.get(self._label).state not in _OVER

    # -- due -----------------------------------------------------------------------------------------------------------

    def _is_due(self, number: int, due: Due) -> None:
        timer, facts = self.timers[number], self._facts()
        self._rounds[number] = timing.passed(timer, self._rounds[number], facts, self._draw(number, timer))
        self._spent[number] = self._rounds[number].spent
        if timer.persistent and due.of_calendar:
            self._keep_stamp(number, facts.wall)
        if facts.busy:
            self._overlaps(timer.overlap, str(due))
        else:
            self._start(str(due))

    def _overlaps(self, overlap: Overlap, rule: str) -> None:
        service = self._supervisor.table.get(self._label)
        if overlap is Overlap.RESTART and service.state is not State.WAITING:
            self._start(rule, again=True)
        elif overlap is Overlap.QUEUE and not self.queued:
            self.queued = rule
            LOG.info("a run waits for the end of the last one", service=self._label, rule=rule)
        else:
            waits = ", and one waits already" if self.queued else ""
            self.skipped += 1
            self.skip = Event(
                self._supervisor.host.wall(), f"{rule}: the last run is not over ({service.state.value}){waits}"
            )
            LOG.warning("a run was skipped", service=self._label, why=self.skip.what)

    def _start(self, rule: str, *, again: bool = False) -> None:
        """Start a run; whatever is wrong with that, the timer goes on."""
        self.queued = ""
        self.runs += 1
        self.last = Event(self._supervisor.host.wall(), rule)
        try:
            if again:
                self._supervisor.again(self._label, WHO)
            else:
                self._supervisor.want(self._label, WHO, rule)
        except Exception as error:
            LOG.exception("a run could not be started", service=self._label)
            self.problem = f"a run could not be started: {error}"

    # -- the last time, on disk ----------------------------------------------------------------------------------------

    def _stamp(self, number: int) -> tuple[Path, str]:
        return self._supervisor.timers.directory, stamps.name_of(self._label, number)

    async def _recall(self, number: int) -> float | None:
        directory, name = self._stamp(number)
        with trio.move_on_after(_PATIENCE):
            try:
                return await self._supervisor.host.ask(f"stamp {name}", functools.partial(stamps.read, directory, name))
            except OSError as error:
                self.problem = f"{_STAMP} cannot be read: {directory / name}: {error.strerror}"
                return None
        self.problem = f"{_STAMP} cannot be read: {directory / name}: no answer in {_PATIENCE:g} s"
        return None

    def _keep_stamp(self, number: int, wall: float) -> None:
        self._unwritten[self._stamp(number)[1]] = wall
        if not self._writes:
            self._writes = True
            self._supervisor.nursery.start_soon(self._write, name=f"stamp of {self._label}")

    async def _write(self) -> None:
        """Write what is to be kept, one file at a time: two writes of one file might overtake each other."""
        directory = self._supervisor.timers.directory
        try:
            while self._unwritten:
                name, wall = self._unwritten.popitem()
                write = functools.partial(stamps.write, directory, name, wall)
                try:
                    await self._supervisor.host.ask(f"stamp {name}", write)
                    self.problem = "" if self.problem.startswith(_STAMP) else self.problem
                except OSError as error:
                    self.problem = f"{_STAMP} cannot be kept: {directory / name}: {error.strerror}"
                    LOG.warning("the last time of a timer cannot be kept", service=self._label, problem=self.problem)
        finally:
            self._writes = False
