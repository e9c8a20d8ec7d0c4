"""What a YAML text holds: texts, lists and tables, each with its line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as it stands in the file. ``quoted``: it was in quotes, so that ``"no"`` is a word and no truth."""

    text: str
    line: int
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Whether it says nothing."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A table, merge keys already put in."""

    items: dict[str, Node]
    keys: dict[str, int]
    line: int


Node = Scalar | Sequence | Mapping
