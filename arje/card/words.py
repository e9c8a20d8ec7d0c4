"""What pydantic has to say about a card, in our words: the field as its author wrote it, and what to type instead."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from arje.card.card import Card
from arje.card.nearest import nearest
from arje.card.payload import Legacy
from arje.card.soma import NOT_YET, Soma
from arje.card.unreadable import Unreadable, shown

if TYPE_CHECKING:
    from pydantic import ValidationError


def problems(error: ValidationError, prefix: str = "") -> list[Unreadable]:
    """Return each of pydantic's errors with the whole path of its field."""
    return [
        problem
        for item in error.errors(include_url=False)
        for problem in _of_one(item, [*filter(None, [prefix]), *map(str, item["loc"])])
    ]


def no_such_field(path: Sequence[str]) -> Unreadable:
    """Return the problem of a field that is not there, with the nearest one that is."""
    near = nearest(path[-1], names_at(path[:-1]))
    return Unreadable(".".join(path), "no such field", f"did you mean {near!r}?" if near else "")


def _of_one(item: Any, path: list[str]) -> Iterator[Unreadable]:
    field, kind, value = ".".join(path), item["type"], item["input"]
    if isinstance(told := item.get("ctx", {}).get("error"), Unreadable):
        for one in told.all():
            at = f"{field}.{one.field}" if one.field else field
            yield Unreadable(at, str(one), one.remedy.replace("{name}", path[-1]))
    elif kind in ("unexpected_keyword_argument", "extra_forbidden"):
        yield no_such_field(path)
    elif kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        yield Unreadable(field, "is missing", f"add {path[-1]} = …")
    elif kind == "dataclass_type":
        yield Unreadable(field, f"{shown(value)} is not a table", f"write {_table(path)}")
    elif kind == "tuple_type":
        yield Unreadable(field, f"{shown(value)} is not a list", f"write a list: {path[-1]} = [{_table([*path, '0'])}]")
    elif kind == "enum":
        yield _no_such_word(field, value, re.findall("'([^']+)'", item["ctx"]["expected"]))
    else:
        yield Unreadable(field, str(item["msg"]))


def _no_such_word(field: str, value: Any, known: list[str]) -> Unreadable:
    near = nearest(value, known) if isinstance(value, str) else ""
    remedy = f"did you mean {near!r}?" if near else f"write {', '.join(known[:-1])} or {known[-1]}"
    return Unreadable(field, f"{shown(value)} is not known", remedy)


def _table(path: list[str]) -> str:
    """Return how the table at a place is written."""
    if not path[-1].isdecimal():
        return f"[{'.'.join(path)}]"
    return f"{{{', '.join(f'{name} = …' for name in names_at(path))}}}"


def names_at(path: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the fields that a place in a card has; none when it is no table of ours."""
    place: Any = Card
    for name in path:
        if name.isdecimal():
            continue
        place = _tables(place).get(name)
        if place is None:
            return ()
    names = tuple(field.name for field in dataclasses.fields(place) if field.name != "source")
    more = {Soma: tuple(NOT_YET), Legacy: ("env",)}
    return (*names, *more.get(place, ()))


@cache
def _tables(place: type) -> dict[str, type]:
    """Return the tables in a table: those of its fields whose type is, or holds, a dataclass."""
    found = {name: _inner(kind) for name, kind in typing.get_type_hints(place).items()}
    tables = {name: table for name, table in found.items() if table is not None}
    return tables | {"payload": Legacy} if place is Card else tables


def _inner(kind: Any) -> type | None:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind
    return next(filter(None, map(_inner, typing.get_args(kind))), None)
