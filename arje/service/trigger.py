"""How often a service may be started by what it waits for: a service that starts, does nothing about it and ends would
otherwise be started for ever. Pure."""

from __future__ import annotations

from arje.card.activation import Activation
from arje.service.record import Failure, FailureReason


def spent(times: tuple[float, ...], now: float, activation: Activation) -> bool:
    """Whether one more start at ``now`` is one too many. ``times`` are those of the latest starts, as :func:`noted` has
    them."""
    limit = activation.limit
    return 0 < limit <= len(times) and times[-limit] > now - activation.trigger_limit.interval


def noted(times: tuple[float, ...], now: float, activation: Activation) -> tuple[float, ...]:
    """Return the times with one more; no more than are needed."""
    limit = activation.limit
    return (*times, now)[-limit:] if limit else ()


def too_often(activation: Activation) -> Failure:
    """Return the failure of a service that was started too often by what it waits for."""
    return Failure(
        reason=FailureReason.TRIGGER_LIMIT,
        field="activation.trigger_limit",
        detail=f"trigger-limit: {activation.limit} starts in {activation.trigger_limit.interval:g} s",
        hint="let it take what it is started for before it ends, or raise activation.trigger_limit",
    )
