"""How often sockets and paths may start a service."""

from __future__ import annotations

import pytest

from arje.card.activation import Activation, TriggerLimit, When
from arje.service.record import FailureReason
from arje.service.trigger import noted, spent, too_often


def starts(activation: Activation, gap: float, most: int = 1000) -> int:
    """Return how many starts with this many seconds between them are let through."""
    times: tuple[float, ...] = ()
    for count in range(most):
        if spent(times, count * gap, activation):
            return count
        times = noted(times, count * gap, activation)
    return most


@pytest.mark.parametrize(("when", "most"), [(When.START, 20), (When.ON_DEMAND, 20), (When.PER_CONNECTION, 200)])
def test_twenty_starts_or_two_hundred_connections_fit_into_two_seconds(when: When, most: int) -> None:
    assert starts(Activation(when=when), 0.0) == most
    assert starts(Activation(when=when), 2.01 / most) == 1000  # the first has left the interval when one more comes
    assert starts(Activation(when=when), 1.99 / most) == most


def test_a_card_says_how_many_in_what_time() -> None:
    activation = Activation(trigger_limit=TriggerLimit(times=3, interval=60))
    assert starts(activation, 19.0) == 3
    assert starts(activation, 20.0) == 1000


def test_no_limit_keeps_no_times() -> None:
    activation = Activation(trigger_limit=TriggerLimit(times=0))
    assert starts(activation, 0.0) == 1000
    assert noted((), 1.0, activation) == ()


def test_no_more_times_are_kept_than_are_needed() -> None:
    times: tuple[float, ...] = ()
    for count in range(100):
        times = noted(times, float(count), Activation())
    assert times == tuple(range(80, 100))


def test_the_failure_says_the_limit_and_what_to_do() -> None:
    failure = too_often(Activation())
    assert (failure.reason, failure.detail) == (FailureReason.TRIGGER_LIMIT, "trigger-limit: 20 starts in 2 s")
    assert failure.hint
