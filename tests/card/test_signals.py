"""Signals by every name that people know them by."""

from __future__ import annotations

import signal

import pytest

from arje.card import signals
from arje.card.unreadable import Unreadable


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("15", 15),
        (15, 15),
        ("CLD", signal.SIGCHLD),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("RTMAX", signal.SIGRTMAX),
        (64, 64),
    ],
)
def test_a_signal_is_found_by_name_and_number(written: str | int, number: int) -> None:
    assert signals.number(written) == number


@pytest.mark.parametrize("number", range(1, 65))
def test_the_name_of_a_number_leads_back_to_it(number: int) -> None:
    assert signals.number(signals.name_of(number)) == number


@pytest.mark.parametrize(
    "written", ["", "FOO", "RTMIN+31", "RTMAX-99", "0", "65", 0, 65, -9, "99999999999", "²", "SIG"]
)
def test_what_is_no_signal_is_refused(written: str | int) -> None:
    with pytest.raises(Unreadable):
        signals.number(written)


def test_a_misspelt_signal_is_told_the_nearest_one() -> None:
    with pytest.raises(Unreadable) as caught:
        signals.number("SIGTREM")
    assert caught.value.remedy == "did you mean 'TERM'?"
