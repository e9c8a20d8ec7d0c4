"""The restarts that a group of services has in common: who names the same group spends from the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from arje.card import consequence
from arje.card.rules import FORBID, Seconds, matching, whole_rule
from arje.card.unreadable import Unreadable, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """``restarts`` in ``interval`` seconds for all of a group together; the next failure of any of them is for good."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    group: Annotated[str, matching("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "is no group", "letters, digits and . _ -")]
    """Who shares it: all cards that name this group, with the same numbers."""
    restarts: Annotated[int, whole_rule(1, 10**6)] = 10
    """Number of restarts that arje makes by itself, of all members together."""
    interval: Seconds = 60.0
    """In this many seconds."""
    action: consequence.Word = "none"
    """What follows when it is spent, as for ``rate_limit``."""


def spelled(value: Any, field: str) -> Any:
    """Return the table of a budget. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(
            field, f"{shown(value)} is not a table", 'write {group = "web", restarts = 5, interval = "1m"}'
        )
    if "group" not in value:
        raise Unreadable(f"{field}.group", "is missing", 'write group = "web"')
    return value


def limited(budget: Budget) -> Budget:
    """Return it when its interval has an end. Raises Unreadable."""
    if budget.interval <= 0:
        raise Unreadable("interval", "nothing is ever spent in no time", "write some seconds")
    return budget
