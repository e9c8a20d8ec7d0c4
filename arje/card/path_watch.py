"""Paths that start a service: because they are there, because something was put there, because they have changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Flag, Rule, text
from arje.card.sockets import Octal, absolute
from arje.card.unreadable import Unreadable, shown, together


class Sign(StrEnum):
    """What is watched for. The first three hold or do not, and are looked at again when a run has ended; the others are
    events: what happens during a run starts the next one."""

    EXISTS = "exists"
    EXISTS_GLOB = "exists-glob"
    DIRECTORY_NOT_EMPTY = "directory-not-empty"
    CHANGED = "changed"
    MODIFIED = "modified"


LEVELS: Final = frozenset({Sign.EXISTS, Sign.EXISTS_GLOB, Sign.DIRECTORY_NOT_EMPTY})
_EXAMPLE: Final = f'write "SIGN:/PATH", where SIGN is {", ".join(list(Sign)[:-1])} or {list(Sign)[-1]}'


def _watched(value: Any) -> str:
    sign, colon, path = text(value).partition(":")
    if not colon or sign not in list(Sign):
        near = nearest(sign, [known.value for known in Sign])
        raise Unreadable("", f"{shown(value)} is nothing to watch", f"did you mean {near!r}?" if near else _EXAMPLE)
    absolute(path)
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One path to watch. A card may write its ``watch`` alone: ``paths = ["directory-not-empty:/var/spool/x"]``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    watch: Annotated[str, Rule(_watched, {"type": "string", "pattern": f"^({'|'.join(Sign)}):/"})]
    """``exists:/PATH``, ``exists-glob:/PATTERN``, ``directory-not-empty:/DIR``, ``changed:/PATH`` (a file that was written
    and closed, or replaced; anything in a directory), ``modified:/PATH`` (every single write as well)."""
    make_directory: Flag = False
    """Whether the directory is made when it is missing: the path itself, or for ``exists`` the one that it is in."""
    directory_mode: Octal = 0o755
    """Permissions of the directories that are made."""

    @property
    def sign(self) -> Sign:
        """What is watched for."""
        return Sign(self.watch.partition(":")[0])

    @property
    def path(self) -> str:
        """The path, or the pattern."""
        return self.watch.partition(":")[2]


def _sensible(watch: Watch) -> Watch:
    if watch.make_directory and watch.sign is Sign.EXISTS_GLOB:
        raise Unreadable("make_directory", "a pattern names no directory", "remove it")
    return watch


Watches = tuple[Annotated[Watch, Rule(_sensible)], ...]


def spelled(value: Any, field: str) -> Any:
    """Return the tables of a list of words and tables; one word or table is a list of one. Raises Unreadable."""
    items = value if isinstance(value, list) else [value]
    wrong = [
        Unreadable(f"{field}.{index}", f"{shown(item)} is nothing to watch", _EXAMPLE)
        for index, item in enumerate(items)
        if not isinstance(item, (str, dict))
    ]
    if wrong:
        raise together(wrong)
    return [{"watch": item} if isinstance(item, str) else item for item in items]
