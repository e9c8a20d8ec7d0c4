"""Where each field of a file stands: a small scanner for TOML and one for JSON, for messages only.

The parsers of the standard library give no positions. These scanners read files that those parsers have accepted, so
they need not be strict: a line that they cannot place is left out, and the message then names the nearest parent.
"""

from __future__ import annotations

import json
import re
from typing import Final

_TABLE: Final = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_INLINE: Final = re.compile(r"([A-Za-z0-9_-]+)\s*=(?!=)")
_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def of_toml(text: str) -> dict[str, int]:
    """Return the line of every table and key (``soma.namespaces`` → 12), counted from 1."""
    found: dict[str, int] = {}
    table = ""
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:  # inside a multi-line string
            quote = "" if line.count(quote) % 2 else quote
            continue
        if match := _TABLE.match(line):
            table = _dotted(match[1])
            found.setdefault(table, number)
        elif match := _KEY.match(line):
            key = f"{table}.{_dotted(match[1])}" if table else _dotted(match[1])
            found.setdefault(key, number)
            rest = line[match.end() :]
            if "{" in rest:
                for inline in _INLINE.finditer(rest):
                    found.setdefault(f"{key}.{inline[1]}", number)
            quote = next((mark for mark in ('"""', "'''") if rest.count(mark) % 2), "")
    return found


def _dotted(name: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(name))


def of_json(text: str) -> dict[str, int]:
    """Return the line of every key by its path (``genesis.0.soma`` → 40), counted from 1."""
    found: dict[str, int] = {}
    _Scanner(text, found).value(0, "")
    return found


class _Scanner:
    """Walks a JSON text that ``json.loads`` has accepted; ``value`` returns the position after the value."""

    def __init__(self, text: str, found: dict[str, int]) -> None:
        self.text = text
        self.found = found
        self.decoder = json.JSONDecoder()

    def value(self, at: int, path: str) -> int:
        at = self.space(at)
        if self.text[at] == "{":
            return self.members(at + 1, path)
        if self.text[at] == "[":
            return self.items(at + 1, path)
        return self.decoder.raw_decode(self.text, at)[1]

    def members(self, at: int, path: str) -> int:
        while self.text[at := self.space(at)] != "}":
            key, after = self.decoder.raw_decode(self.text, at)
            own = f"{path}.{key}" if path else key
            self.found.setdefault(own, self.text.count("\n", 0, at) + 1)
            at = self.value(self.space(after) + 1, own)
            at = self.comma(at)
        return at + 1

    def items(self, at: int, path: str) -> int:
        index = 0
        while self.text[at := self.space(at)] != "]":
            own = f"{path}.{index}" if path else str(index)
            self.found.setdefault(own, self.text.count("\n", 0, at) + 1)
            at = self.comma(self.value(at, own))
            index += 1
        return at + 1

    def space(self, at: int) -> int:
        while self.text[at] in " \t\r\n":
            at += 1
        return at

    def comma(self, at: int) -> int:
        at = self.space(at)
        return at + 1 if self.text[at] == "," else at
