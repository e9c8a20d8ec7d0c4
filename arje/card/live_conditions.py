"""What a running service does when its conditions cease to hold, or hold anew: its live conditions.

They are *on* while they hold, *off* while they do not, and in *flux* between: something that they speak of has changed and
has not been looked at yet, or they have not held for shorter than the ``grace``. A service keeps running in flux.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from arje.card.edges import Reaction
from arje.card.rules import FORBID, Seconds
from arje.card.unreadable import Unreadable, shown

if TYPE_CHECKING:
    from arje.card.card import Card


class Off(StrEnum):
    """What a service does when its conditions are off."""

    STOP = "stop"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveConditions:
    """The conditions are watched while the service is wanted: it waits for them, and feels what becomes of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    off: Off = Off.STOP
    """What it does when they cease to hold: ``stop`` (and start again with them), or ``reload`` and go on."""
    renewed: Reaction = Reaction.KEEP
    """What it does when they hold anew, after a flux or off: ``keep`` running, ``reload`` or ``restart``. A file that was
    replaced or written makes them hold anew."""
    grace: Seconds = 0.0
    """For so many seconds they may not hold, and are in flux, before they are off."""


_REMEDY: Final = 'write true, or {off = "reload", renewed = "restart", grace = "2s"}'


def spelled(value: Any, field: str, duration: Callable[[Any, str], Any]) -> Any:
    """Return the table of true, of false (none), or of a table. Raises Unreadable."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is neither true, nor false, nor a table", _REMEDY)
    return value | ({"grace": duration(value["grace"], f"{field}.grace")} if "grace" in value else {})


def contradictions(card: Card) -> Iterator[Unreadable]:
    """Yield what a service is to do, and cannot."""
    if (live := card.live_conditions) is None or card.supervision.reload is not None:
        return
    remedy = 'say how: supervision.reload = "HUP"'
    if live.off is Off.RELOAD:
        yield Unreadable("live_conditions.off", "it has no way to reload", remedy)
    if live.renewed is Reaction.RELOAD:
        yield Unreadable("live_conditions.renewed", "it has no way to reload", remedy)
