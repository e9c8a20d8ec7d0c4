"""A strict reader of the YAML that people write by hand: block and flow mappings and lists, every kind of scalar, anchors,
aliases and merge keys. What it does not read it refuses with its line; it never guesses.

Why one of our own: PyYAML says ``22:22`` is 1342 and ``no`` is false, which is neither what docker compose reads nor what
its author wrote, and a manager should not grow a dependency for a command that is run once. Here every scalar stays the
text that stands in the file, with its line; what it means is for who asks. Not read: tags, several documents, complex keys,
tabs that indent. (YAML 1.2, https://yaml.org/spec/1.2.2/)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from arje.imports.yaml_flow import ANCHOR, DEEPEST, Flow
from arje.imports.yaml_nodes import Node, Scalar, Sequence

_KEY: Final = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?:[^\s#"'\[\]{},&*!|>%@`?-]|[?-](?=\S))(?:\S|\s(?!#))*?)\s*:(?=\s|$)"""
)
_HEADER: Final = re.compile(r"([|>])([+-]?)([1-9]?)([+-]?)\s*(?:\s#.*)?")


def load(file: Path, text: str) -> Node:
    """Return what a text holds. Raises CardError with file and line."""
    return _Reader(str(file), text).document()


class _Reader(Flow):
    def document(self) -> Node:
        self._skip()
        while self._more and self._line.startswith("%"):
            self._row += 1
            self._skip()
        if self._more and re.fullmatch(r"---\s*(#.*)?", self._line):
            self._row += 1
            self._skip()
        if not self._more:
            return Scalar("", 1)
        node = self._block(-1)
        self._skip()
        if self._more and re.match(r"(---|\.\.\.)(\s|$)", self._line):
            self._row += 1
            self._skip()
            if self._more:
                self._fail("a second document", "keep one in a file")
        if self._more:
            self._fail("it belongs to nothing: its indentation is none of those above", "indent it as its siblings")
        return node

    # -- blocks --------------------------------------------------------------------------------------------------------

    def _block(self, above: int) -> Node:
        """Read what stands in the line of now, which is indented more than ``above``."""
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"nested deeper than {DEEPEST} levels")
        column = self._indent()
        rest = self._line[column:]
        if rest == "-" or rest.startswith(("- ", "-\t")):
            node: Node = self._sequence(column)
        elif rest.startswith("? "):
            self._fail("a complex key", "write a plain key")
        elif _KEY.match(rest):
            node = self._mapping(column)
        else:
            node = self._value(rest, column, above)
        self._depth -= 1
        return node

    def _sequence(self, column: int) -> Node:
        items: list[Node] = []
        first = self._row + 1
        while self._more and self._indent() == column and re.match(r"-(\s|$)", self._line[column:]):
            start = self._row
            self._lines[start] = " " * (column + 1) + self._line[column + 1 :]
            rest = self._line[column + 1 :].strip()
            if not rest or rest.startswith("#"):
                self._row += 1
                items.append(self._below(column, start))
            elif rest[0] in "&|>" or not (_KEY.match(rest) or re.match(r"-(\s|$)", rest)):
                items.append(self._value(rest, self._indent(), column))
            else:
                items.append(self._block(column))
            self._skip()
        self._outdented(column)
        return Sequence(tuple(items), first)

    def _mapping(self, column: int) -> Node:
        items: dict[str, Node] = {}
        keys: dict[str, int] = {}
        merged: list[Node] = []
        first = self._row + 1
        while self._more and self._indent() == column and (found := _KEY.match(self._line[column:])):
            key, line = self._key(found[1]), self._row + 1
            if key in keys:
                self._fail(f"the key {key!r} is there already, in line {keys[key]}", "remove one")
            rest = self._line[column + found.end() :].strip()
            keys[key] = line
            at = column + found.end()
            if not rest or rest.startswith("#"):
                self._row += 1
                value = self._below(column, line - 1, lists_too=True)
            else:
                value = self._value(rest, len(self._line) - len(self._line[at:].lstrip()), column)
            if key == "<<":
                merged += value.items if isinstance(value, Sequence) else [value]
                del keys[key]
            else:
                items[key] = value
            self._skip()
        self._outdented(column)
        return self._with_merged(items, keys, merged, first)

    def _outdented(self, column: int) -> None:
        if self._more and self._indent() > column:
            self._fail("it is indented more than its siblings, or has no key", "indent it as its siblings")

    def _below(self, column: int, row: int, *, lists_too: bool = False) -> Node:
        """Read what stands below a key or a dash without a value of its own."""
        self._skip()
        if self._more and not re.match(r"(---|\.\.\.)(\s|$)", self._line):
            indent = self._indent()
            if indent > column or (lists_too and indent == column and re.match(r"-(\s|$)", self._line[indent:])):
                return self._block(column)
        return Scalar("", row + 1)

    def _key(self, text: str) -> str:
        if text[0] in "\"'":
            return self._unquoted(text)
        return text

    def _value(self, rest: str, at: int, column: int) -> Node:
        """Read a value that begins in the line of now at ``at``; what goes on below is indented more than ``column``."""
        row = self._row
        if rest[0] == "&":
            found = ANCHOR.match(rest)
            if found is None:
                self._fail("an anchor without a name", "write &name")
            after = rest[found.end() :]
            if not after or after.startswith("#"):
                self._row += 1
                node = self._below(column, row, lists_too=True)
            else:
                node = self._value(after, at + found.end(), column)
            self._anchors[found[1]] = node
            return node
        if rest[0] == "*":
            node = self._alias(rest)
            self._row += 1
            return node
        if rest[0] in "!%@`":
            self._fail(f"{rest.split()[0]!r}: tags and reserved signs", "take it away, or write it in quotes")
        if rest[0] in "|>":
            return self._literal(rest, column)
        if rest[0] in "[{\"'":
            return self._flowing(at)
        return self._plain(rest, column)

    def _alias(self, rest: str) -> Node:
        found = ANCHOR.match(rest)
        if found is None or (rest[found.end() :] and not rest[found.end() :].startswith("#")):
            self._fail(f"{rest!r} is no alias")
        if found[1] not in self._anchors:
            self._fail(f"*{found[1]}: there is no such anchor above", f"write &{found[1]} first")
        return self._anchors[found[1]]

    def _plain(self, rest: str, column: int) -> Scalar:
        row, parts, blank = self._row, [_uncommented(rest)], 0
        self._row += 1
        while self._more and parts[-1] is not None:
            line = self._line.strip()
            if not line:
                blank += 1
            elif line.startswith("#") or self._indent() <= column:
                break
            elif _KEY.match(line):
                self._fail("a key where the text above goes on", "indent it as its siblings, or quote the text")
            else:
                parts.append("\n" * blank + _uncommented(line))
                blank = 0
            self._row += 1
        text = parts[0] + "".join(part if part.startswith("\n") else f" {part}" for part in parts[1:])
        return Scalar(text.strip(), row + 1)

    def _literal(self, rest: str, column: int) -> Scalar:
        """Read ``|`` or ``>``: the lines below that are indented more than ``column``."""
        row, found = self._row, _HEADER.fullmatch(rest)
        if found is None:
            self._fail(f"{rest!r} begins no text", 'write "|", "|-", ">" or ">-"')
        self._row += 1
        lines: list[str] = []
        indent = max(column, 0) + int(found[3]) if found[3] else 0
        while self._more:
            line = self._line
            if line.strip():
                own = len(line) - len(line.lstrip(" "))
                if own <= column:
                    break
                indent = indent or own
                if own < indent:
                    self._fail("it is indented less than the text above")
            lines.append(line[indent:] if indent else "")
            self._row += 1
        keep = found[2] or found[4]
        body = "\n".join(lines).rstrip("\n") if found[1] == "|" else _folded(lines)
        tail = "" if keep == "-" or not body else "\n"
        if keep == "+":
            tail = "\n" * (1 + sum(1 for _ in _trailing(lines)))
        return Scalar(body + tail, row + 1, quoted=True)


def _uncommented(text: str) -> str:
    return re.split(r"\s#", text, maxsplit=1)[0].strip()


def _trailing(lines: list[str]) -> list[str]:
    kept = list(lines)
    while kept and kept[-1]:
        kept.pop()
    count = 0
    for line in reversed(lines):
        if line.strip():
            break
        count += 1
    return lines[len(lines) - count :] if count else []


def _folded(lines: list[str]) -> str:
    """Return lines joined as ``>`` does: a line break is a space, but beside lines that are indented more."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    text, before = "", ""
    for number, line in enumerate(lines):
        indented = line[:1] in (" ", "\t")
        if number and not line.strip():
            text += "\n"
        elif not number:
            text = line
        elif before.strip() and not indented and before[:1] not in (" ", "\t"):
            text += " " + line
        elif before.strip():
            text += "\n" + line
        else:
            text += ("\n" if indented else "") + line
        before = line
    return text
