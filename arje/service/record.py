"""The record of one service, as data: frozen, so that a status answer is a snapshot and a subscriber keeps the old one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arje.card.card import Card
from arje.card.supervision import Kind
from arje.incarnation import Degradation, Exit, Grant, Incarnation
from arje.kernel.usage import Usage
from arje.service.state import COMING, State

#: How many changes of state a record remembers.
HISTORY: Final = 32


class FailureReason(StrEnum):
    """Why a service did not run, or stopped running; closed, so that programs can tell them apart."""

    EXIT_CODE = "exit-code"
    SIGNAL = "signal"
    CORE_DUMP = "core-dump"
    OOM_KILL = "oom-kill"
    TIMEOUT = "timeout"
    WATCHDOG = "watchdog"
    HEALTH = "health"
    START_LIMIT = "start-limit"
    GROUP_LIMIT = "group-limit"
    TRIGGER_LIMIT = "trigger-limit"
    PROTOCOL = "protocol"
    RESOURCES = "resources"
    CONDITION = "condition"
    DEPENDENCY = "dependency"
    SETUP = "setup"
    ISOLATION_REFUSED = "isolation-refused"
    INTERNAL = "internal"


#: What each reason means, in words that fit after ``failed:``.
REASONS: Final[dict[FailureReason, str]] = {
    FailureReason.EXIT_CODE: "it exited with a code that is not a success",
    FailureReason.SIGNAL: "a signal killed it",
    FailureReason.CORE_DUMP: "a signal killed it and it dumped core",
    FailureReason.OOM_KILL: "the kernel killed it for want of memory",
    FailureReason.TIMEOUT: "it took longer than the card allows",
    FailureReason.WATCHDOG: "it did not report to its watchdog in time",
    FailureReason.HEALTH: "it runs, but does not answer as it should",
    FailureReason.START_LIMIT: "it started too often in too short a time",
    FailureReason.GROUP_LIMIT: "its group has spent its restarts",
    FailureReason.TRIGGER_LIMIT: "its sockets or paths started it too often in too short a time",
    FailureReason.PROTOCOL: "it broke its readiness protocol",
    FailureReason.RESOURCES: "the machine has no room for another process or descriptor",
    FailureReason.CONDITION: "a condition of the card does not hold",
    FailureReason.DEPENDENCY: "something it requires is missing or failed",
    FailureReason.SETUP: "a step before its first instruction failed",
    FailureReason.ISOLATION_REFUSED: "isolation that the card requires cannot be had here",
    FailureReason.INTERNAL: "arje itself failed; the log has the traceback",
}


@dataclass(frozen=True, slots=True)
class StateCause:
    """Who or what put a service into its state.

    ``who`` is a subject (``uid 0 (arjectl, pid 431)``, ``site.target``, ``cards.d``, ``supervisor``), ``detail`` the rule
    or the fact. ``at`` is CLOCK_MONOTONIC in seconds, ``wall`` CLOCK_REALTIME in seconds.
    """

    who: str
    detail: str = ""
    at: float = 0.0
    wall: float = 0.0

    def __str__(self) -> str:
        return f"{self.who}: {self.detail}" if self.detail else self.who


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a service failed, in fields: the step, the kernel's answer, the path, the card's field, the next thing to do.

    ``errno`` is 0 and the texts are empty where they do not apply.
    """

    reason: FailureReason
    step: str = ""
    errno: int = 0
    path: str = ""
    field: str = ""
    hint: str = ""
    detail: str = ""

    def __str__(self) -> str:
        parts = [self.reason.value, f"step {self.step}" if self.step else "", self.detail or REASONS[self.reason]]
        return ": ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the supervisor knows of one card, for the manager's life. Changed only by ``StateTable.fire``.

    Times are CLOCK_MONOTONIC in seconds. ``starts`` are the times of the latest attempts to start, for the start limit.
    ``restarts`` counts the automatic ones since somebody last started it by hand; ``step`` is the step of the back-off.
    ``grants`` and ``degradations`` are those of the latest incarnation or refusal. ``activation`` is whose wish the latest
    start was, ``last_usage`` what the latest life that has ended had used. ``ready`` is None when there is nothing that
    could be ready; ``reached``: it has been up since it was last started by hand. ``history`` holds the latest states with
    their causes, oldest first. ``awaits`` are the sockets and paths that start it, once they are open and watched.
    ``kill_method`` in ``stopping`` says why the process is still there. ``status_text`` is what it says of itself
    (``STATUS=`` of sd_notify(3)), ``doing`` what arje does for it within its state: a hook, a step of a stop.
    """

    label: str
    card: Card
    state: State
    cause: StateCause
    since: float
    wanted: bool = False
    activation: StateCause | None = None
    restarts: int = 0
    starts: tuple[float, ...] = ()
    step: int = 0
    last_exit: Exit | None = None
    last_usage: Usage | None = None
    failure: Failure | None = None
    incarnation: Incarnation | None = None
    degradations: tuple[Degradation, ...] = ()
    grants: tuple[Grant, ...] = ()
    backoff_until: float | None = None
    kill_method: str | None = None
    ready: bool | None = None
    reached: bool = False
    awaits: tuple[str, ...] = ()
    history: tuple[tuple[State, StateCause], ...] = ()
    status_text: str = ""
    doing: str = ""

    @property
    def is_up(self) -> bool:
        """Whether dependents may run: it runs, or would when asked, or is a one-shot that has brought what it was for."""
        if self.awaits and self.state in COMING:
            return True
        if self.state is State.DONE:
            return self.card.supervision.kind is Kind.ONE_SHOT
        return self.state in (State.RUNNING, State.RELOADING)

    @property
    def is_armed(self) -> bool:
        """Whether it waits for nothing but its sockets or paths to start it."""
        return bool(self.awaits) and self.state is State.WAITING

    @property
    def is_stuck(self) -> bool:
        """Whether its process was killed and is still there: nobody need wait for the end of this stop."""
        return self.state is State.STOPPING and self.kill_method is not None

    @property
    def lacks_dependency(self) -> bool:
        """Whether it has failed for nothing but what it requires: it starts again when that recovers."""
        return self.lost_dependency and self.state is State.FAILED

    @property
    def lost_dependency(self) -> bool:
        """Whether it stops, or has failed, because something that it requires went."""
        return self.failure is not None and self.failure.reason is FailureReason.DEPENDENCY

    @property
    def is_coming(self) -> bool:
        """Whether a start is under way, so that what is ordered after it waits."""
        return self.state in COMING and not self.is_up
