"""Values of compose files: lists or tables, durations, sizes, truths; each refused with its line when it is none."""

from __future__ import annotations

import re
from typing import Final

from arje.errors import CardError
from arje.imports.draft import Place, wrong
from arje.imports.yaml_nodes import Mapping, Node, Scalar, Sequence

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d|)")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_SIZES: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Field:
    """One key of a service with its value; a word for every shape that it may have."""

    def __init__(self, file: str, name: str, line: int, node: Node) -> None:
        self.file = file
        self.name = name
        self.line = line
        self.node = node
        self.place = Place(file, line)

    def bad(self, message: str, remedy: str = "", line: int = 0) -> CardError:
        """Return the error that this value is."""
        return wrong(Place(self.file, line or self.node.line or self.line), message, remedy, self.name)

    def sub(self, node: Node, name: str, line: int) -> Field:
        """Return a part of it as a field."""
        return Field(self.file, f"{self.name}.{name}", line, node)

    @property
    def text(self) -> str:
        """The text. Raises CardError."""
        if not isinstance(self.node, Scalar):
            raise self.bad("it is no text", "write one value")
        return self.node.text

    @property
    def parts(self) -> dict[str, Field]:
        """The keys of a table as fields. Raises CardError."""
        if not isinstance(self.node, Mapping):
            raise self.bad("it is no table", "write keys below it")
        return {name: self.sub(node, name, self.node.keys[name]) for name, node in self.node.items.items()}

    @property
    def each(self) -> list[Field]:
        """The items of a list, or the one value, as fields. Raises CardError."""
        if isinstance(self.node, Sequence):
            return [self.sub(node, str(number), node.line) for number, node in enumerate(self.node.items)]
        if isinstance(self.node, Mapping):
            raise self.bad("it is a table, and no list", "write - before each")
        return [] if self.node.is_null else [self]

    @property
    def texts(self) -> list[str]:
        """The texts of a list, or of one value. Raises CardError."""
        return [item.text for item in self.each]

    @property
    def pairs(self) -> dict[str, tuple[str | None, Place]]:
        """The variables of a table, or of a list of ``NAME=value``; None for one without a value. Raises CardError."""
        if isinstance(self.node, Mapping):
            return {
                name: (None if isinstance(item.node, Scalar) and item.node.is_null else item.text, item.place)
                for name, item in self.parts.items()
            }
        found: dict[str, tuple[str | None, Place]] = {}
        for item in self.each:
            name, equals, value = item.text.partition("=")
            found[name] = (value if equals else None, item.place)
        return found

    @property
    def truth(self) -> bool:
        """Whether it says true. Raises CardError."""
        word = self.text.lower()
        if word not in _TRUTHS:
            raise self.bad(f"{self.text!r} is neither true nor false", "write true or false")
        return _TRUTHS[word]

    @property
    def number(self) -> int:
        """A whole number. Raises CardError."""
        if not re.fullmatch(r"-?\d{1,12}", self.text):
            raise self.bad(f"{self.text!r} is no number", "write a number")
        return int(self.text)

    @property
    def real(self) -> float:
        """A number. Raises CardError."""
        if not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", self.text):
            raise self.bad(f"{self.text!r} is no number", "write a number")
        return float(self.text)

    @property
    def duration(self) -> str:
        """A duration as a card has it. Raises CardError."""
        found = _DURATION.findall(self.text)
        if not found or "".join(number + unit for number, unit in found) != self.text:
            raise self.bad(f"{self.text!r} is no duration", 'write "1m30s"')
        seconds = sum(float(number) * _UNITS[unit] for number, unit in found)
        return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"

    @property
    def size(self) -> int:
        """Bytes. Raises CardError."""
        found = _SIZE.fullmatch(self.text)
        if found is None:
            raise self.bad(f"{self.text!r} is no size", 'write "512m"')
        return int(float(found[1]) * _SIZES[found[2].lower()])
