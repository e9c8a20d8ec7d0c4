"""What becomes of a service whose process ended: start again and when, rest, or give up. One pure function.

The order of the questions is the contract: did it end well; does the card want it again after such an ending; is there
room under the start limit. The wait doubles from ``initial`` to ``max``; a life of ``healthy_after`` seconds makes it
begin anew. A card may ask for jitter, a part of the wait by which it is longer; how much of it is drawn by the caller.

An ending is *abnormal* when the process did not choose it: a signal, a time-out, a watchdog, the OOM killer. An exit code
is not abnormal, and neither is a set-up that failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from arje.card import consequence, signals
from arje.card.supervision import Kind, RateLimit, RestartWhen, Supervision
from arje.incarnation import Exit
from arje.service.record import FailureReason
from arje.service.state import Event

_ABNORMAL: Final = frozenset(
    {
        FailureReason.SIGNAL,
        FailureReason.CORE_DUMP,
        FailureReason.OOM_KILL,
        FailureReason.TIMEOUT,
        FailureReason.WATCHDOG,
        FailureReason.HEALTH,
    }
)

#: What the next start would meet again, unchanged: retrying it is noise.
_HOPELESS: Final = frozenset({FailureReason.ISOLATION_REFUSED, FailureReason.CONDITION})

#: The failures of a service that would start again, and may not.
LIMITS: Final = frozenset({FailureReason.START_LIMIT, FailureReason.GROUP_LIMIT})

#: Doublings after which every wait has long reached its cap; keeps the arithmetic inside a float.
_MAX_STEP: Final = 64


class Verdict(StrEnum):
    """What is to become of the service."""

    AGAIN = "again"
    DONE = "done"
    FAILED = "failed"
    WAITS = "waits"
    """For what starts it: its sockets, its paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict: ``delay`` in seconds before the next start (0.0 unless ``again``), ``reason`` of the ending (None when
    it was a success), ``step`` of the back-off to keep for the next decision, ``detail`` the rule in words; with ``again``
    ``ending`` says how it ended."""

    kind: Verdict
    delay: float = 0.0
    reason: FailureReason | None = None
    step: int = 0
    detail: str = ""
    ending: str = ""

    @property
    def event(self) -> Event:
        """The event to fire."""
        return {
            Verdict.AGAIN: Event.EXITED_RETRY,
            Verdict.DONE: Event.EXITED_DONE,
            Verdict.FAILED: Event.EXITED_FAILED,
            Verdict.WAITS: Event.EXITED_WAITS,
        }[self.kind]


def is_success(supervision: Supervision, exit: Exit) -> bool:
    """Whether the card counts this ending as a success: code 0, or one of ``success_exit``."""
    if exit.kind == "exited" and exit.code == 0:
        return True
    return exit.kind != "dumped" and _is_among(exit, supervision.success_exit)


def backoff(supervision: Supervision, step: int) -> float:
    """Return the wait in seconds before the restart number ``step`` (from 0) in a row; never more than ``max``."""
    return max(0.0, min(supervision.max, math.ldexp(supervision.initial, min(max(step, 0), _MAX_STEP))))


def decide(
    supervision: Supervision,
    exit: Exit | None,
    *,
    lived: float,
    starts: tuple[float, ...],
    step: int,
    now: float,
    because: FailureReason | None = None,
    draw: float = 0.0,
) -> Decision:
    """Decide what becomes of a service that ended.

    ``exit`` is None when the set-up failed and nothing ran. ``lived`` is the length of that life in seconds, ``starts``
    the times of the latest starts and ``now`` the time of the end (CLOCK_MONOTONIC, seconds), ``step`` the step of the
    back-off that the previous decision gave. ``because`` is a reason that the exit status does not tell (time-out,
    watchdog, OOM, refusal); with it, the ending is no success whatever the status. ``draw``, 0 to 1, is how much of the
    jitter counts.
    """
    reason = because or reason_of(supervision, exit)
    ending = _words(exit, because)
    rule = _rule(supervision, exit)
    if not _wants_again(supervision, reason, exit):
        if reason is None:
            return Decision(kind=Verdict.DONE, detail=f"{ending}, {rule}")
        return Decision(kind=Verdict.FAILED, reason=reason, detail=f"{ending}, {rule}")
    if lived >= supervision.healthy_after:
        step = 0
    delay = backoff(supervision, step) * (1 + supervision.jitter * draw)
    limit = supervision.rate_limit
    recent = [at for at in starts if at > now + delay - limit.interval]
    if limit.starts > 0 and len(recent) >= limit.starts:
        return Decision(kind=Verdict.FAILED, reason=FailureReason.START_LIMIT, step=step, detail=_hit(limit, ending))
    following = min(step + 1, _MAX_STEP)
    detail = f"{ending}, {rule}, again in {_told(delay)} s"
    return Decision(kind=Verdict.AGAIN, delay=delay, reason=reason, step=following, detail=detail, ending=ending)


def _hit(limit: RateLimit, ending: str) -> str:
    """The start limit, what has hit it, and what follows."""
    words = f"start-limit: {limit.starts} in {limit.interval:g} s, last: {ending}"
    then = consequence.read(limit.action).told
    return f"{words}; {then}" if then else words


def _is_among(exit: Exit, endings: tuple[int | str, ...]) -> bool:
    """Whether a list of codes and signals holds this ending."""
    if exit.kind in ("exited", "unknown"):
        return exit.kind == "exited" and exit.code in endings
    return exit.code in {signals.number(name) for name in endings if isinstance(name, str)}


def _told(seconds: float) -> str:
    """Three figures of a wait; all of them from 1000 seconds on."""
    return f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:.0f}"


def on_demand(decision: Decision, supervision: Supervision, *, starts: tuple[float, ...], now: float) -> Decision:
    """Return what becomes of a service that its sockets or paths start: it waits for them again.

    One that is to start again by itself backs off before. What ended badly counts against the start limit here as well;
    what ended well may end as often as it is started.
    """
    limit = supervision.rate_limit
    recent = [at for at in starts if at > now - limit.interval]
    if decision.kind is Verdict.AGAIN or decision.reason in {FailureReason.START_LIMIT, *_HOPELESS}:
        return decision
    if decision.kind is Verdict.FAILED and 0 < limit.starts <= len(recent):
        return replace(decision, reason=FailureReason.START_LIMIT, detail=_hit(limit, decision.detail))
    return replace(decision, kind=Verdict.WAITS)


def _wants_again(supervision: Supervision, reason: FailureReason | None, exit: Exit | None) -> bool:
    """Whether the card wants another start after this ending."""
    if supervision.kind is Kind.DELEGATE or reason in _HOPELESS:
        return False
    if exit is not None and _is_among(exit, supervision.no_restart_on):
        return False
    if exit is not None and _is_among(exit, supervision.restart_on):
        return True
    if reason is None:
        # A one-shot that ended well has done its work; starting it for ever is never what was meant.
        return supervision.restart is RestartWhen.ALWAYS and supervision.kind is not Kind.ONE_SHOT
    if supervision.restart is RestartWhen.ON_ABNORMAL:
        return reason in _ABNORMAL
    return supervision.restart is not RestartWhen.NEVER


def reason_of(supervision: Supervision, exit: Exit | None) -> FailureReason | None:
    """Return why this ending is a failure; None for a success."""
    if exit is None:
        return FailureReason.SETUP
    if is_success(supervision, exit):
        return None
    reasons = {"killed": FailureReason.SIGNAL, "dumped": FailureReason.CORE_DUMP}
    return reasons.get(exit.kind, FailureReason.EXIT_CODE)


def _words(exit: Exit | None, because: FailureReason | None) -> str:
    ending = "nothing ran" if exit is None else str(exit)
    return f"{ending} ({because.value})" if because else ending


def _rule(supervision: Supervision, exit: Exit | None) -> str:
    """The words in the card that decided."""
    if supervision.kind is Kind.DELEGATE:
        return "kind = delegate: its parent decides"
    for name in ("no_restart_on", "restart_on"):
        if exit is not None and _is_among(exit, getattr(supervision, name)):
            return f"{name} has it"
    kind = f"kind = {supervision.kind.value}, " if supervision.kind is not Kind.DAEMON else ""
    return f"{kind}restart = {supervision.restart.value}"
