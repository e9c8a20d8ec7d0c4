"""Every field of a card as rows, from its JSON schema: what a reference, on paper or on a screen, has to tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from arje.card.schema import card_schema

#: The ancestor's fields: kept and shown, and nothing else.
ANCESTORS: Final = ("id", "lineage", "schema_version", "lifecycle", "priority", "flow", "references")
#: What a table is called where it stands by itself.
_TOP: Final = "the card itself"


@dataclass(frozen=True, slots=True)
class Row:
    """One field: its name, what it may be in words, its default as TOML (empty: none), and what it means."""

    name: str
    kind: str
    default: str
    about: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a card: its name in the code, where it may stand (``soma.seccomp``), its words, and its fields."""

    name: str
    places: tuple[str, ...]
    about: str
    rows: tuple[Row, ...]


def tables() -> list[Table]:
    """Return the tables in the order in which a reader meets them."""
    schema = card_schema()
    definitions = schema["$defs"]
    places: dict[str, list[str]] = {}
    order = ["Card"]
    queue = [("Card", "")]
    while queue:
        name, place = queue.pop(0)
        below = schema["properties"] if name == "Card" else definitions[name]["properties"]
        for field, said in below.items():
            for ref in dict.fromkeys(_refs(said)):
                if "properties" in definitions[ref]:
                    where = f"{place}.{field}" if place else field
                    known = places.setdefault(ref, [])
                    if ref not in order:
                        order.append(ref)
                        queue.append((ref, where))
                    if where not in known:
                        known.append(where)
    found = [Table("Card", (_TOP,), "", tuple(_rows(schema["properties"], definitions)))]
    for name in _sorted(order[1:], places):
        said = definitions[name]
        rows = tuple(_rows(said["properties"], definitions))
        found.append(Table(name, tuple(places[name]), _plainly(said.get("description", "")), rows))
    return found


def _sorted(names: list[str], places: dict[str, list[str]]) -> list[str]:
    """What belongs together stands together: payload, then soma with all below it, then supervision, and so on."""
    tops = list(dict.fromkeys(places[name][0].partition(".")[0] for name in names))
    return sorted(names, key=lambda name: (tops.index(places[name][0].partition(".")[0]), places[name][0].count(".")))


def _refs(said: Any) -> Iterator[str]:
    if isinstance(said, list):
        for each in said:
            yield from _refs(each)
    elif isinstance(said, dict):
        if isinstance(ref := said.get("$ref"), str) and ref.count("/") == 2:
            yield ref.rpartition("/")[2]
        for each in said.values():
            yield from _refs(each)


def _rows(properties: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Row]:
    for name, said in properties.items():
        about = said.get("description", "")
        kind = " or ".join(dict.fromkeys(kinds(said, definitions)))
        values = [each for ref in _refs(said) for each in definitions[ref].get("enum", ())]
        if values and (words := definitions[next(_refs(said))].get("description")) and words not in about:
            about = f"{about} {words}"
        yield Row(name, kind or "anything", _default(said), _plainly(about))


def _plainly(about: str) -> str:
    """What Python calls None is, in a file, a field that is left out."""
    about = re.sub(r"\bNone means:? ", "left out: ", " ".join(about.split()))
    return about[:1].upper() + about[1:] if not about.startswith("``") else about


def _default(said: dict[str, Any]) -> str:
    value = said.get("default")
    if isinstance(value, int) and "[0-7]" in said.get("pattern", ""):
        return f'"{value:04o}"'
    return "" if value in (None, "", [], {}) else json.dumps(value)


def kinds(said: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """Yield in words what a value may be."""
    if "anyOf" in said:
        ways = [kind for way in said["anyOf"] for kind in kinds(way, definitions)]
        if "length" in ways:
            ways = [way for way in ways if way != "number"]
        yield from ways
    elif "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        target = definitions.get(name, {})
        if said["$ref"].count("/") > 2:
            yield "as there"
        elif "enum" in target:
            yield from kinds(target, definitions)
        elif name == "Limit":
            yield "number, size or [soft, hard]"
        else:
            yield f"table {name}"
    elif "enum" in said:
        yield ", ".join(json.dumps(value) for value in said["enum"] if value != "")
    elif "const" in said:
        yield json.dumps(said["const"])
    elif isinstance(said.get("type"), list):
        yield from ({"string": "text", "boolean": "true, false"}.get(each, each) for each in said["type"])
    else:
        yield from _plain(said, definitions)


def _plain(said: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    kind, pattern = said.get("type"), said.get("pattern", "")
    if kind == "string":
        yield "length" if "us|ms" in pattern else "size" if "KMGT" in pattern else "text"
    elif kind in ("integer", "number"):
        low, high = said.get("minimum"), said.get("maximum")
        bounds = f" from {low}" if low is not None and high is None else f" {low} to {high}" if high is not None else ""
        yield f"{kind}{bounds}" if kind == "integer" else kind
    elif kind == "boolean":
        yield "true, false"
    elif kind == "array":
        inner = " or ".join(dict.fromkeys(kinds(said.get("items", {}), definitions)))
        yield f"list of {inner}" if inner else "list"
    elif kind == "object":
        yield "table"
