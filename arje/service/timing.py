"""When a service's timer is due, and what is left of it then. Pure.

A *round* is what a timer remembers between two of its times. Lengths of time count from the latest of what they name and
of the last time that was due: a start that was skipped, or failed at once, is no reason to be due again at once.
Calendar times count from ``base``: what comes after it and is not later than now is due, once, however often it came. So
a machine that slept, or whose clock was set forward, makes up for all of it in one run. A clock that was set back takes
the base with it, and the times come again, as the clock shows them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from arje.card.calendar import Calendar
from arje.card.cron import parse as parse_cron
from arje.card.on_calendar import parse
from arje.card.timer import Timer
from arje.service.calendar import next_after, zone_of

#: Lengths of time that count once, from the start of the machine or of arje.
_FIRST: Final = ("after_boot", "after_start")
_CALENDAR: Final = ("calendar", "cron")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """``armed`` and ``last`` (when it was last due) are CLOCK_MONOTONIC, ``base`` is CLOCK_REALTIME, in seconds. ``spent``
    are the fields that count once and have been. ``draw`` from 0 to 1 is the part of the jitter that is waited for."""

    armed: float
    base: float
    last: float | None = None
    spent: frozenset[str] = frozenset()
    draw: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is so now. ``began``: when arje started; ``last_start``, ``last_end``: the service's latest; ``busy``: whether
    its latest run is not over. ``zone`` is the machine's. ``wall`` is CLOCK_REALTIME, the others are CLOCK_MONOTONIC."""

    now: float
    wall: float
    began: float
    zone: tzinfo
    last_start: float | None = None
    last_end: float | None = None
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """A time that comes in ``left`` seconds, or came that long ago; ``field`` and ``text`` are the card's."""

    left: float
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field} = {self.text}"

    @property
    def of_calendar(self) -> bool:
        """Whether it is a time of a calendar."""
        return self.field in _CALENDAR


def nearest(timer: Timer, round: Round, facts: Facts) -> Due | None:
    """Return the time of a timer that is due first; None when none will be unless something happens."""
    return min(_all(timer, round, facts), key=lambda due: due.left, default=None)


def passed(timer: Timer, round: Round, facts: Facts, draw: float) -> Round:
    """Return the round after one in which something was due: everything that is due by now has been. ``draw`` is new."""
    over = [due for due in _all(timer, round, facts) if due.left <= 0]
    return replace(
        round,
        base=facts.wall if any(due.of_calendar for due in over) else round.base,
        last=facts.now,
        spent=round.spent | {due.field for due in over if due.field in _FIRST},
        draw=draw,
    )


def rewound(round: Round, wall: float) -> Round:
    """Return the round of a clock that may have been set back behind its base."""
    return round if round.base <= wall else replace(round, base=wall)


def fixed_draw(label: str, number: int, machine: str) -> float:
    """Return a number from 0 to 1 that is always the same for one timer of one service on one machine."""
    digest = hashlib.blake2b(f"{machine}/{label}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def describe(timer: Timer) -> str:
    """Return what a timer says, in the card's words."""
    parts = [f"{field} = {text}" for field in _CALENDAR for text in getattr(timer, field)]
    lengths = ((field, getattr(timer, field)) for field in (*_FIRST, "every", "after_end"))
    parts += [f"{field} = {length:g} s" for field, length in lengths if length is not None]
    parts += [f"zone = {timer.zone}"] * bool(timer.zone) + ["persistent"] * timer.persistent
    if timer.jitter:
        parts.append(f"{'fixed jitter' if timer.fixed_jitter else 'jitter'} up to {timer.jitter:g} s")
    return ", ".join([*parts, f"overlap = {timer.overlap.value}"])


def _all(timer: Timer, round: Round, facts: Facts) -> Iterator[Due]:
    delay = timer.jitter * round.draw
    zone = zone_of(timer.zone) if timer.zone else facts.zone
    for field, text, expression in _expressions(timer):
        if (at := next_after(expression, round.base, zone)) is not None:
            yield Due(at + delay - facts.wall, field, text)
    for field, length, since in _lengths(timer, round, facts):
        if length is not None and since is not None:
            yield Due(since + length + delay - facts.now, field, f"{length:g} s")


def _expressions(timer: Timer) -> Iterator[tuple[str, str, Calendar]]:
    for text in timer.calendar:
        yield "calendar", text, parse(text)
    for text in timer.cron:
        for expression in parse_cron(text):
            yield "cron", text, expression


def _lengths(timer: Timer, round: Round, facts: Facts) -> Iterator[tuple[str, float | None, float | None]]:
    """Yield each field of a length, the length, and what it counts from; None when that is not known yet."""
    yield "after_boot", timer.after_boot, None if "after_boot" in round.spent else 0.0
    yield "after_start", timer.after_start, None if "after_start" in round.spent else facts.began
    has_first = timer.after_boot is not None or timer.after_start is not None
    armed = None if has_first and facts.last_start is None and round.last is None else round.armed
    yield "every", timer.every, _latest(armed, facts.last_start, round.last)
    yield "after_end", timer.after_end, None if facts.busy else _latest(armed, facts.last_end, round.last)


def _latest(armed: float | None, *others: float | None) -> float | None:
    """Return the latest of the times that are known; None before the first run, when something else says when that is."""
    if armed is None:
        return None
    return max(time for time in (armed, *others) if time is not None)
