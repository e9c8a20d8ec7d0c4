"""What a card says about living: when to start again, when to give up, how to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card import signals
from arje.card.rules import FORBID, Rule, Seconds, many, text, whole, whole_rule
from arje.card.unreadable import Unreadable


class Kind(StrEnum):
    """What a service is. ``delegate``: its death is reported to the parent card and it is not restarted."""

    DAEMON = "daemon"
    ONE_SHOT = "one-shot"
    DELEGATE = "delegate"


class RestartWhen(StrEnum):
    """After which endings a service starts again. ``on-abnormal``: signals and timeouts, not exit codes."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ON_ABNORMAL = "on-abnormal"
    ALWAYS = "always"


def _signal(value: Any) -> str:
    """The name that the rest of arje knows a signal by (``TERM``), of any that a card may write."""
    return signals.name_of(signals.number(value))


def _ending(value: Any) -> int | str:
    """An exit code, or a signal's name."""
    if not isinstance(value, str):
        return int(whole(0, 255)(value))
    if text(value).strip().isdecimal():
        raise Unreadable("", f"{value!r} is neither a code nor a signal", f"write a code without quotes: {value}")
    return _signal(value)


_SIGNAL: Final = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": signals.LEAST, "maximum": signals.MOST}]}
_ENDING: Final = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 255}]}
Signal = Annotated[str, Rule(_signal, _SIGNAL)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``starts`` starts in ``interval`` seconds; one more and the service is ``failed`` (start-limit)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    starts: Annotated[int, whole_rule(0, 10**6)] = 10
    """Number of starts; 0 means no limit."""
    interval: Seconds = 60.0
    """In this many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How a service is kept. Durations are seconds here; a card may write ``"200ms"`` or ``"5m"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    kind: Kind = Kind.DAEMON
    """What it is: a daemon, a one-shot, or somebody else's to keep."""
    restart: RestartWhen = RestartWhen.NEVER
    """After which endings it starts again."""
    initial: Seconds = 0.2
    """Wait before the first restart, in seconds; it doubles with each one."""
    max: Seconds = 30.0
    """Longest wait, in seconds."""
    healthy_after: Seconds = 10.0
    """A life of this many seconds makes the wait start from ``initial`` again, in seconds."""
    rate_limit: RateLimit = field(default_factory=RateLimit)
    """How often it may start before arje gives up."""
    success_exit: Annotated[tuple[int | str, ...], Rule(many(_ending), {"type": "array", "items": _ENDING})] = ()
    """Endings besides exit code 0 that are a success: codes, and signals by name (``"TERM"``)."""
    stop_signal: Signal = "TERM"
    """Signal that asks it to stop, by name or number: ``"TERM"``, ``"SIGRTMIN+3"``, 15."""
    stop_timeout: Seconds = 10.0
    """Seconds between the stop signal and the killing of the whole tree."""


def patience(supervision: Supervision) -> Supervision:
    """Return it when its first wait is not longer than its longest. Raises Unreadable."""
    if supervision.initial > supervision.max:
        message = f"{supervision.initial:g} s is over max, {supervision.max:g} s"
        raise Unreadable("initial", message, "write a smaller initial or a larger max")
    return supervision
