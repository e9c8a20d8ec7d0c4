"""Every service's life: one trio task from wanted to at rest, which fires the events of the state table.

A failure belongs to one service: an exception in a life puts that service into ``failed`` and the traceback into the
log; it never crosses the nursery. Tasks wait on bells: a service's bell rings when its record changes, when its child
ends, and, while it waits for others, whenever anything changes.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from arje import log
from arje.card.card import Card
from arje.card.payload import Virtual
from arje.card.supervision import Kind
from arje.errors import ArjeError, IncarnationRefused, SetupFailed, errno_text
from arje.incarnate.outcome import Outcome
from arje.incarnate.plan import signal_number
from arje.incarnate.spawn import Incarnator
from arje.incarnation import Incarnation
from arje.service.order import Graph
from arje.service.record import Failure, FailureReason, Service, StateCause
from arje.service.restart import Verdict, decide
from arje.service.state import STOP_WITH, WITH_PROCESS, Event, State
from arje.service.table import StateTable
from arje.supervisor.logs import Logs
from arje.supervisor.reaper import ExitSlot, Reaper
from arje.supervisor.stdio import opened

LOG = log.logger()


def cause(who: str, detail: str = "") -> StateCause:
    """Return a cause with the time of now."""
    return StateCause(who, detail, time.monotonic(), time.time())


class Supervisor:
    """The table, the graph of the cards, and the lives. ``outcomes`` holds the running incarnations by label."""

    def __init__(self, incarnator: Incarnator, reaper: Reaper, logs: Logs) -> None:
        self.incarnator = incarnator
        incarnator.neighbours = self._running
        self.reaper = reaper
        self.logs = logs
        self.table = StateTable()
        self.graph = Graph(())
        self.outcomes: dict[str, Outcome] = {}
        self.stopping = False
        self._nursery: trio.Nursery | None = None
        self._bells: dict[str, trio.Event] = {}
        self._lives: set[str] = set()
        self._rests: Counter[str] = Counter()  # how often each service has come to rest
        self.table.subscribe(self._changed)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hold the nursery of all lives until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # -- cards ---------------------------------------------------------------------------------------------------------

    def set_cards(self, cards: list[Card], who: str) -> None:
        """Make the table hold exactly these cards; those that go must have no process any more."""
        labels = {card.label for card in cards}
        for service in self.table:
            if service.label not in labels:
                self.table.remove(service.label)
        for card in cards:
            if card.label in self.table:
                self.table.replace_card(card)
            else:
                self.table.add(card, cause(who, card.source.file))
        self.graph = Graph(cards)
        self._ring_all()

    # -- wishes --------------------------------------------------------------------------------------------------------

    def want(self, label: str, who: str) -> None:
        """Start a service and what it pulls in; nothing once the manager is stopping. Raises NoSuchService."""
        if self.stopping:
            return
        for pulled in self.graph.closure([label]):
            service = self.table.get(pulled)
            if pulled != label and (service.is_up or service.is_coming):
                continue
            if service.state in (State.RUNNING, State.RELOADING, State.STARTING, State.WAITING):
                continue
            why = cause(who) if pulled == label else cause(label, f"{label} needs it")
            self.table.fire(pulled, Event.WANTED, why)

    def unwant(self, label: str, who: str) -> None:
        """Let a service stop; await :meth:`rest` for its end. Raises NoSuchService."""
        service = self.table.get(label)
        event = STOP_WITH.get(service.state)
        if event is not None:
            self.table.fire(label, event, cause(who))

    def again(self, label: str, who: str) -> None:
        """Stop a service and start it again."""
        if self.table.get(label).state in WITH_PROCESS:
            self.unwant(label, who)
            self.table.fire(label, Event.WANTED, cause(who, "restart"))
        else:
            self.want(label, who)

    async def settled(self, label: str) -> Service:
        """Wait until a service is not on its way any more, and return its record."""
        while True:
            service = self.table.get(label)
            held = service.state is State.WAITING and self._held(label)
            if held or service.state not in (State.WAITING, State.STARTING, State.STOPPING):
                return service
            await self._bell(label)

    async def at_rest(self, label: str) -> Service:
        """Wait until a service has no process, or has had none for a moment: a restart does not stay at rest."""
        before = self._rests[label]
        while self._rests[label] == before and self.table.get(label).state in WITH_PROCESS:
            await self._bell(label)
        return self.table.get(label)

    async def settled_again(self, before: Service) -> Service:
        """Wait until a service that is being restarted has settled in its next life. ``before``: its record until now."""
        while before.incarnation and self.table.get(before.label).incarnation is before.incarnation:
            await self._bell(before.label)
        return await self.settled(before.label)

    def waits_for(self, label: str) -> tuple[str, ...]:
        """Return the names that a waiting service waits for."""
        return self.graph.ready(label, self._is_up, self._is_coming)[1]

    def _held(self, label: str) -> bool:
        """Whether a waiting service waits for something that is not on its way itself."""
        for name in self.waits_for(label):
            labels = self.graph.resolve(name, label)
            if not any(self._is_coming(other) or self.table.get(other).state is State.BACKOFF for other in labels):
                return True
        return False

    async def stop_all(self, who: str) -> None:
        """Stop every service, dependents first. Ends when no service has a process."""
        self.stopping = True
        async with trio.open_nursery() as nursery:
            for service in self.table:
                nursery.start_soon(self._stop_in_turn, service.label, who)

    async def _stop_in_turn(self, label: str, who: str) -> None:
        for follower in self._followers(label):
            await self.at_rest(follower)
        self.unwant(label, who)
        await self.at_rest(label)

    def _followers(self, label: str) -> list[str]:
        """Return the labels that come after one: they stop before it."""
        found = []
        for service in self.table:
            card = service.card
            names = (*card.requires, *card.wants, *card.after)
            if service.label != label and any(label in self.graph.resolve(name, card.label) for name in names):
                found.append(service.label)
        return found + [
            other for name in self.table.get(label).card.before for other in self.graph.resolve(name, label)
        ]

    def kill_now(self) -> None:
        """Kill every process of every service: what a second request to stop means."""
        for outcome in self.outcomes.values():
            outcome.kill_tree()

    # -- bells ---------------------------------------------------------------------------------------------------------

    async def _bell(self, label: str) -> None:
        await self._bells.setdefault(label, trio.Event()).wait()

    def _ring(self, label: str) -> None:
        if (bell := self._bells.pop(label, None)) is not None:
            bell.set()

    def _running(self, label: str) -> Incarnation | None:
        outcome = self.outcomes.get(label)
        return outcome.incarnation if outcome else None

    def _ring_all(self) -> None:
        for service in self.table:
            if service.state is State.WAITING:
                self._ring(service.label)

    def _changed(self, old: Service, new: Service) -> None:
        if old.state in WITH_PROCESS and new.state not in WITH_PROCESS:
            self._rests[new.label] += 1
        self._ring(new.label)
        if old.state is not new.state:
            LOG.info("state", service=new.label, old=old.state.value, new=new.state.value, cause=str(new.cause))
            self._ring_all()
        if new.state is State.WAITING and new.label not in self._lives and self._nursery is not None:
            self._lives.add(new.label)
            self._nursery.start_soon(self._life, new.label, name=f"life of {new.label}")

    def _is_up(self, label: str) -> bool:
        return self.table.get(label).is_up

    def _is_coming(self, label: str) -> bool:
        return self.table.get(label).is_coming

    # -- lives ---------------------------------------------------------------------------------------------------------

    async def _life(self, label: str) -> None:
        try:
            while (state := self.table.get(label).state) in (State.WAITING, State.BACKOFF):
                if state is State.WAITING:
                    await self._wait_and_run(label)
                else:
                    await self._back_off(label)
        except Exception:
            LOG.exception("a life failed", service=label)
            failure = Failure(reason=FailureReason.INTERNAL, hint="see arje's log; this is a bug of arje")
            with contextlib.suppress(ArjeError):
                self.table.fire(label, Event.FAULT, cause("supervisor", "arje itself failed"), failure=failure)
        finally:
            self._lives.discard(label)

    async def _back_off(self, label: str) -> None:
        until = self.table.get(label).backoff_until or 0.0
        with trio.move_on_after(max(0.0, until - time.monotonic())):
            while self.table.get(label).state is State.BACKOFF:
                await self._bell(label)
        if self.table.get(label).state is State.BACKOFF:
            self.table.fire(label, Event.RETRY_DUE, cause("supervisor", "the back-off is over"))

    async def _wait_and_run(self, label: str) -> None:
        while not self.graph.ready(label, self._is_up, self._is_coming)[0]:
            await self._bell(label)
            if self.table.get(label).state is not State.WAITING:
                return
        card = self.table.get(label).card
        if card.only_if_exists and not Path(card.only_if_exists).exists():
            why = cause("condition", f"only_if_exists = {card.only_if_exists}: there is no such path")
            self.table.fire(label, Event.SKIPPED, why)
            return
        self.table.fire(label, Event.DEPENDENCIES_MET, cause("supervisor", "all that it needs is up"))
        if isinstance(card.payload, Virtual):
            await self._run_virtual(label, card)
        else:
            await self._run_process(label, card)
        service = self.table.get(label)
        if (
            service.state is State.STOPPED and service.wanted and not self.stopping
        ):  # asked for again while it was stopping
            self.table.fire(label, Event.WANTED, cause("supervisor", "restart"))

    async def _run_virtual(self, label: str, card: Card) -> None:
        if card.supervision.kind is Kind.ONE_SHOT:
            self.table.fire(label, Event.EXITED_DONE, cause("supervisor", "it has no process"))
            return
        self.table.fire(label, Event.READY, cause("supervisor", "it has no process"))
        while self.table.get(label).state is not State.STOPPING:
            await self._bell(label)
        self._stopped(label)

    def _stopped(self, label: str, **changes: Any) -> None:
        """The end of a stop; a wish that came meanwhile stays one."""
        wanted = self.table.get(label).wanted
        self.table.fire(label, Event.STOPPED, cause("supervisor", "every process is gone"), wanted=wanted, **changes)

    async def _run_process(self, label: str, card: Card) -> None:
        try:
            outcome, slot = await self._spawn(label, card)
        except (IncarnationRefused, SetupFailed, OSError) as error:
            self._not_started(label, error)
            return
        self.outcomes[label] = outcome
        self.logs.of(label).pid = outcome.incarnation.pid
        why = cause("supervisor", f"exec confirmed after {outcome.incarnation.setup_ms:.1f} ms")
        self.table.fire(label, Event.SPAWNED, why, incarnation=outcome.incarnation)
        if self.table.get(label).state is State.STARTING and card.supervision.kind is not Kind.ONE_SHOT:
            self.table.fire(label, Event.READY, why)
        while slot.exit is None and self.table.get(label).state is not State.STOPPING:
            await self._bell(label)
        method = None if slot.exit else await self._stop_process(label, card, outcome, slot)
        await self._ended(label, card, outcome, slot, method)

    async def _spawn(self, label: str, card: Card) -> tuple[Outcome, ExitSlot]:
        assert self._nursery is not None
        with opened(card, self.logs.of(label), self._nursery) as stdio:
            pending = self.incarnator.begin(card, stdio)
            slot = self.reaper.register(pending.leader_pid, lambda: self._ring(label))
            helpers = pending.helper_pids
            for pid in helpers:
                self.reaper.register(pid, lambda: self._helper_ended(label))
        try:
            while not pending.advance():
                await trio.lowlevel.wait_readable(pending.status_fd)
            return pending.finish(), slot
        except BaseException:
            self.reaper.forget(pending.leader_pid, *helpers)
            pending.abort()
            raise

    def _helper_ended(self, label: str) -> None:
        if self.table.get(label).state is State.RUNNING:
            LOG.warning("a helper has ended before its service, which has lost its network", service=label)

    async def _stop_process(self, label: str, card: Card, outcome: Outcome, slot: ExitSlot) -> str:
        supervision = card.supervision
        outcome.signal_main(signal_number(supervision.stop_signal))
        with trio.move_on_after(supervision.stop_timeout):
            while slot.exit is None:
                await self._bell(label)
        if slot.exit is not None:
            return f"signal {supervision.stop_signal}"
        method = outcome.kill_tree()
        while slot.exit is None:
            await self._bell(label)
        return f"{method} after {supervision.stop_timeout:g} s"

    async def _ended(self, label: str, card: Card, outcome: Outcome, slot: ExitSlot, method: str | None) -> None:
        assert slot.exit is not None
        ended = outcome.exit_of(slot.exit)
        del self.outcomes[label]
        service_log = self.logs.of(label)
        service_log.drain()
        service_log.pid = 0
        self.reaper.forget(*outcome.helper_pids)
        if outcome.closes_slowly:
            await trio.to_thread.run_sync(outcome.close)  # it waits until what is left has been killed
        else:
            outcome.close()
        service = self.table.get(label)
        if service.state is State.STOPPING:
            self._stopped(label, last_exit=ended, kill_method=method)
            return
        now = time.monotonic()
        decision = decide(
            card.supervision,
            ended,
            lived=now - outcome.incarnation.started,
            starts=service.starts,
            step=service.step,
            now=now,
        )
        failure = Failure(reason=decision.reason, detail=decision.detail) if decision.reason else None
        self.table.fire(
            label,
            decision.event,
            cause("supervisor", decision.detail),
            last_exit=ended,
            failure=failure,
            step=decision.step,
            backoff_until=now + decision.delay if decision.kind is Verdict.AGAIN else None,
        )

    def _not_started(self, label: str, error: IncarnationRefused | SetupFailed | OSError) -> None:
        service = self.table.get(label)
        failure = failure_of(error)
        if service.state is State.STOPPING:
            event = Event.REFUSED if isinstance(error, IncarnationRefused) else Event.SPAWN_FAILED
            self.table.fire(label, event, cause("supervisor", str(error)), failure=failure)
            return
        if isinstance(error, IncarnationRefused):
            why = cause("policy", str(error))
            self.table.fire(label, Event.REFUSED, why, failure=failure, degradations=error.degradations)
            return
        now = time.monotonic()
        supervision = service.card.supervision
        decision = decide(
            supervision, None, lived=0.0, starts=service.starts, step=service.step, now=now, because=failure.reason
        )
        again = decision.kind is Verdict.AGAIN
        self.table.fire(
            label,
            Event.EXITED_RETRY if again else Event.SPAWN_FAILED,
            cause("supervisor", str(error)),
            failure=failure,
            step=decision.step,
            backoff_until=now + decision.delay if again else None,
        )


def failure_of(error: IncarnationRefused | SetupFailed | OSError) -> Failure:
    """Return the record of a start that did not happen."""
    if isinstance(error, IncarnationRefused):
        hint = "; ".join(loss.remedy for loss in error.degradations if loss.remedy)
        return Failure(reason=FailureReason.ISOLATION_REFUSED, detail=str(error), hint=hint)
    if isinstance(error, SetupFailed):
        return Failure(
            reason=FailureReason.SETUP,
            step=error.step.value,
            errno=error.errno,
            path=error.detail,
            field=error.field,
            hint=error.hint,
            detail=": ".join(filter(None, (error.detail, errno_text(error.errno) if error.errno else ""))),
        )
    number = error.errno or 0
    return Failure(reason=FailureReason.RESOURCES, errno=number, detail=errno_text(number))
