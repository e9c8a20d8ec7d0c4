"""What people may write shorter about ids and privileges: lists of capabilities, single words, maps that are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from arje.card.privileges import CAPABILITY_LIST
from arje.card.unreadable import Unreadable, shown, together


def capabilities(value: Any, field: str) -> Any:
    """Return the table of a list, which stands for exactly these; a table stays as it is."""
    if isinstance(value, dict):
        return value
    try:
        kept = list(CAPABILITY_LIST.check(value))
    except Unreadable as error:
        wrong = [Unreadable(f"{field}.{each.field}".rstrip("."), str(each), each.remedy) for each in error.all()]
        name = field.rpartition(".")[2]
        raise together(
            [Unreadable(each.field, str(each), each.remedy.replace("{name}", name)) for each in wrong]
        ) from error
    return {"bounding": kept, "keep": kept}


def words(value: Any, field: str) -> Any:
    """Return the list that one word stands for."""
    return [value] if isinstance(value, str) else value


def with_auto(soma: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    """Return the soma with ``uid_map = "auto"`` said as ``auto_map``; a map that is given in lines stays as it is."""
    maps = [name for name in ("uid_map", "gid_map") if isinstance(soma.get(name), str)]
    for name in maps:
        if soma[name] != "auto":
            wrong.append(
                Unreadable(f"soma.{name}", f"{shown(soma[name])} is no map", 'write "auto", or a list of lines')
            )
    plain = {name: value for name, value in soma.items() if name not in maps}
    return plain | {"auto_map": True} if maps else plain


#: Field of the soma → its converter.
WORDS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "capabilities": capabilities,
    "securebits": words,
    "personality": words,
}
