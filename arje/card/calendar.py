"""A calendar expression as data, and the faces of a clock that it matches. Pure, and without zones.

A *face* is what a clock on the wall shows: a date and a time of day. Which moments those are is ``service/calendar.py``'s
question, the grammar is ``on_calendar.py``'s.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199
SECOND: Final = 1_000_000  # seconds of an expression are counted in millionths, as it may name fractions of them
MINUTE: Final = 60 * SECOND
TICK: Final = timedelta(microseconds=1)
EVERY_DAY: Final = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Span:
    """``first``, ``first`` + ``step``, … up to ``last``."""

    first: int
    last: int
    step: int = 1

    def at_least(self, value: int) -> int | None:
        """Return the least member that is not below a value; None when there is none."""
        if value <= self.first:
            return self.first
        found = self.first + -(-(value - self.first) // self.step) * self.step
        return found if found <= self.last else None


Spans = tuple[Span, ...]


def at_least(spans: Spans, value: int) -> int | None:
    """Return the least member of any of the spans that is not below a value; None when there is none."""
    found = [least for span in spans if (least := span.at_least(value)) is not None]
    return min(found, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """One expression. ``days`` count from the end of the month (1 is the last day) when ``from_end``; ``seconds`` are in
    millionths; Monday is 0. ``zone`` is empty when the expression names none."""

    weekdays: frozenset[int]
    years: Spans
    months: Spans
    days: Spans
    hours: Spans
    minutes: Spans
    seconds: Spans
    from_end: bool = False
    zone: str = ""

    def days_of(self, year: int, month: int) -> Spans:
        """Return the days of one month that the expression names, weekdays aside, as ordinary days."""
        length = monthrange(year, month)[1]
        if not self.from_end:
            return tuple(
                Span(span.first, min(span.last, length), span.step) for span in self.days if span.first <= length
            )
        return tuple(Span(length + 1 - span.last, length + 1 - span.first, span.step) for span in self.days)

    def face(self, least: datetime) -> datetime | None:
        """Return the first face of a clock that matches and is not before ``least``; None when none is left."""
        day = self.day(least.date())
        if day == least.date():
            since = (least - datetime(least.year, least.month, least.day)) // TICK
            if (time := self.time(since)) is not None:
                return datetime(day.year, day.month, day.day) + time * TICK
            day = self.day(day + timedelta(days=1))
        if day is None or (time := self.time(0)) is None:
            return None
        return datetime(day.year, day.month, day.day) + time * TICK

    def day(self, least: date) -> date | None:
        """Return the first day that matches and is not before ``least``; None when none is left."""
        year = at_least(self.years, max(least.year, FIRST_YEAR))
        while year is not None:
            month = at_least(self.months, least.month if year == least.year else 1)
            while month is not None:
                same = (year, month) == (least.year, least.month)
                if (day := self._day_of_month(year, month, least.day if same else 1)) is not None:
                    return day
                month = at_least(self.months, month + 1)
            year = at_least(self.years, year + 1)
        return None

    def _day_of_month(self, year: int, month: int, least: int) -> date | None:
        days = self.days_of(year, month)
        number = at_least(days, least)
        while number is not None:
            if (day := date(year, month, number)).weekday() in self.weekdays:
                return day
            number = at_least(days, number + 1)
        return None

    def time(self, least: int) -> int | None:
        """Return the first time of day that matches and is not before ``least``, in millionths of a second."""
        minutes, micros = divmod(least, MINUTE)
        now = divmod(minutes, 60)
        hour = at_least(self.hours, now[0])
        while hour is not None:
            minute = at_least(self.minutes, now[1] if hour == now[0] else 0)
            while minute is not None:
                second = at_least(self.seconds, micros if (hour, minute) == now else 0)
                if second is not None:
                    return (hour * 60 + minute) * MINUTE + second
                minute = at_least(self.minutes, minute + 1)
            hour = at_least(self.hours, hour + 1)
        return None
