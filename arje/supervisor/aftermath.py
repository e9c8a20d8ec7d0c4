"""What becomes of a service once its life, or a start of it, is over: cleaned up, then judged by its card.

What arje ends by itself goes through ``stopping`` with the wish kept. Whoever says something else meanwhile makes a stop of
it; otherwise the card's rule has the last word, as after any ending.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arje.card.card import Card
from arje.errors import IncarnationRefused
from arje.incarnation import Degradation, Exit
from arje.service.record import Failure, FailureReason, Service, StateCause
from arje.service.restart import LIMITS, Verdict, decide, on_demand
from arje.service.state import Event, State
from arje.supervisor import hooks
from arje.supervisor.birth import Overdue
from arje.supervisor.ending import End, NotStarted, exit_status, failure_of

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


class Aftermath:
    """The ends of one service."""

    def __init__(self, supervisor: Supervisor, label: str) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self._host = supervisor.host
        self._label = label
        self._own_end: tuple[bool, StateCause | None] | None = None  # the wish when arje began to end it by itself

    def _fire(self, event: Event, who: str, detail: str, **changes: Any) -> None:
        self._table.fire(self._label, event, self._supervisor.cause(who, detail), **changes)

    def begin(self, detail: str) -> None:
        """Begin an end that nobody asked for: the wish is kept, and the rule of the card decides what follows."""
        service = self._table.get(self._label)
        if service.state in (State.STARTING, State.RUNNING, State.RELOADING):
            self._own_end = (service.wanted, service.activation)
            self._fire(Event.STOP, "supervisor", detail, wanted=service.wanted)

    def _is_own_end(self, service: Service) -> bool:
        """Whether nobody has said anything else since arje began to end it."""
        return self._own_end == (service.wanted, service.activation) and not self._supervisor.stopping

    async def ended(self, card: Card, end: End, lived: float, method: str | None) -> None:
        """A life of ``lived`` seconds has ended, ``method`` says by what, and nothing of it is left: what becomes of it."""
        await self._clean_up(card, end.reason(card.supervision), end.exit)
        service = self._table.get(self._label)
        if service.state is State.STOPPING and not self._is_own_end(service):
            self.stopped(last_exit=end.exit, last_usage=end.used, kill_method=method)
            return
        now = self._host.now()
        decision = decide(
            end.rules(card.supervision),
            end.exit,
            lived=lived,
            starts=service.starts,
            step=service.step,
            now=now,
            because=end.because,
            draw=self._draw(service),
        )
        if service.awaits:
            decision = on_demand(decision, card.supervision, starts=service.starts, now=now)
        decision = self._supervisor.budgets.judge(card, decision, now)
        told = f"{end.detail}: {decision.detail}" if end.detail else decision.detail
        self._own_end = None
        self._fire(
            decision.event,
            "supervisor",
            told,
            last_exit=end.exit,
            last_usage=end.used,
            failure=end.failure(decision.reason, told) if decision.reason else None,
            step=decision.step,
            backoff_until=now + decision.delay if decision.kind is Verdict.AGAIN else None,
            kill_method=method,
        )

    async def _clean_up(self, card: Card, reason: FailureReason | None, exit: Exit | None) -> None:
        """Run what comes after the last process. It belongs to the end: until it is over the service is stopping."""
        if not card.hooks.cleanup:
            return
        result = reason.value if reason else "success"
        self.begin(f"{exit or 'nothing ran'}, cleaning up")
        env = [("SERVICE_RESULT", result)]
        if exit is not None:
            env += [("EXIT_CODE", exit.kind), ("EXIT_STATUS", exit_status(exit))]
        limit = card.supervision.stop_timeout
        await hooks.run(self._supervisor, card, "cleanup", seconds=limit, env=tuple(env))

    def stopped(self, **changes: Any) -> None:
        """The end of a stop; a wish that came meanwhile, or was never taken back, stays one."""
        self._own_end = None
        service = self._table.get(self._label)
        wanted = service.wanted
        if not wanted and service.lost_dependency:
            self._fire(Event.DEPENDENCY_FAILED, service.cause.who, service.cause.detail, **changes)
            return
        lost = self._supervisor.needs.final_loss(self._label) if wanted and not self._supervisor.stopping else None
        if lost is not None:
            changes["wanted"] = lost.requirement.recovers
            changes["failure"] = lost.failure
            self._fire(Event.DEPENDENCY_FAILED, lost.provider.label, str(lost), **changes)
        else:
            self._fire(Event.STOPPED, service.cause.who, service.cause.detail, wanted=wanted, **changes)

    async def refused(self, card: Card, error: NotStarted) -> None:
        """Its body could not be made."""
        failure = failure_of(error)
        if isinstance(error, Overdue):
            failure = replace(failure, reason=FailureReason.TIMEOUT)
        degradations = error.degradations if isinstance(error, IncarnationRefused) else ()
        await self.not_started(card, failure, str(error), degradations)

    async def not_started(
        self, card: Card, failure: Failure, told: str, degradations: tuple[Degradation, ...] = ()
    ) -> None:
        """A start came to nothing: what becomes of it."""
        await self._clean_up(card, failure.reason, None)
        service = self._table.get(self._label)
        refused = failure.reason is FailureReason.ISOLATION_REFUSED
        who, changes = "policy" if refused else "supervisor", dict[str, Any](failure=failure)
        if degradations:
            changes["degradations"] = degradations
        if service.state is State.STOPPING and not self._is_own_end(service):
            self._fire(Event.REFUSED if refused else Event.SPAWN_FAILED, who, told, failure=failure)
            return
        now = self._host.now()
        decision = decide(
            service.card.supervision,
            None,
            lived=0.0,
            starts=service.starts,
            step=service.step,
            now=now,
            because=failure.reason,
            draw=self._draw(service),
        )
        decision = self._supervisor.budgets.judge(service.card, decision, now)
        self._own_end = None
        if decision.reason in LIMITS:
            told = f"{decision.detail}: {told}"
            changes["failure"] = replace(failure, reason=decision.reason, detail=told)
        if decision.kind is Verdict.AGAIN:
            self._fire(Event.EXITED_RETRY, who, told, step=decision.step, backoff_until=now + decision.delay, **changes)
        elif service.state is State.STOPPING:
            self._fire(Event.EXITED_FAILED, who, told, step=decision.step, **changes)
        else:
            event = Event.REFUSED if refused else Event.SPAWN_FAILED
            self._fire(event, who, told, step=decision.step, **changes)

    def _draw(self, service: Service) -> float:
        """Return how much of the jitter counts, 0 to 1: another part for each start."""
        return self._host.draw(self._label) if service.card.supervision.jitter else 0.0
