"""One service's life: one task from wanted to at rest, which fires the events of the state table.

A failure belongs to one service: an exception in a life kills what it has started, puts the service into ``failed`` and
the traceback into the log; it never crosses the nursery. A life whose service is gone from the table ends quietly.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from arje import log
from arje.card.card import Card
from arje.card.payload import Virtual
from arje.card.signals import number as signal_number
from arje.card.supervision import Kind
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnation import Exit
from arje.service.record import Failure, FailureReason, Service
from arje.service.restart import Verdict, decide
from arje.service.state import Event, State
from arje.supervisor.birth import DYING, SETUP, Birth, Overdue
from arje.supervisor.ending import NotStarted, failure_of
from arje.supervisor.host import Living
from arje.supervisor.reaper import ExitSlot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


class Life:
    """The runner of one service, and what it holds while it runs."""

    def __init__(self, supervisor: Supervisor, label: str) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self._host = supervisor.host
        self._label = label
        self._held: tuple[Living, ExitSlot] | None = None
        self._patience: trio.CancelScope | None = None  # what a change of state cuts short

    async def run(self) -> None:
        """Live until the service is at rest."""
        try:
            while (state := self._state) in (State.WAITING, State.BACKOFF):
                if state is State.WAITING:
                    await self._wait_and_run()
                else:
                    await self._back_off()
        except Exception:
            LOG.exception("a life failed", service=self._label)
            await self._fail()

    async def _fail(self) -> None:
        """Arje itself failed: nothing may be left that a next start would run beside."""
        try:
            await self._clear()
        except Exception:
            LOG.exception("what a life that failed has left is not all gone", service=self._label)
        failure = Failure(reason=FailureReason.INTERNAL, hint="see arje's log; this is a bug of arje")
        try:
            if self._state is not None:
                self._fire(Event.FAULT, "supervisor", "arje itself failed", failure=failure)
        except Exception:
            LOG.exception("a fault could not be told", service=self._label)

    async def _clear(self) -> None:
        if self._held is None:
            return
        outcome, slot = self._held
        try:
            outcome.kill_tree()
        except Exception:
            LOG.exception("a service could not be killed as a whole", service=self._label)
            self._host.kill(outcome.incarnation.leader_pid)
        await slot.wait(DYING)
        self._host.forget(outcome.incarnation.leader_pid, slot)
        await self._close(outcome)

    # -- small words ---------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> State | None:
        """The service's state; None when it is gone from the table."""
        return self._table.get(self._label).state if self._label in self._table else None

    def _fire(self, event: Event, who: str, detail: str, **changes: Any) -> None:
        self._table.fire(self._label, event, self._supervisor.cause(who, detail), **changes)

    async def _bell(self) -> None:
        await self._supervisor.bells.wait(self._label)

    def state_changed(self, new: Service) -> None:
        """Hear of a change: a stop ends what waits for the machine at once, and gives a set-up its time to stop."""
        if self._patience is None or new.state is State.STARTING:
            return
        if new.state is State.STOPPING:
            latest = trio.current_time() + new.card.supervision.stop_timeout
            self._patience.deadline = min(self._patience.deadline, latest)
        elif new.state is not State.WAITING:
            self._patience.cancel()

    # -- before the start ----------------------------------------------------------------------------------------------

    async def _back_off(self) -> None:
        until = self._table.get(self._label).backoff_until or 0.0
        with trio.move_on_after(max(0.0, until - self._host.now())):
            while self._state is State.BACKOFF:
                await self._bell()
        if self._state is State.BACKOFF:
            self._fire(Event.RETRY_DUE, "supervisor", "the back-off is over")

    async def _wait_and_run(self) -> None:
        while not self._supervisor.may_start(self._label):
            await self._bell()
            if self._state is not State.WAITING:
                return
        card = self._table.get(self._label).card
        if card.only_if_exists and not await self._condition(card):
            return
        self._fire(Event.DEPENDENCIES_MET, "supervisor", "all that it needs is up")
        if isinstance(card.payload, Virtual):
            await self._run_virtual(card)
        else:
            await self._run_process(card)
        self._start_again_if_wanted()

    async def _condition(self, card: Card) -> bool:
        """Whether the card's condition holds; when it does not, the service is skipped."""
        found: bool | None = None
        with trio.move_on_after(SETUP) as self._patience:
            found = await self._host.ask(f"only_if_exists {card.only_if_exists}", partial(_exists, card.only_if_exists))
        self._patience = None
        if self._state is State.WAITING and not found:
            why = "there is no such path" if found is False else f"no answer in {SETUP:g} s"
            self._fire(Event.SKIPPED, "condition", f"only_if_exists = {card.only_if_exists}: {why}")
        return self._state is State.WAITING and self._supervisor.may_start(self._label)

    def _start_again_if_wanted(self) -> None:
        """Somebody asked for it again while it was stopping; whose wish that was is known already."""
        if self._state is State.STOPPED and not self._supervisor.stopping:
            service = self._table.get(self._label)
            if service.wanted:
                self._fire(Event.WANTED, "supervisor", "restart", activation=service.activation)

    # -- running -------------------------------------------------------------------------------------------------------

    async def _run_virtual(self, card: Card) -> None:
        if card.supervision.kind is Kind.ONE_SHOT:
            self._fire(Event.EXITED_DONE, "supervisor", "it has no process")
            return
        self._fire(Event.READY, "supervisor", "it has no process")
        while self._state is not State.STOPPING:
            await self._bell()
        self._stopped()

    async def _run_process(self, card: Card) -> None:
        try:
            outcome, slot = await self._spawn(card)
        except (IncarnationRefused, SetupFailed, OSError) as error:
            self._not_started(error)
            return
        self._held = outcome, slot
        self._supervisor.outcomes[self._label] = outcome
        self._supervisor.logs.of(self._label).pid = outcome.incarnation.pid
        told = f"exec confirmed after {outcome.incarnation.setup_ms:.1f} ms"
        self._fire(Event.SPAWNED, "supervisor", told, incarnation=outcome.incarnation)
        if self._state is State.STARTING and card.supervision.kind is not Kind.ONE_SHOT:
            self._fire(Event.READY, "supervisor", told)
        while slot.exit is None and self._state is not State.STOPPING:
            await self._bell()
        method = None if slot.exit else await self._stop_process(card, outcome, slot)
        await self._ended(card, outcome, slot, method)

    async def _spawn(self, card: Card) -> tuple[Living, ExitSlot]:
        birth = Birth(self._supervisor, card)
        self._patience = birth.patience
        try:
            return await birth.run()
        except Exception:
            await birth.give_up()
            raise
        finally:
            self._patience = None

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _stop_process(self, card: Card, outcome: Living, slot: ExitSlot) -> str:
        """Tell it to go, then kill it. Returns the way that worked; waits for as long as none does."""
        name, timeout = card.supervision.stop_signal, card.supervision.stop_timeout
        outcome.thaw()  # a frozen process hears nothing but KILL
        refused = outcome.signal_main(signal_number(name))
        if not refused and await slot.wait(timeout):
            return f"signal {name}"
        way = outcome.kill_tree()
        method = f"{way} after {timeout:g} s" if not refused else way if way == refused else f"{way}: {refused}"
        if way == refused or not await slot.wait(DYING):
            stuck = method if way == refused else f"{method}; it does not die"
            LOG.error("a service cannot be stopped", service=self._label, pid=outcome.incarnation.pid, why=stuck)
            self._fire(Event.STUCK, "supervisor", stuck, kill_method=stuck)
            await slot.wait()
        return method

    async def _ended(self, card: Card, outcome: Living, slot: ExitSlot, method: str | None) -> None:
        assert slot.exit is not None
        ended = outcome.exit_of(slot.exit)
        oom = ended == Exit("killed", signal.SIGKILL) and outcome.oom_killed
        service_log = self._supervisor.logs.of(self._label)
        await service_log.drain()
        service_log.pid = 0
        swept = await self._close(outcome)
        method = f"{method}, then {swept}" if method and swept else method or swept or None
        service = self._table.get(self._label)
        if service.state is State.STOPPING:
            self._stopped(last_exit=ended, kill_method=method)
            return
        now = self._host.now()
        decision = decide(
            card.supervision,
            ended,
            lived=now - outcome.incarnation.started,
            starts=service.starts,
            step=service.step,
            now=now,
            because=FailureReason.OOM_KILL if oom else None,
        )
        failure = Failure(reason=decision.reason, detail=decision.detail) if decision.reason else None
        self._fire(
            decision.event,
            "supervisor",
            decision.detail,
            last_exit=ended,
            failure=failure,
            step=decision.step,
            backoff_until=now + decision.delay if decision.kind is Verdict.AGAIN else None,
            kill_method=method,
        )

    async def _close(self, outcome: Living) -> str:
        """Kill what the leader has left behind, and let go. Returns how, when a walk had to look for it."""
        self._supervisor.outcomes.pop(self._label, None)
        self._supervisor.forget_helpers(self._label)
        swept = ""
        try:
            swept = await self._host.close(outcome)
        except OSError as error:
            LOG.error("something of a service is left", service=self._label, error=str(error))
        self._held = None
        return swept

    def _stopped(self, **changes: Any) -> None:
        """The end of a stop; a wish that came meanwhile, or was never taken back, stays one."""
        wanted = self._table.get(self._label).wanted
        lost = self._supervisor.needs.final_loss(self._label) if wanted and not self._supervisor.stopping else None
        if lost is not None:
            changes["failure"] = lost.failure
            self._fire(Event.DEPENDENCY_FAILED, lost.provider.label, str(lost), **changes)
        else:
            self._fire(Event.STOPPED, "supervisor", "every process is gone", wanted=wanted, **changes)

    def _not_started(self, error: NotStarted) -> None:
        service = self._table.get(self._label)
        failure = failure_of(error)
        if isinstance(error, Overdue):
            failure = replace(failure, reason=FailureReason.TIMEOUT)
        if service.state is State.STOPPING:
            event = Event.REFUSED if isinstance(error, IncarnationRefused) else Event.SPAWN_FAILED
            self._fire(event, "supervisor", str(error), failure=failure)
            return
        if isinstance(error, IncarnationRefused):
            self._fire(Event.REFUSED, "policy", str(error), failure=failure, degradations=error.degradations)
            return
        now = self._host.now()
        supervision = service.card.supervision
        decision = decide(
            supervision, None, lived=0.0, starts=service.starts, step=service.step, now=now, because=failure.reason
        )
        again = decision.kind is Verdict.AGAIN
        self._fire(
            Event.EXITED_RETRY if again else Event.SPAWN_FAILED,
            "supervisor",
            str(error),
            failure=failure,
            step=decision.step,
            backoff_until=now + decision.delay if again else None,
        )


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
