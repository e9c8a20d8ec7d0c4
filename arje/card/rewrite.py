"""Putting keys into the [soma] table of a card file; every other line stays as its author wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

_TABLE: Final = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")


def toml(value: Any) -> str:
    """Return a value as TOML writes it, on one line; texts as JSON has them, which TOML reads."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def lines_of(key: str, value: Any, why: str) -> list[str]:
    """Return the lines of one key in [soma]; a table's items have a dotted line each."""
    said = [f"# {why}"] if why else []
    if isinstance(value, dict):
        return [*said, *(f"{key}.{name} = {toml(item)}" for name, item in value.items())]
    return [*said, f"{key} = {toml(value)}"]


def rewrite(text: str, changes: Iterable[tuple[str, Any, str]]) -> str:
    """Return a card's text with keys of [soma] set: ``(key, value, why)``. What a key had before is gone."""
    changes = list(changes)
    lines = _without(text.splitlines(), {key for key, _, _ in changes})
    added = [line for change in changes for line in lines_of(*change)]
    at = next((number for number, line in enumerate(lines) if _table(line) == "soma"), None)
    if at is None:
        while lines and not lines[-1].strip():
            lines.pop()
        below = next((number for number, line in enumerate(lines) if (_table(line) or "").startswith("soma.")), None)
        if below is None:
            lines += ["", "[soma]", *added]
        else:
            lines[below:below] = ["[soma]", *added, ""]
    else:
        lines[at + 1 : at + 1] = added
    return "\n".join(lines) + "\n"


def _table(line: str) -> str | None:
    found = _TABLE.match(line)
    return found[1].replace(" ", "") if found else None


def _without(lines: list[str], keys: set[str]) -> list[str]:
    """Leave out these keys of [soma], the tables of theirs, and the lines on which their values go on."""
    kept, table, going = [], "", 0
    for line in lines:
        if going > 0:
            going += _depth(line)
            continue
        if (name := _table(line)) is not None:
            table = name
        path = table.split(".")
        if path[0] == "soma" and len(path) > 1 and path[1] in keys:
            continue
        head = line.partition("=")[0].strip().split(".")[0].strip() if "=" in line else ""
        whole = line.partition("=")[0].replace(" ", "").split(".") if "=" in line else []
        if (table == "soma" and head in keys) or (not table and whole[:1] == ["soma"] and set(whole[1:2]) & keys):
            going = _depth(line)
            continue
        kept.append(line)
    return kept


def _depth(line: str) -> int:
    """How many lists and tables a line opens more than it closes, texts and comments apart."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', "", line).partition("#")[0]
    return sum(plain.count(mark) for mark in "[{") - sum(plain.count(mark) for mark in "]}")
