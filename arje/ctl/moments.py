"""Moments as people write them: ``10:00``, ``-5m``, ``2026-11-25 10:00``, ``yesterday``, ``@1795600800.5``."""

from __future__ import annotations

import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGO: Final = re.compile(r"(?:-\s*)?((?:\d+(?:\.\d+)?\s*(?:ms|min|[smhdw])\s*)+)(ago)?")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])")
_DAY: Final = r"(\d{4})-(\d{1,2})-(\d{1,2})"
_TIME: Final = r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?"
_ZONE: Final = r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?"
_WHEN: Final = re.compile(f"(?:{_DAY}(?:[T ]\\s*(?=\\d)|$))?(?:{_TIME}{_ZONE})?")


def moment(text: str, now: float) -> float:
    """Return a time of the wall clock in seconds; without a zone it is local, without a day it is today's.

    ``now`` is the present one. Raises ValueError.
    """
    word = text.strip()
    if word == "now":
        return now
    if word in ("today", "yesterday"):
        return _midnight(now, -1 if word == "yesterday" else 0)
    if word.startswith("@"):
        return float(word[1:])
    ago = _AGO.fullmatch(word)
    if ago and (word.startswith("-") or ago[2]):
        return now - sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(ago[1]))
    when = _WHEN.fullmatch(word)
    if not word or when is None or not (when[1] or when[4]):
        raise ValueError(f'{text!r} is no time: write "10:00", "-5m", "2026-11-25 10:00", "yesterday" or @EPOCH')
    return _of_fields(text, when, now)


def _midnight(now: float, days: int) -> float:
    today = time.localtime(now)
    return time.mktime((today.tm_year, today.tm_mon, today.tm_mday + days, 0, 0, 0, 0, 0, -1))


def _of_fields(text: str, when: re.Match[str], now: float) -> float:
    import calendar
    import datetime

    zone = when[8]
    offset = 0.0
    if zone and zone not in ("Z", "UTC"):
        offset = (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60) * (-1 if zone[0] == "-" else 1)
    today = time.gmtime(now + offset) if zone else time.localtime(now)
    year, month, day = map(int, when.group(1, 2, 3)) if when[1] else today[:3]
    hour, minute, second = int(when[4] or 0), int(when[5] or 0), int(when[6] or 0)
    try:
        datetime.datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: {error}") from None
    fields = (year, month, day, hour, minute, second, 0, 0, -1)
    return (calendar.timegm(fields) - offset if zone else time.mktime(fields)) + float(when[7] or 0)
