"""Calendar expressions: the grammar of systemd's OnCalendar= (systemd.time(7)), whole, as frozen data.

    [weekdays] [[years-]months-days] [hours:minutes[:seconds]] [zone]        or a word: minutely … yearly

A component is ``*``, or numbers, ranges ``a..b`` and repetitions ``a/step`` or ``a..b/step`` with commas between. ``~``
instead of the last ``-`` counts days from the end of the month. Left out, a date is every day, a time is midnight,
seconds are 0. What a parsed one matches is ``calendar.py``'s, when such a time comes ``service/calendar.py``'s question.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

from arje.card.calendar import EVERY_DAY, FIRST_YEAR, LAST_YEAR, SECOND, Calendar, Span, Spans
from arje.card.nearest import nearest
from arje.card.unreadable import Unreadable, shown

WORDS: Final = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_NUMBER: Final = {name: n for n, day in enumerate(_DAYS) for name in (day, day[:3])}
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(?:\.\.(\d{1,12}(?:\.\d{1,12})?))?(?:/(\d{1,12}(?:\.\d{1,12})?))?")
_MOST: Final = 240  # parts of one component, as systemd has it
_EXAMPLE: Final = 'write "Mon..Fri 06:25", "*-*-1 04:00", "*:0/15" or "daily" (systemd.time(7))'


@lru_cache(4096)
def parse(text: str) -> Calendar:
    """Return what an expression says. Raises Unreadable, with what to write instead."""
    words = text.split()
    if not words:
        raise Unreadable("", "it is empty", _EXAMPLE)
    zone = ""
    if len(words) > 1 and words[-1][0].isalpha():
        zone = known_zone(words.pop())
    if len(words) == 1 and (known := WORDS.get(words[0].lower())):
        words = known.split()
    if words[0].startswith("@"):
        return _instant(words)
    weekdays = _weekdays(words.pop(0)) if words[0][0].isalpha() else EVERY_DAY
    from_end, parts = _date(words.pop(0)) if words and ":" not in words[0] else (False, [_EVERY] * 3)
    time = _time(words.pop(0)) if words else _MIDNIGHT
    if words:
        raise Unreadable("", f"{shown(words[0])} has no place in {shown(text)}", _EXAMPLE)
    found = Calendar(
        weekdays=weekdays,
        years=_spans(parts[0], "year"),
        months=_spans(parts[1], "month"),
        days=_spans(parts[2], "day from the end" if from_end else "day"),
        hours=_spans(time[0], "hour"),
        minutes=_spans(time[1], "minute"),
        seconds=_spans(time[2], "second"),
        from_end=from_end,
        zone=zone,
    )
    return coming(found, text)


def coming(found: Calendar, text: str) -> Calendar:
    """Return an expression that comes at some time. Raises Unreadable for a 30th of February; ``text`` is what it says."""
    if found.day(date(FIRST_YEAR, 1, 1)) is None:
        raise Unreadable("", f"{shown(text)} never comes: there is no such day", "name a day that there is")
    return found


_EVERY: Final = "*"
_MIDNIGHT: Final = ("0", "0", "0")


def known_zone(name: str) -> str:
    """Return the name of a time zone as its database has it. Raises Unreadable."""
    if name.upper() == "UTC":
        return "UTC"
    import zoneinfo  # few cards name one

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            raise Unreadable(
                "", f"{shown(name)}: this machine has no time zones", "install tzdata, or use UTC"
            ) from None
        same = next((zone for zone in known if zone.lower() == name.lower()), "")
        near = same or nearest(name, known)
        remedy = f"did you mean {near!r}?" if near else 'write one such as "Europe/Berlin"'
        raise Unreadable("", f"there is no time zone {shown(name)}", remedy) from None
    return name


def _instant(words: list[str]) -> Calendar:
    """``@SECONDS``: one moment, counted from 1970 (time(2))."""
    digits = words[0][1:]
    if len(words) > 1 or not re.fullmatch(r"[0-9]{1,10}", digits) or int(digits) >= 7_258_118_400:
        raise Unreadable("", f"{shown(' '.join(words))} is no moment", 'write "@1767225600", at most the year 2199')
    at = datetime.fromtimestamp(int(digits), UTC)
    one = [(Span(part, part),) for part in (at.year, at.month, at.day, at.hour, at.minute, at.second * SECOND)]
    years, months, days, hours, minutes, seconds = one
    return Calendar(
        weekdays=EVERY_DAY,
        years=years,
        months=months,
        days=days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
        zone="UTC",
    )


def _weekdays(word: str) -> frozenset[int]:
    found: set[int] = set()
    for part in word.removesuffix(",").lower().split(","):
        first, *more = re.split(r"\.\.|-", part)
        ends = [_weekday(name) for name in (first, *more)]
        if len(ends) > 2 or ends[0] > ends[-1]:
            raise Unreadable(
                "", f"{shown(part)} is no range of weekdays", 'write "Fri..Sun,Mon": a week begins on Monday'
            )
        found.update(range(ends[0], ends[-1] + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    if name in WORDS:
        raise Unreadable(
            "", f"{shown(name)} is a whole expression", "remove what is behind it; only a time zone may be"
        )
    if name not in DAY_NUMBER:
        near = nearest(name, (*WORDS, *DAY_NUMBER))
        raise Unreadable("", f"{shown(name)} is no weekday", f"did you mean {near!r}?" if near else _EXAMPLE)
    return DAY_NUMBER[name]


def _date(word: str) -> tuple[bool, list[str]]:
    """Return whether days count from the end, and the texts of years, months and days."""
    parts = re.split("[-~]", word)
    if (
        not 2 <= len(parts) <= 3
        or "~" in word.rpartition("-")[0]
        or word.count("~") > 1
        or "-" in word.partition("~")[2]
    ):
        raise Unreadable("", f"{shown(word)} is neither a date nor a time", _EXAMPLE)
    return "~" in word, parts if len(parts) == 3 else [_EVERY, *parts]


def _time(word: str) -> tuple[str, ...]:
    parts = word.split(":")
    if not 2 <= len(parts) <= 3:
        raise Unreadable("", f"{shown(word)} is no time", 'write hours and minutes, "06:25", or "06:25:30"')
    return (*parts, "0")[:3]


#: component → least and most. Seconds are in millionths; nobody may count 31 days back in a month of 28.
_BOUNDS: Final = {
    "year": (FIRST_YEAR, LAST_YEAR),
    "month": (1, 12),
    "day": (1, 31),
    "day from the end": (1, 28),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 60 * SECOND - 1),
}


def _spans(text: str, name: str) -> Spans:
    least, most = _BOUNDS[name]
    unit = SECOND if name == "second" else 1
    if text == _EVERY:
        return (Span(least, most if unit == 1 else most + 1 - unit, unit),)
    parts = text.split(",")
    if len(parts) > _MOST:
        raise Unreadable("", f"{len(parts)} {name}s", f"at most {_MOST}; a range is a..b")
    return tuple(_span(part, name, least, most, unit) for part in parts)


def _span(part: str, name: str, least: int, most: int, unit: int) -> Span:
    found = _PART.fullmatch(part)
    if found is None or (unit == 1 and "." in part.replace("..", "")):
        remedy = f'write "{least}{part[1:]}"' if part.startswith("*/") else _EXAMPLE
        raise Unreadable("", f"{shown(part)} is no {name}", remedy)
    first = _number(found[1], name, unit)
    last = _number(found[2], name, unit) if found[2] else None
    step = _count(found[3], unit) if found[3] else unit
    for number in (first, last):
        if number is not None and not least <= number <= most:
            raise Unreadable("", f"{shown(part)} is out of range", f"{name}: {least // unit} to {most // unit}")
    if last is not None and last < first:
        raise Unreadable("", f"the range {shown(part)} runs backwards", f'write "{found[2]}..{found[1]}"')
    if step == 0 or (found[3] and step > most - least):
        raise Unreadable("", f"the step of {shown(part)} is out of range", f"{name}: {least // unit} to {most // unit}")
    if last is None and not found[3]:
        return Span(first, first)
    return _repeated(first, last, step, name, most)


def _repeated(first: int, last: int | None, step: int, name: str, most: int) -> Span:
    """A repetition, up to its last member. One without an end runs to that of its component, or of the month."""
    if name == "day from the end" and last is None:
        return Span((first - 1) % step + 1, first, step)
    last = most if last is None else last
    return Span(first, last - (last - first) % step, step)


def _number(digits: str, name: str, unit: int) -> int:
    """A number of an expression; a year of two digits is one of 1970 to 2069."""
    number = _count(digits, unit)
    if name == "year" and number < 100:
        return number + (2000 if number < 70 else 1900)
    return number


def _count(digits: str, unit: int) -> int:
    """Return a number in units; of millionths the seventh digit rounds."""
    whole, _, fraction = digits.partition(".")
    return int(whole) * unit + (int(f"{fraction:0<7}"[:7]) + 5) // 10 if fraction else int(whole) * unit
