"""The watch over one running incarnation: what has to happen by when, and what becomes of it when it does not.

One loop waits for the end of the process, for a stop, and for the earliest of a few deadlines; nothing ticks. What has to
happen for readiness runs beside it, and so does the look at its health. A vigil never ends anything itself: it returns a
:class:`Doom`, and the life does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card import signals
from arje.card.card import Card
from arje.card.on_change import Feels, OnChange
from arje.card.path_watch import Watch
from arje.card.probes import Sick
from arje.card.supervision import Kind
from arje.service.record import FailureReason
from arje.service.state import Event, State
from arje.supervisor import command, hooks, idleness, memory_watch, probing
from arje.supervisor.host import Living
from arje.supervisor.pathwatch import PathWatch
from arje.supervisor.readiness import Readier
from arje.supervisor.reaper import ExitSlot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
START_TIMEOUT: Final = 90.0  # seconds to get ready, where the card says nothing
_BURST: Final = 0.05  # seconds in which a file that was just written may be written again
_RUNS: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING})

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Doom:
    """Why arje ends an incarnation: ``reason`` None where that is no failure. ``signal`` is what is sent first, empty for
    what the card says; ``patient``: nothing is sent, it ends by itself. ``final``: it does not start again; ``again``: it
    does, whatever its rule says; ``rests``: it has done well, and does not start again by itself."""

    reason: FailureReason | None
    detail: str
    signal: str = ""
    patient: bool = False
    final: bool = False
    again: bool = False
    rests: bool = False
    step: str = ""


def start_timeout(card: Card) -> float:
    """Return the seconds that a start may take; inf for no limit."""
    asked = card.supervision.start_timeout
    if asked is None:
        return math.inf if card.supervision.kind is Kind.ONE_SHOT else START_TIMEOUT
    return asked or math.inf


@dataclass(slots=True)
class _Reload:
    """One reload that somebody waits for. ``trouble`` is None until it is over, then why it failed, or empty."""

    over: trio.Event = field(default_factory=trio.Event)
    trouble: str | None = None
    began: float = 0.0
    heard: bool = False  # RELOADING=1, after it began


class Vigil:
    """The watch over one incarnation. ``doom`` is why arje ends it, once it does; ``said`` the errno and the error's name
    that it has told of itself."""

    def __init__(self, supervisor: Supervisor, card: Card, living: Living, slot: ExitSlot, readier: Readier) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self._card = card
        self._label = card.label
        self._living = living
        self._slot = slot
        self._readier = readier
        self._deadlines: dict[str, float] = {}
        self._watchdog = card.supervision.watchdog
        self._reload: _Reload | None = None
        self._work: list[Work] = []
        self._nursery: trio.Nursery | None = None
        self.doom: Doom | None = None
        self.said: tuple[int, str] = (0, "")

    @property
    def _state(self) -> State | None:
        return self._table.get(self._label).state if self._label in self._table else None

    @property
    def _is_over(self) -> bool:
        return self._slot.exit is not None or self.doom is not None or self._state not in _RUNS

    # -- the loop ------------------------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to be done, and nothing is due, before the service's bell rings."""
        return not (self._is_over or self._work or self._deadlines)

    def begin(self) -> None:
        """Begin to watch: call it once, before :meth:`over`."""
        self._due("start", start_timeout(self._card) - self._spent())
        if self._state is State.STARTING and self._is_ready_at_once:
            self._become_ready(f"exec confirmed after {self._living.incarnation.setup_ms:.1f} ms")
        if self._card.supervision.on_change is not None:
            self._beside(partial(self._watch_files, self._card.supervision.on_change))
        if self._card.supervision.max_memory:
            self._beside(self._watch_memory)
        if self._state is State.RUNNING:
            if self._card.supervision.health is not None:
                self._beside(self._look_after)
        elif self._becomes_ready:
            self._beside(self._get_ready)

    async def over(self) -> Doom | None:
        """Wait until the process has ended, somebody stops the service, or arje has to end it: then return why."""
        while not self._is_over and not self._work:
            await self._ring()
        if not self._is_over:
            await self._over_with_work()
        self._end_reload("the service has ended" if self._slot.exit else "the service is stopping")
        return self.doom

    async def _over_with_work(self) -> None:
        async with trio.open_nursery() as self._nursery:
            for work in self._work:
                self._nursery.start_soon(work)
            while not self._is_over:
                await self._ring()
            self._nursery.cancel_scope.cancel()
        self._nursery = None

    def _beside(self, work: Work) -> None:
        """Let something be done for as long as the watch lasts: most services need nothing, and then no nursery either."""
        if self._nursery is not None:
            self._nursery.start_soon(work)
        else:
            self._work.append(work)
            self._supervisor.bells.ring(self._label)

    async def _ring(self) -> None:
        """Wait for the service's bell or the earliest deadline."""
        if not self._deadlines:
            await self._supervisor.bells.wait(self._label)
            return
        with trio.CancelScope(deadline=min(self._deadlines.values())):
            await self._supervisor.bells.wait(self._label)
        self._judge_deadlines()

    def _spent(self) -> float:
        """Seconds since the start began: set-up and hooks count."""
        return self._supervisor.host.now() - self._table.get(self._label).since

    @property
    def _becomes_ready(self) -> bool:
        """Whether it is ready while its process runs; of others the end is what is waited for."""
        return self._card.supervision.kind not in (Kind.ONE_SHOT, Kind.SCRIPTED)

    @property
    def _is_ready_at_once(self) -> bool:
        hooks = self._card.hooks
        return self._becomes_ready and self._card.supervision.readiness is None and not (hooks.post or hooks.ready)

    def _due(self, name: str, seconds: float) -> None:
        """Let something be due in so many seconds; inf takes it away."""
        self._deadlines.pop(name, None)
        if seconds < math.inf:
            self._deadlines[name] = trio.current_time() + seconds
        self._supervisor.bells.ring(self._label)

    def _judge_deadlines(self) -> None:
        now = trio.current_time()
        for name in [name for name, at in self._deadlines.items() if at <= now]:
            del self._deadlines[name]
            if not self._is_over:
                self._missed(name)

    def _missed(self, name: str) -> None:
        asked = self._card.supervision
        if name == "start":
            what = "it was not ready" if self._becomes_ready else "it was not done"
            detail = f"{what} in {start_timeout(self._card):g} s{self._readier.waits_for}"
            self.end(Doom(FailureReason.TIMEOUT, detail, step="start"))
        elif name == "watchdog":
            detail = f"no WATCHDOG=1 in {self._watchdog:g} s"
            self.end(Doom(FailureReason.WATCHDOG, detail, signal="ABRT", step="watchdog"))
        elif name == "lifetime":
            self.end(Doom(FailureReason.TIMEOUT, f"it has lived its max_lifetime, {asked.max_lifetime:g} s"))
        elif name == "reload":
            self._end_reload("it did not say READY=1 in time")

    def end(self, doom: Doom) -> None:
        """Let arje end this incarnation; the first reason stays."""
        if not self._is_over:
            self.doom = doom
            LOG.warning("a service is ended", service=self._label, why=doom.detail)
            self._supervisor.bells.ring(self._label)

    # -- readiness -----------------------------------------------------------------------------------------------------

    async def _get_ready(self) -> None:
        failed = await hooks.run(self._supervisor, self._card, "post", running=self._living)
        if failed is not None:
            self.end(Doom(failed.reason, str(failed.ended), step="hook post"))
            return
        how = await self._readier.wait()
        await hooks.run(self._supervisor, self._card, "ready", running=self._living)
        if self._state is State.STARTING:
            self._become_ready(how)
        await self._look_after()

    def _become_ready(self, how: str) -> None:
        self._due("start", math.inf)
        self._table.fire(self._label, Event.READY, self._supervisor.cause("supervisor", how))
        if self._watchdog:
            self._due("watchdog", self._watchdog)
        if self._card.activation.idle_timeout:
            self._beside(self._watch_idleness)
        if self._card.supervision.max_lifetime:
            self._due("lifetime", self._card.supervision.max_lifetime)

    async def _look_after(self) -> None:
        """Look at the service's health for as long as it runs."""
        asked = self._card.supervision.health
        failures = 0
        while asked is not None:
            await trio.sleep(asked.interval)
            trouble = await probing.look(self._supervisor, self._card, self._living, asked, "health")
            failures = failures + 1 if trouble else 0
            doing = f"unwell, {failures} of {asked.retries}: {trouble}" if trouble else ""
            self._table.note(self._label, doing=doing)
            if failures < asked.retries:
                continue
            detail = f"{failures} looks in a row have failed, last: {trouble}"
            if asked.action is Sick.TELL:
                LOG.error("a service is not well", service=self._label, why=detail)
                continue
            self.end(Doom(FailureReason.HEALTH, detail, final=asked.action is Sick.FAIL, step="health"))
            return

    async def _watch_files(self, asked: OnChange) -> None:
        """Let the service feel it when a file changes that its card names; one change at a time."""
        watches = tuple(Watch(watch=f"changed:{path}") for path in asked.paths)
        host = self._supervisor.host
        paths = PathWatch(f"changes of {self._label}", watches, host.ask)
        try:
            await paths.arm()
            while True:
                found = await host.heed(f"change of {self._label}", paths.wait)
                await trio.sleep(_BURST)
                paths.take()
                if asked.action is Feels.RESTART:
                    self.end(Doom(None, f"{found.path} has changed", again=True, step="on_change"))
                    return
                if trouble := await self.reload(found.path):
                    LOG.error("a change is not felt", service=self._label, path=found.path, why=trouble)
        except OSError as error:
            LOG.error("changes of files are not felt", service=self._label, error=str(error))
        finally:
            paths.close()

    async def _watch_idleness(self) -> None:
        """Let the service stop when nobody has come to its sockets for a while: they start it again."""
        if (found := await idleness.over(self._supervisor, self._card)) is not None:
            self.end(Doom(None, found, rests=True, step="idle_timeout"))

    async def _watch_memory(self) -> None:
        """Let the service start again when it uses more memory than its card allows."""
        if (found := await memory_watch.exceeded(self._supervisor, self._card, self._living)) is not None:
            self.end(Doom(None, found, again=True, step="max_memory"))

    # -- reloading -----------------------------------------------------------------------------------------------------

    async def reload(self, who: str) -> str:
        """Let the service read its configuration again. Returns why that failed; empty when it did not."""
        if self._reload is None:
            asked = self._card.supervision.reload
            if asked is None or self._state is not State.RUNNING or self._is_over:
                return "it cannot be reloaded"
            self._reload = _Reload(began=self._supervisor.host.now())
            self._table.fire(self._label, Event.RELOAD, self._supervisor.cause(who, "reload"))
            self._beside(self._do_reload)
        mine = self._reload
        await mine.over.wait()
        return mine.trouble or ""

    async def _do_reload(self) -> None:
        asked = self._card.supervision.reload
        assert asked is not None
        limit = start_timeout(self._card)
        if asked.signal is not None:
            trouble = self._living.signal_main(signals.number(asked.signal))
        else:
            assert asked.exec is not None
            ended = await command.run(
                self._supervisor, self._card, asked.exec, "reload", running=self._living, seconds=limit
            )
            trouble = "" if ended.ok else str(ended)
        if trouble or not asked.confirm:
            self._end_reload(trouble)
        elif self._reload is not None:
            self._due("reload", limit)

    def _end_reload(self, trouble: str) -> None:
        self._due("reload", math.inf)
        mine, self._reload = self._reload, None
        if mine is not None:
            mine.trouble = trouble
            mine.over.set()
        if self._state is State.RELOADING:
            told = f"reload failed: {trouble}" if trouble else "reloaded"
            self._table.fire(self._label, Event.READY, self._supervisor.cause(self._label, told))

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def says_ready(self) -> None:
        """It has said READY=1."""
        if self._state is not State.RELOADING:
            self._readier.says_ready()
        elif self._reload is None or self._reload.heard:  # else it speaks of something before
            self._end_reload("")

    def says_reloading(self, at: float | None) -> None:
        """It has said RELOADING=1, at a time of CLOCK_MONOTONIC."""
        if self._state is State.RUNNING:
            self._table.fire(self._label, Event.RELOAD, self._supervisor.cause(self._label, "it says RELOADING=1"))
            self._due("reload", start_timeout(self._card))
        elif self._reload is not None and (at is None or at >= self._reload.began):
            self._reload.heard = True

    def says_stopping(self) -> None:
        """It has said STOPPING=1: it ends by itself."""
        if self._state in _RUNS:
            self.end(Doom(None, "it says STOPPING=1", patient=True))

    def says_error(self, number: int, name: str) -> None:
        """It has said ERRNO, BUSERROR or VARLINKERROR: it belongs to the failure that may follow."""
        self.said = (number, name)

    def feed(self) -> None:
        """It has said WATCHDOG=1."""
        if "watchdog" in self._deadlines:
            self._due("watchdog", self._watchdog)

    def trigger(self) -> None:
        """It has said WATCHDOG=trigger."""
        self.end(Doom(FailureReason.WATCHDOG, "it says WATCHDOG=trigger", signal="ABRT", step="watchdog"))

    def set_watchdog(self, seconds: float) -> None:
        """It has said WATCHDOG_USEC."""
        self._watchdog = seconds
        if self._state in (State.RUNNING, State.RELOADING):
            self._due("watchdog", seconds)

    def extend(self, seconds: float) -> None:
        """It has said EXTEND_TIMEOUT_USEC: nothing is due before so many seconds."""
        at = trio.current_time() + seconds
        self._deadlines = {name: max(due, at) for name, due in self._deadlines.items()}
        self._supervisor.bells.ring(self._label)
