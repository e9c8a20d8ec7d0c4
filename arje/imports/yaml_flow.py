"""Quoted texts, ``[…]`` and ``{…}`` of YAML, which may span lines; and the cursor that blocks and flow share."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from arje.imports.draft import Place, wrong
from arje.imports.yaml_nodes import Mapping, Node, Scalar, Sequence

DEEPEST: Final = 64
ANCHOR: Final = re.compile(r"[&*]([^\s,\[\]{}]+)\s*")

_ESCAPES: Final = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
}
_PLAIN: Final = re.compile(r"(?:[^\s,\[\]{}:#]|:(?=[^\s,\[\]{}])|(?<=\S)#|[ \t]+(?=[^\s,\[\]{}:#]))+")
_CODES: Final = {"x": 2, "u": 4, "U": 8}


class Flow:
    """A cursor over lines: ``_row``, and within a flow ``_column``."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._row = 0
        self._depth = 0
        self._anchors: dict[str, Node] = {}
        self._column = 0

    @property
    def _more(self) -> bool:
        return self._row < len(self._lines)

    @property
    def _line(self) -> str:
        return self._lines[self._row]

    def _fail(self, what: str, remedy: str = "", row: int | None = None) -> NoReturn:
        raise wrong(
            Place(self._file, (self._row if row is None else row) + 1), f"not YAML that is read here: {what}", remedy
        )

    def _skip(self) -> None:
        while self._more and (not self._line.strip() or self._line.lstrip().startswith("#")):
            self._row += 1

    def _indent(self) -> int:
        plain = self._line.lstrip(" ")
        if plain.startswith("\t"):
            self._fail("a tab indents it", "indent with spaces")
        return len(self._line) - len(plain)

    def _with_merged(self, items: dict[str, Node], keys: dict[str, int], merged: list[Node], line: int) -> Mapping:
        for other in merged:
            if not isinstance(other, Mapping):
                self._fail("<< of something that is no table", "write <<: *anchor", line - 1)
            items = {**other.items, **items}
            keys = {**other.keys, **keys}
        return Mapping(items, keys, line)

    def _flowing(self, at: int) -> Node:
        """Read a quoted text, ``[…]`` or ``{…}`` from a column of the line of now on; it may span lines."""
        self._column = at
        node = self._flow(0)
        rest = self._line[self._column :].strip() if self._more else ""
        if rest and not rest.startswith("#"):
            self._fail(f"{rest[:40]!r} after a closed value", "write one value")
        self._row += 1
        return node

    def _space(self) -> None:
        while self._more:
            rest = self._line[self._column :].lstrip()
            if rest and not (
                rest.startswith("#") and (self._column == 0 or self._line[self._column - 1 : self._column] in " ,[{")
            ):
                self._column = len(self._line) - len(rest)
                return
            self._row += 1
            self._column = 0
        self._fail("it is never closed", "close it", len(self._lines) - 1)

    def _flow(self, depth: int) -> Node:
        if depth > DEEPEST:
            self._fail(f"nested deeper than {DEEPEST} levels")
        self._space()
        char = self._line[self._column]
        if char == "[":
            return self._flow_sequence(depth)
        if char == "{":
            return self._flow_mapping(depth)
        if char in "\"'":
            return self._quoted(char)
        if char == "*":
            found = ANCHOR.match(self._line, self._column)
            if found is None or found[1] not in self._anchors:
                self._fail("an alias without its anchor", "write &name first")
            self._column = found.end()
            return self._anchors[found[1]]
        if char in "&!|>%@`":
            self._fail(f"{char!r} within brackets", "write it in quotes")
        return self._flow_plain()

    def _flow_sequence(self, depth: int) -> Sequence:
        line, items = self._row + 1, list[Node]()
        self._column += 1
        while True:
            self._space()
            if self._line[self._column] == "]":
                self._column += 1
                return Sequence(tuple(items), line)
            items.append(self._flow(depth + 1))
            self._space()
            if self._line[self._column] == ":":
                self._fail("a key within a list", "put it in {…}")
            self._comma("]")

    def _flow_mapping(self, depth: int) -> Mapping:
        line = self._row + 1
        items: dict[str, Node] = {}
        keys: dict[str, int] = {}
        self._column += 1
        while True:
            self._space()
            if self._line[self._column] == "}":
                self._column += 1
                return self._with_merged(items, keys, [], line)
            at = self._row + 1
            key = self._flow(depth + 1)
            if not isinstance(key, Scalar) or key.text in keys:
                self._fail("a key that is no text, or is there already", "write each key once")
            keys[key.text] = at
            self._space()
            items[key.text] = Scalar("", at)
            if self._line[self._column] == ":":
                self._column += 1
                self._space()
                if self._line[self._column] not in ",}":
                    items[key.text] = self._flow(depth + 1)
                    self._space()
            self._comma("}")

    def _comma(self, close: str) -> None:
        if self._line[self._column] == ",":
            self._column += 1
        elif self._line[self._column] != close:
            self._fail(f"no comma before {self._line[self._column :][:40]!r}", "separate with commas")

    def _flow_plain(self) -> Scalar:
        line, parts = self._row + 1, list[str]()
        while found := _PLAIN.match(self._line, self._column):
            parts.append(found[0].strip())
            self._column = found.end()
            if self._line[self._column :].strip() or self._row + 1 >= len(self._lines):
                break
            below = self._lines[self._row + 1]
            column = len(below) - len(below.lstrip())
            if not _PLAIN.match(below, column) or below[column] in "\"'&*!":
                break
            self._row, self._column = self._row + 1, column  # it goes on there
        if not parts:
            self._fail(f"{self._line[self._column]!r} has no place here", "write it in quotes")
        return Scalar(" ".join(parts), line)

    def _quoted(self, quote: str) -> Scalar:
        line, start = self._row, self._column
        pattern = re.compile(r'"(?:[^"\\]|\\.)*"' if quote == '"' else r"'(?:[^']|'')*'", re.DOTALL)
        rest = "\n".join([self._line[start:], *self._lines[line + 1 : line + 10_000]])
        found = pattern.match(rest)
        if found is None:
            self._fail("a quote is never closed", "close it", line)
        down = found[0].count("\n")
        text = self._unquoted(found[0])
        self._row += down
        self._column = start + len(found[0]) if not down else len(found[0]) - found[0].rindex("\n") - 1
        return Scalar(text, line + 1, quoted=True)

    def _unquoted(self, text: str) -> str:
        inner = text[1:-1]
        if "\n" in inner:
            inner = re.sub(r"[ \t]*\n\s*", lambda found: "\n" * (found[0].count("\n") - 1) or " ", inner)
        if text[0] == "'":
            return inner.replace("''", "'")
        return re.sub(r"\\(x..|u....|U........|.)", self._escaped, inner, flags=re.DOTALL)

    def _escaped(self, found: re.Match[str]) -> str:
        what = found[1]
        if what in _ESCAPES:
            return _ESCAPES[what]
        digits = what[1:]
        if (
            len(digits) != _CODES.get(what[0], -1)
            or not re.fullmatch("[0-9A-Fa-f]+", digits)
            or int(digits, 16) > 0x10FFFF
        ):
            self._fail(f"\\{what} is no escape", "write \\\\ for a backslash")
        return chr(int(digits, 16))
