"""A reader of Varlink interface descriptions (https://varlink.org/Interface-Definition), comments kept; and their types as
JSON schemas.

The control socket's own description is the one source of what its replies and the ``--json`` of arjectl look like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

_TOKEN: Final = re.compile(r"\s+|(#[^\n]*)|(\[string\]|\[\]|->|[?(),:]|[A-Za-z][A-Za-z0-9_.-]*)")
_SIMPLE: Final = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "string": {"type": "string"},
    "object": {},
}


@dataclass(frozen=True, slots=True)
class Type:
    """``kind``: a simple one's name, ``struct``, ``enum``, ``maybe``, ``list``, ``map``, or ``ref`` to a named one."""

    kind: str
    name: str = ""
    of: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A type, method or error: what it takes (``input``), what a method answers, and the comment above it."""

    kind: str
    name: str
    input: Type
    output: Type | None = None
    comment: str = ""


@dataclass(slots=True)
class Interface:
    """An interface: its name, its comment, its members in order."""

    name: str = ""
    comment: str = ""
    members: list[Member] = field(default_factory=list)


class _Reader:
    def __init__(self, text: str) -> None:
        self._words: list[tuple[str, str]] = []  # word, the comment right above it
        said: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"{text[at : at + 20]!r} has no place here")
            at = found.end()
            if found[1]:
                said.append(found[1].removeprefix("#").strip())
            elif found[2]:
                self._words.append((found[2], "\n".join(said)))
                said = []
            elif "\n\n" in found[0]:
                said = []
        self._at = 0

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1][0]

    def _is(self, word: str) -> bool:
        return self._at < len(self._words) and self._words[self._at][0] == word

    def interface(self) -> Interface:
        """Return the whole description. Raises ValueError, IndexError for what is none."""
        comment = self._words[0][1]
        if self._next() != "interface":
            raise ValueError("a description begins with its interface")
        made = Interface(self._next(), comment)
        while self._at < len(self._words):
            kind, comment = self._words[self._at]
            self._at += 1
            name, given = self._next(), self.type()
            output = None
            if kind == "method":
                if self._next() != "->":
                    raise ValueError(f"method {name} answers nothing")
                output = self.type()
            made.members.append(Member(kind, name, given, output, comment))
        return made

    def type(self) -> Type:
        """Return the type that begins here."""
        word = self._next()
        if word in ("?", "[]", "[string]"):
            return Type({"?": "maybe", "[]": "list", "[string]": "map"}[word], of=self.type())
        if word == "(":
            return self._struct()
        return Type(word) if word in _SIMPLE else Type("ref", word)

    def _struct(self) -> Type:
        fields: list[tuple[str, Type]] = []
        words: list[str] = []
        while not self._is(")"):
            name = self._next()
            if self._is(":"):
                self._at += 1
                fields.append((name, self.type()))
            else:
                words.append(name)
            if self._is(","):
                self._at += 1
        self._at += 1
        return Type("enum", words=tuple(words)) if words else Type("struct", fields=tuple(fields))


def read(text: str) -> Interface:
    """Return the interface of a description. Raises ValueError, IndexError."""
    return _Reader(text).interface()


def type_of(text: str) -> Type:
    """Return the type that a text such as ``[]Service`` means. Raises ValueError, IndexError."""
    return _Reader(text).type()


@cache
def manager() -> Interface:
    """Return the interface of the control socket."""
    return read(resources.files("arje.control").joinpath("io.arje.Manager.varlink").read_text())


def schema(wanted: Type, interface: Interface) -> dict[str, Any]:
    """Return the JSON schema of a type, with every named type that it is made of in ``$defs``."""
    needed: list[str] = []
    made = _schema(wanted, needed)
    definitions: dict[str, Any] = {}
    for name in needed:  # grows while it is walked
        member = next(member for member in interface.members if member.kind == "type" and member.name == name)
        definitions[name] = _schema(member.input, needed)
        if member.comment:
            definitions[name]["description"] = " ".join(member.comment.split())
    return made | ({"$defs": definitions} if definitions else {})


def _schema(wanted: Type, needed: list[str]) -> dict[str, Any]:
    if wanted.kind == "ref":
        if wanted.name not in needed:
            needed.append(wanted.name)
        return {"$ref": f"#/$defs/{wanted.name}"}
    if wanted.kind == "enum":
        return {"enum": list(wanted.words)}
    if wanted.kind == "struct":
        return {
            "type": "object",
            "properties": {name: _schema(kind, needed) for name, kind in wanted.fields},
            "required": [name for name, kind in wanted.fields if kind.kind != "maybe"],
            "additionalProperties": False,
        }
    if wanted.of is None:
        return dict(_SIMPLE[wanted.kind])
    inner = _schema(wanted.of, needed)
    if wanted.kind == "maybe":
        return {"anyOf": [inner, {"type": "null"}]}
    return (
        {"type": "array", "items": inner}
        if wanted.kind == "list"
        else {"type": "object", "additionalProperties": inner}
    )
