"""What a card says about when its service runs by itself: times of a calendar, lengths of time, and what goes with them.

A timed service is *armed* instead of started: at boot when it is enabled, by ``arjectl start``, by ``apply`` when it is
new; ``arjectl stop`` disarms it until one of those. Its timer goes on whatever became of the last run. A run that somebody
asks for in another way (``arjectl trigger``, a service that requires it) is a run like any other, armed or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.cron import parse as parse_cron
from arje.card.on_calendar import known_zone, parse
from arje.card.rules import DURATION, FORBID, LONGEST, Flag, Rule, Seconds, many, real, text
from arje.card.unreadable import Unreadable


class Overlap(StrEnum):
    """What becomes of a time that comes while the last run is not over."""

    SKIP = "skip"
    QUEUE = "queue"
    RESTART = "restart"


def _readable(reader: Callable[[str], object]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        reader(text(value))
        return str(value)

    return check


def _zone(value: Any) -> str:
    return known_zone(text(value)) if value else ""


def _length(least: float) -> Rule:
    number = {"type": "number", "minimum": least, "maximum": LONGEST}
    return Rule(real(least, LONGEST), {"anyOf": [number, DURATION]})


_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
#: Who wants something all the time wants a daemon; below this a timer would only make heat.
_SHORTEST: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """When a service runs. Of several times the nearest counts. Lengths are seconds here; a card may write ``"10m"``.

    Lengths are counted while the machine is awake (CLOCK_MONOTONIC, as systemd's), and setting the clock does not move
    them. A time of a calendar that passed while the machine was suspended, or that the clock was set beyond, is due at
    once, and once.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    calendar: Annotated[tuple[str, ...], Rule(many(_readable(parse)), _TEXTS)] = ()
    """Calendar expressions as systemd has them: ``"daily"``, ``"Mon..Fri 06:25"``, ``"*:0/10 Europe/Berlin"``."""
    cron: Annotated[tuple[str, ...], Rule(many(_readable(parse_cron)), _TEXTS)] = ()
    """The same in crontab(5)'s five fields: ``"*/5 * * * *"``."""
    zone: Annotated[str, Rule(_zone, {"type": "string"})] = ""
    """Time zone of the expressions that name none: ``"Europe/Berlin"``, ``"UTC"``; empty means the machine's."""
    every: Annotated[float | None, _length(_SHORTEST)] = None
    """This long after its last start, or after its last time that was skipped. Before the first run, see ``after_end``."""
    after_end: Annotated[float | None, _length(_SHORTEST)] = None
    """This long after its last end. Until it has run, it and ``every`` count from the arming of the timer, unless
    ``after_boot`` or ``after_start`` says when the first run is."""
    after_boot: Annotated[float | None, _length(0)] = None
    """Once, this long after the machine started; at once when that has passed."""
    after_start: Annotated[float | None, _length(0)] = None
    """Once, this long after arje started; at once when that has passed."""
    persistent: Flag = False
    """Whether times of a calendar that passed while nobody watched (arje was away, the timer not armed) are made up for,
    by one run. The last time is kept in a file: ``timers/`` in arje's state directory."""
    jitter: Seconds = 0.0
    """Each time is put off by a random length up to this one, so that many do not run at once."""
    fixed_jitter: Flag = False
    """Whether that length is always the same for this service on this machine."""
    overlap: Overlap = Overlap.SKIP
    """A time that comes while the last run is not over is left out (``skip``), runs right after it (``queue``, one at
    most), or ends it (``restart``)."""


def sensible(timer: Timer) -> Timer:
    """Return it when it comes at some time, and says nothing without effect. Raises Unreadable."""
    times = timer.calendar + timer.cron
    lengths = (timer.every, timer.after_end, timer.after_boot, timer.after_start)
    if not times and all(length is None for length in lengths):
        raise Unreadable("", "it says no time", 'write calendar = "daily", every = "10m" or another')
    if timer.persistent and not times:
        raise Unreadable("persistent", "only times of a calendar can be missed", "write calendar or cron, or remove it")
    if timer.zone and not times:
        raise Unreadable("zone", "only times of a calendar have a zone", "write calendar or cron, or remove it")
    if timer.fixed_jitter and not timer.jitter:
        raise Unreadable("fixed_jitter", "there is no jitter to be fixed", 'write jitter = "5m" beside it')
    return timer
