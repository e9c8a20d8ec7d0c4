"""Where each field of a file stands: a scanner for TOML and one for JSON, for messages only.

The parsers of the standard library give no positions. These scanners read texts that those parsers have accepted, so they
need not be strict: what they cannot place is left out, and the message then names the nearest parent.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

#: Levels of tables and lists that a card may have; the deepest that means something has five.
DEEPEST: Final = 100

# No `(…|…)*+`: in Debian 12's Python it loses matches (gh-106052). What is repeated here matches in one way only.
_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*")
_KEY: Final = re.compile(r"""([A-Za-z0-9_-]+|"(?:[^"\\]++|\\.)*"|'[^']*+')[ \t]*+(\.?)[ \t]*+""")
_STRING: Final = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*"{3,5}|"(?:[^"\\]++|\\.)*"'''
    r"""|'''(?:[^']++|'(?!''))*'{3,5}|'[^']*+'""",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[^,\]}#\n]*+")
_SPACE: Final = re.compile(r"[ \t\r\n]*+")


class TooDeep(ValueError):
    """Tables in lists in tables … beyond :data:`DEEPEST`; ``line`` is where."""

    def __init__(self, line: int) -> None:
        super().__init__(f"nested deeper than {DEEPEST} levels")
        self.line = line


@dataclass(slots=True)
class Places:
    """``lines``: the line of every field by its path, from 1. ``twice``: paths that an object of JSON has twice."""

    lines: dict[str, int] = field(default_factory=dict)
    twice: dict[str, int] = field(default_factory=dict)


def of_toml(text: str) -> Places:
    """Return the place of every table, key and item (``soma.uid_map.0.inside`` → 12). Raises TooDeep."""
    scanner = _Toml(text)
    scanner.document()
    return scanner.places


def of_json(text: str) -> Places:
    """Return the place of every key and item (``genesis.0.soma`` → 40). Raises TooDeep."""
    scanner = _Json(text)
    scanner.note("", scanner.space(0))
    scanner.value(0, "", 0)
    return scanner.places


class _Scanner:
    """``value`` and its like return the position after what they read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.places = Places()
        self.newlines = [found.start() for found in re.finditer("\n", text)]

    def line(self, at: int) -> int:
        return bisect_left(self.newlines, at) + 1

    def note(self, path: str, at: int) -> None:
        self.places.lines.setdefault(path, self.line(at))

    def deeper(self, depth: int, at: int) -> int:
        if depth >= DEEPEST:
            raise TooDeep(self.line(at))
        return depth + 1


class _Json(_Scanner):
    scalar = json.JSONDecoder()

    def value(self, at: int, path: str, depth: int) -> int:
        at = self.space(at)
        if self.text[at] == "{":
            return self.members(at + 1, path, self.deeper(depth, at))
        if self.text[at] == "[":
            return self.items(at + 1, path, self.deeper(depth, at))
        return self.scalar.raw_decode(self.text, at)[1]

    def members(self, at: int, path: str, depth: int) -> int:
        seen = set()
        while self.text[at := self.space(at)] != "}":
            key, after = self.scalar.raw_decode(self.text, at)
            own = f"{path}.{key}" if path else key
            self.note(own, at)
            if key in seen:
                self.places.twice[own] = self.line(at)
            seen.add(key)
            at = self.comma(self.value(self.space(after) + 1, own, depth))
        return at + 1

    def items(self, at: int, path: str, depth: int) -> int:
        index = 0
        while self.text[at := self.space(at)] != "]":
            own = f"{path}.{index}" if path else str(index)
            self.note(own, at)
            at = self.comma(self.value(at, own, depth))
            index += 1
        return at + 1

    def space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def comma(self, at: int) -> int:
        at = self.space(at)
        return at + 1 if self.text[at] == "," else at


class _Toml(_Scanner):
    """``counts``: the paths of arrays of tables (``[[soma.uid_map]]``), and the index of the latest table of each."""

    def __init__(self, text: str) -> None:
        super().__init__(text + "\n")
        self.counts: dict[str, int] = {}

    def document(self) -> None:
        at, table = self.blank(0), ""
        while at < len(self.text):
            if self.text[at] == "[":
                at, table = self.header(at)
            elif (after := self.pair(at, table, 0)) > at:
                at = after
            else:  # nothing that can be placed
                at = self.text.index("\n", at)
            at = self.blank(at)

    def header(self, at: int) -> tuple[int, str]:
        start, double = at, self.text.startswith("[[", at)
        after, names = self.key(self.skip(at + 1 + double))
        path = ""
        for number, name in enumerate(names, 1):
            path = f"{path}.{name}" if path else name
            self.note(path, start)
            if double and number == len(names):
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = f"{path}.{self.counts[path]}"
                self.note(path, start)
        return after + 1 + double, path

    def key(self, at: int) -> tuple[int, list[str]]:
        names = []
        while found := _KEY.match(self.text, at):
            names.append(found[1].strip("\"'"))
            at = found.end()
            if not found[2]:
                break
        return at, names

    def pair(self, at: int, table: str, depth: int) -> int:
        after, names = self.key(at)
        if not names or self.text[after] != "=":
            return at
        path = table
        for name in names:
            path = f"{path}.{name}" if path else name
            self.note(path, at)
        return self.value(after + 1, path, depth)

    def value(self, at: int, path: str, depth: int) -> int:
        at = self.skip(at)
        if self.text[at] in "[{":
            return self.inside(at, path, self.deeper(depth, at))
        found = _STRING.match(self.text, at) or _BARE.match(self.text, at)
        return found.end() if found else at

    def inside(self, at: int, path: str, depth: int) -> int:
        """Read the items of a list, or the pairs of an inline table."""
        index, close = 0, "]" if self.text[at] == "[" else "}"
        at = self.blank(at + 1)
        while at < len(self.text) and self.text[at] != close:
            start = at
            if close == "]":
                self.note(f"{path}.{index}", at)
                at = self.value(at, f"{path}.{index}", depth)
                index += 1
            else:
                at = self.pair(at, path, depth)
            at = self.blank(at)
            at = self.blank(at + 1) if self.text[at : at + 1] == "," else at
            if at == start:
                break
        return at + 1

    def skip(self, at: int) -> int:
        while self.text[at] in " \t":
            at += 1
        return at

    def blank(self, at: int) -> int:
        found = _BLANK.match(self.text, at)
        return found.end() if found else at
