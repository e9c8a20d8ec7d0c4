"""A draft to the text of a card, as a person would write it: tables in a fixed order, remarks above what they speak of."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from arje.imports.draft import Draft, Fate

_WIDTH: Final = 110
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
#: Tables after the plain fields, in the order in which a person tells a service.
_TABLES: Final = ("conditions", "asserts", "payload", "soma", "supervision", "hooks", "activation", "log", "timer")
#: Plain fields first named here come first.
_FIRST: Final = (
    *("description", "enabled", "copies", "instances", "provides", "requires", "wants", "waits_for", "after", "before"),
    *("conflicts", "part_of", "required_by", "wanted_by", "on_success", "sockets"),
)
#: Fields of a table that come first in it.
_HEADS: Final = {"payload": ("payload.exec", "payload.argv", "payload.argv0"), "supervision": ("supervision.kind",)}


def card_text(draft: Draft) -> str:
    """Return the text of a card file."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    yield from _remark(f"From {draft.title}, {draft.place}")
    lost = [finding for finding in draft.findings if finding.fate is Fate.DROPPED]
    for finding in lost:
        yield from _remark(f"dropped: {finding.what} ({finding.place.short}): {finding.why}")
    plain = [name for name in draft.fields if "." not in name]
    ordered = [name for name in _FIRST if name in plain] + [name for name in plain if name not in _FIRST]
    for name in ordered:
        yield from _field(draft, name, name)
    if not any(name.startswith("payload.") for name in draft.fields) and "payload" not in draft.fields:
        yield 'payload = "virtual"'
    for table in _TABLES:
        fields = [name for name in draft.fields if name.startswith(f"{table}.")]
        if fields:
            heads = [name for name in _HEADS.get(table, ()) if name in fields]
            ordered = [*heads, *(name for name in fields if name not in heads)]
            inline = [name for name in ordered if not _is_block(draft.fields[name])]
            if inline:
                yield from ("", f"[{table}]")
            for name in inline:
                yield from _field(draft, name, name.partition(".")[2])
            for name in ordered:
                if name not in inline:
                    yield from _block(draft, name)


def _is_block(value: Any) -> bool:
    """Whether a value is a table, or several, that a text of many lines stands in: it gets a heading of its own."""
    if isinstance(value, dict):
        return any(_has_lines(item) for item in value.values())
    return isinstance(value, list) and any(isinstance(item, dict) and _is_block(item) for item in value)


def _has_lines(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_lines(item) for item in value)
    return isinstance(value, str) and "\n" in value.strip("\n")


def _block(draft: Draft, name: str) -> Iterator[str]:
    value = draft.fields[name]
    heading = f"[{name}]" if isinstance(value, dict) else f"[[{name}]]"
    for number, table in enumerate([value] if isinstance(value, dict) else value):
        yield ""
        if not number:
            for text in dict.fromkeys(draft.notes.get(name, ())):
                yield from _remark(text)
        yield heading
        for key, item in table.items():
            yield f"{_key(key)} = {value_of(item)}"


def _field(draft: Draft, name: str, key: str) -> Iterator[str]:
    for text in dict.fromkeys(draft.notes.get(name, ())):
        yield from _remark(text)
    dotted = ".".join(part if _BARE.fullmatch(part) else text_of(part) for part in key.split("."))
    yield f"{dotted} = {value_of(draft.fields[name])}"


def _remark(text: str) -> Iterator[str]:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for line in textwrap.wrap(clean, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def value_of(value: Any) -> str:
    """Return a value as TOML has it; long lists and texts of many lines over several lines."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_inline(item)}" for name, item in value.items()) + "}"
    items = [value_of(item) for item in value]
    whole = "[" + ", ".join(items) + "]"
    if len(whole) <= _WIDTH and "\n" not in whole:
        return whole
    return "[\n" + "".join(f"  {item},\n" for item in items) + "]"


def _inline(value: Any) -> str:
    """Within an inline table everything stands on one line (TOML 1.0)."""
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return _string(value) if isinstance(value, str) else value_of(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def text_of(text: str) -> str:
    """Return a text in quotes; one of several lines as it is, where TOML can have it so."""
    if "\n" in text.strip("\n") and "'''" not in text and not text.endswith("'") and _plain(text):
        return f"'''\n{text}'''"
    return _string(text)


def _plain(text: str) -> bool:
    return all(c in "\n\t" or c.isprintable() for c in text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
