"""When a calendar expression comes next. Pure: the time and the zone are arguments.

A zone's clock is not a line. In spring it jumps over some times of day (the *gap*), in autumn it shows some twice (the
*fold*), and now and then a country leaves out a whole day. What people mean by "at 02:30" then, and what is done:

* **A time whose hour is named happens once a day, whatever the clock does.** One that falls into the gap happens right
  after it, at the first moment that there is: a backup at 02:30 runs at 03:00 in the night in which there is no 02:30, and
  is not left out (systemd leaves it out). All that fall into one gap are one run. One that the clock shows twice happens
  the first time.
* **An expression of every hour** (``*:0/10``, ``hourly``) **speaks of the running of time, not of the clock's face.** Hours
  that come twice are two hours, in both of which it happens; hours that do not come have no times to make up for. So
  there are ten minutes between all the runs of ``*:0/10``, in those two nights as well. (cron(8) of Debian and Vixie
  draws the same line.)

So the moments of an expression are: for each matching face of the clock, its only moment; of two moments the first, or
both; for none, the end of the gap, or nothing. PEP 495's ``fold`` tells those cases apart: both offsets of a face are the
same outside of gap and fold, the first is the larger in a fold and the smaller in a gap. The change itself lies between
the two moments that these offsets give, and is found there by bisection, to the second.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from arje.card.calendar import LAST_YEAR, SECOND, TICK, Calendar, at_least

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)


@lru_cache(256)
def zone_of(name: str) -> tzinfo:
    """Return a zone by its name; the card has seen that there is one. Raises KeyError (ZoneInfoNotFoundError)."""
    if name == "UTC":
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def next_after(expression: Calendar, wall: float, zone: tzinfo) -> float | None:
    """Return the first moment of an expression that is later than ``wall``; None when none comes until the year 2200.

    Moments are CLOCK_REALTIME in seconds. ``zone`` counts when the expression names none.
    """
    if expression.zone:
        zone = zone_of(expression.zone)
    now = _EPOCH + timedelta(microseconds=round(max(wall, 0.0) * SECOND))
    if now >= _LAST:
        return None
    found = (_next_of_every_hour if _every_hour(expression) else _next)(expression, now, zone)
    return None if found is None else (found - _EPOCH) / timedelta(seconds=1)


def _every_hour(expression: Calendar) -> bool:
    return all(at_least(expression.hours, hour) == hour for hour in range(24))


def _next(expression: Calendar, now: datetime, zone: tzinfo) -> datetime | None:
    """Of named hours. The moments are in the order of the faces; the second round through a fold has none."""
    local = now.astimezone(zone)
    face = local.replace(tzinfo=None, fold=0)
    found = expression.face(_fold(face, zone)[1] if local.fold else face + TICK)
    if found is None:
        return None
    first, second = _moments(found, zone)
    return _change(found, zone) if first > second else first


def _next_of_every_hour(expression: Calendar, now: datetime, zone: tzinfo) -> datetime | None:
    """Of every hour. In the first round through a fold, what the second round will show may come before what is later."""
    local = now.astimezone(zone)
    face = local.replace(tzinfo=None, fold=0)
    found = expression.face(face + TICK)
    while found is not None and (moments := _moments(found, zone))[0] > moments[1]:
        found = expression.face(_after(_change(found, zone), zone))
    moments_to_come = [moment for moment in _moments(found, zone) if moment > now] if found is not None else []
    first, second = _moments(face, zone)
    if first < second and not local.fold:
        begin, end = _fold(face, zone)
        if (again := expression.face(begin)) is not None and again < end:
            moments_to_come.append(_moments(again, zone)[1])
    return min(moments_to_come, default=None)


def _after(change: datetime, zone: tzinfo) -> datetime:
    """Return what the clock shows right after a change."""
    return change.astimezone(zone).replace(tzinfo=None, fold=0)


def _fold(face: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the first face of the fold that a face is in, and the first one after it."""
    first, second = _moments(face, zone)
    begin = _after(_change(face, zone), zone)
    return begin, begin + (second - first)


def _moments(face: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the moments of a face by the offset before a change and by the one after it; the same when there is none."""
    first = face.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return first, face.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _change(face: datetime, zone: tzinfo) -> datetime:
    """Return the moment at which the clock jumps, of a face in a gap or in a fold: its first second under new rules."""
    low, high = sorted(_moments(face, zone))
    low, high = low.replace(microsecond=0), high.replace(microsecond=0) + timedelta(seconds=1)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
