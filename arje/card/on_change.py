"""Files whose change a running service is to feel: it is started again, or reads its configuration again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Rule, many, text
from arje.card.unreadable import Unreadable, shown


class Feels(StrEnum):
    """What a running service feels."""

    RESTART = "restart"
    RELOAD = "reload"


def _path(value: Any) -> str:
    if not text(value).startswith("/"):
        raise Unreadable("", f"{shown(value)} is no absolute path", 'begin it with "/"')
    return str(value)


_PATHS: Final = Rule(many(_path), {"type": "array", "items": {"type": "string", "pattern": "^/"}, "minItems": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChange:
    """What is done when one of these files changes. A card may write the paths alone: ``on_change = ["/etc/x.conf"]``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    paths: Annotated[tuple[str, ...], _PATHS]
    """Files, or directories of them, as the manager sees them; one that is not there may come."""
    action: Feels = Feels.RESTART
    """``restart`` it, or ``reload`` it as its card says."""


def spelled(value: Any, field: str) -> Any:
    """Return the table of a path or of a list of paths. Raises Unreadable."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        value = {"paths": value}
    if isinstance(value, dict) and not value.get("paths"):
        raise Unreadable(field, "it names no file", 'write ["/etc/x.conf"]')
    return value
