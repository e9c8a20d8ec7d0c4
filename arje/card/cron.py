"""The five fields of crontab(5) as calendar expressions: minute, hour, day of the month, month, day of the week.

Where both days are restricted, either of them is enough (crontab(5)): such a line is two expressions. ``@daily`` and its
kind are words for what systemd's words say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from arje.card import on_calendar
from arje.card.calendar import EVERY_DAY, FIRST_YEAR, LAST_YEAR, Calendar, Span, Spans
from arje.card.on_calendar import DAY_NUMBER
from arje.card.unreadable import Unreadable, shown

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NUMBER: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
#: Of a day of the week cron counts Sunday as 0, and as 7 as well.
_DAY_NUMBER: Final = {name: (number + 1) % 7 for name, number in DAY_NUMBER.items() if len(name) == 3}
_WORDS: Final = {
    "@hourly": "hourly",
    "@daily": "daily",
    "@midnight": "daily",
    "@weekly": "Sun *-*-*",
    "@monthly": "monthly",
    "@yearly": "yearly",
    "@annually": "yearly",
}
_PART: Final = re.compile(r"(?:(\*)|([0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?)(?:/([0-9]{1,3}))?")
_EXAMPLE: Final = 'write minute, hour, day, month and weekday: "*/5 * * * *" (crontab(5))'


@lru_cache(4096)
def parse(text: str) -> tuple[Calendar, ...]:
    """Return the expressions whose times together are those of a line of cron's. Raises Unreadable."""
    words = text.lower().split()
    if len(words) == 1 and words[0] in _WORDS:
        return (on_calendar.parse(_WORDS[words[0]]),)
    if words == ["@reboot"]:
        raise Unreadable("", "'@reboot' is no time of a calendar", 'write after_boot = "1m" or after_start = 0')
    if len(words) != 5:
        raise Unreadable("", f"{shown(text)} has {len(words)} fields, not five", _EXAMPLE)
    minutes = _spans(words[0], "minute", 0, 59, {})
    hours = _spans(words[1], "hour", 0, 23, {})
    days = _spans(words[2], "day of the month", 1, 31, {})
    months = _spans(words[3], "month", 1, 12, _MONTH_NUMBER)
    week = _spans(words[4], "day of the week", 0, 7, _DAY_NUMBER)
    weekdays = frozenset((day - 1) % 7 for span in week for day in range(span.first, span.last + 1, span.step))

    def made(days: Spans, weekdays: frozenset[int]) -> Calendar:
        return on_calendar.coming(
            Calendar(
                weekdays=weekdays,
                years=(Span(FIRST_YEAR, LAST_YEAR),),
                months=months,
                days=days,
                hours=hours,
                minutes=minutes,
                seconds=(Span(0, 0),),
            ),
            text,
        )

    if words[2].startswith("*") or words[4].startswith("*"):
        return (made(days, weekdays),)
    return made(days, EVERY_DAY), made((Span(1, 31),), weekdays)


def _spans(text: str, name: str, least: int, most: int, names: dict[str, int]) -> Spans:
    return tuple(_span(part, name, least, most, names) for part in text.split(","))


def _span(part: str, name: str, least: int, most: int, names: dict[str, int]) -> Span:
    found = _PART.fullmatch(part)
    if found is None:
        raise Unreadable("", f"{shown(part)} is no {name}", _EXAMPLE)
    star, low, high, step = found.groups()
    first = least if star else _number(low, name, names)
    last = most if star or (step and not high) else _number(high, name, names) if high else first
    if not least <= first <= last <= most or (step and not 1 <= int(step) <= most):
        raise Unreadable("", f"{shown(part)} is out of range", f"a {name} is {least} to {most}, the smaller first")
    return Span(first, last, int(step or 1))


def _number(word: str, name: str, names: dict[str, int]) -> int:
    if word.isdecimal():
        return int(word)
    if word not in names:
        raise Unreadable("", f"{shown(word)} is no {name}", _EXAMPLE)
    return names[word]
