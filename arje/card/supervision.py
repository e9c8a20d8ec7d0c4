"""What a card says about living: when to start again, when to give up, how to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``starts`` starts in ``interval`` seconds; one more and the service is ``failed`` (start-limit)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    starts: int = 10
    interval: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How a service is kept. Durations are seconds here; a card may write ``"200ms"`` or ``"5m"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    kind: Kind = Kind.DAEMON
    restart: RestartWhen = RestartWhen.NEVER
    initial: float = 0.2
    """Wait before the first restart, in seconds; it doubles with each one."""
    max: float = 30.0
    """Longest wait, in seconds."""
    healthy_after: float = 10.0
    """A life of this many seconds makes the wait start from ``initial`` again, in seconds."""
    rate_limit: RateLimit = field(default_factory=RateLimit)
    success_exit: tuple[int | str, ...] = ()
    """Endings besides exit code 0 that are a success: codes, and signals by name (``"TERM"``)."""
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    """Seconds between the stop signal and the killing of the whole tree."""
