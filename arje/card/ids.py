"""Who the payload is: user, groups, and the maps of a user namespace (credentials(7), user_namespaces(7))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Rule, many, text, whole_rule
from arje.card.unreadable import Unreadable, shown, together

#: The largest uid and gid; 2**32 - 1 is (uid_t) -1, which setresuid(2) takes for "leave it as it is".
LARGEST: Final = 2**32 - 2
_MOST_LINES: Final = 340  # user_namespaces(7), since Linux 4.15


def _who(value: Any) -> str | int:
    """A name of the database, or a number that setresuid(2) takes as it is."""
    if isinstance(value, str):
        name = text(value)
        if re.fullmatch(r"[+-]?[0-9]+", name) and not 0 <= int(name[:20]) <= LARGEST:
            raise Unreadable("", f"{shown(value)} is no id", f"ids are 0 to {LARGEST}")
        if not name or ":" in name or name != name.strip():
            raise Unreadable("", f"{shown(value)} is no name", "write a name or a number")
        return name
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable("", f"{shown(value)} is neither a name nor a number", 'write "nobody" or 65534')
    if not 0 <= value <= LARGEST:
        raise Unreadable("", f"{shown(value)} is no id", f"ids are 0 to {LARGEST}")
    return value


_WHO: Final = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": LARGEST}, {"type": "string", "minLength": 1}]}
Who = Annotated[str | int, Rule(_who, _WHO)]
Id = Annotated[int, whole_rule(0, LARGEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """One line of a uid_map or gid_map (user_namespaces(7)): ``inside``, ``outside``, ``count``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    inside: Id
    """First id inside the namespace."""
    outside: Id
    """First id outside, which it stands for."""
    count: Annotated[int, whole_rule(1, LARGEST + 1)] = 1
    """How many ids in a row."""


def _apart(lines: tuple[IdMap, ...]) -> tuple[IdMap, ...]:
    """No id may be mapped twice, from either side, nor lie beyond the last (user_namespaces(7))."""
    wrong = []
    for index, line in enumerate(lines):
        if max(line.inside, line.outside) + line.count - 1 > LARGEST:
            message = f"{line.count} ids from {max(line.inside, line.outside)} go beyond the last id"
            wrong.append(Unreadable(f"{index}.count", message, f"the last id is {LARGEST}"))
    for side in ("inside", "outside"):
        placed = sorted(range(len(lines)), key=lambda index: getattr(lines[index], side))
        for low, high in pairwise(placed):
            if getattr(lines[low], side) + lines[low].count > (first := getattr(lines[high], side)):
                wrong.append(Unreadable(f"{high}.{side}", f"id {first} is in two lines", "let the lines not overlap"))
    if len(lines) > _MOST_LINES:
        wrong.append(Unreadable("", f"{len(lines)} lines", f"the kernel takes {_MOST_LINES}"))
    if wrong:
        raise together(wrong)
    return lines


IdMaps = Annotated[tuple[IdMap, ...], Rule(_apart)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The identity of the payload. Names or numbers; TOML may also write ``run_as = "user:group"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    user: Who
    """Name or number; a number need not be in the user database."""
    group: Who | None = None
    """Primary group; None means the user's own."""
    groups: Annotated[tuple[str | int, ...], Rule(many(_who), {"type": "array", "items": _WHO})] | None = None
    """Supplementary groups; None means those of the group database, an empty list none at all."""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = ("id-map", "run_as", "groups", "no_new_privs")
