"""The one way in which a value of a card is refused, whoever looks at it: shorthand, rule, or the ancestor's shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Unreadable(ValueError):
    """A value that a card cannot have. ``more`` are further ones of the same field.

    ``field`` is the dotted path in the card. A rule knows only its own value: it leaves it empty, or names the item
    (``"0"``), and what is above it is put before. ``{name}`` in a remedy becomes the name of the field.
    """

    def __init__(self, field: str, message: str, remedy: str = "", more: Iterable[Unreadable] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy
        self.more = tuple(more)

    def all(self) -> tuple[Unreadable, ...]:
        """Return this one and the further ones."""
        return (self, *self.more)


def together(wrong: list[Unreadable]) -> Unreadable:
    """Return one that carries them all; there is at least one."""
    first, *others = [error for each in wrong for error in each.all()]
    return Unreadable(first.field, str(first), first.remedy, others)


def shown(value: Any) -> str:
    """Return a value as messages show it, cut when it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
