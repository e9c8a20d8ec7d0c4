"""A reader of Varlink interface descriptions, written from the language's definition: it shares nothing with arje."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(r"#[^\n]*|\s+|\[string\]|\[\]|->|[?(),:]|[A-Za-z][A-Za-z0-9_.-]*|(?P<wrong>.)")
_FIELD = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
_SIMPLE = {"bool": bool, "int": int, "string": str, "object": dict}


class Interface:
    """Types, methods (parameters and reply) and errors by name. Raises ValueError for what the language does not know."""

    def __init__(self, text: str) -> None:
        self._words = list(self._split(text))
        self.types: dict[str, Any] = {}
        self.methods: dict[str, tuple[Any, Any]] = {}
        self.errors: dict[str, Any] = {}
        self._take("interface")
        self.name = self._next()
        while self._words:
            self._member()

    @staticmethod
    def _split(text: str) -> Iterator[str]:
        for found in _TOKEN.finditer(text):
            if found["wrong"]:
                raise ValueError(f"{found[0]!r} has no place here")
            if not found[0].isspace() and not found[0].startswith("#"):
                yield found[0]

    def _next(self) -> str:
        return self._words.pop(0)

    def _take(self, word: str) -> None:
        if (found := self._next()) != word:
            raise ValueError(f"{found!r} where {word!r} belongs")

    def _member(self) -> None:
        kind, name = self._next(), self._next()
        if not re.fullmatch("[A-Z][A-Za-z0-9]*", name) or name in {*self.types, *self.methods, *self.errors}:
            raise ValueError(f"{name!r} is no name for a member, or is taken")
        if kind == "type":
            self.types[name] = self._struct()
        elif kind == "error":
            self.errors[name] = self._struct()
        elif kind == "method":
            parameters = self._struct()
            self._take("->")
            self.methods[name] = (parameters, self._struct())
        else:
            raise ValueError(f"{kind!r} begins no member")

    def _struct(self) -> Any:
        """A struct is a dict of its fields, an enum a set of its words."""
        self._take("(")
        fields: dict[str, Any] = {}
        typed = None
        while self._words[0] != ")":
            name = self._next()
            if not _FIELD.fullmatch(name) or name in fields:
                raise ValueError(f"{name!r} is no name for a field, or is taken")
            typed = self._words[0] == ":"
            if typed:
                self._next()
            fields[name] = self._type() if typed else None
            if self._words[0] == ",":
                self._next()
        self._take(")")
        return set(fields) if typed is False else fields

    def _type(self) -> Any:
        word = self._words[0]
        if word in ("?", "[]", "[string]"):
            self._next()
            return (word, self._type())
        return self._struct() if word == "(" else self._next()

    def faults(self, value: Any, wanted: Any, where: str = "") -> Iterator[str]:
        """Yield where a value is not of a type: wrong kind, missing field, field that nobody declared."""
        if isinstance(wanted, str) and wanted in self.types:
            wanted = self.types[wanted]
        if isinstance(wanted, dict):
            yield from self._struct_faults(value, wanted, where)
        elif isinstance(wanted, set):
            if value not in wanted:
                yield f"{where}: {value!r} is none of {sorted(wanted)}"
        elif isinstance(wanted, tuple):
            yield from self._container_faults(value, wanted, where)
        elif wanted == "float":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                yield f"{where}: {value!r} is no float"
        elif not isinstance(value, _SIMPLE[wanted]) or (wanted == "int" and isinstance(value, bool)):
            yield f"{where}: {value!r} is no {wanted}"

    def _struct_faults(self, value: Any, wanted: dict[str, Any], where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no struct"
            return
        yield from (f"{where}.{name}: nobody declared it" for name in value.keys() - wanted.keys())
        for name, kind in wanted.items():
            if name in value:
                yield from self.faults(value[name], kind, f"{where}.{name}")
            elif not (isinstance(kind, tuple) and kind[0] == "?"):
                yield f"{where}.{name}: it is missing"

    def _container_faults(self, value: Any, wanted: tuple[str, Any], where: str) -> Iterator[str]:
        kind, inner = wanted
        if kind == "?":
            if value is not None:
                yield from self.faults(value, inner, where)
        elif kind == "[]" and isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.faults(item, inner, f"{where}[{number}]")
        elif kind == "[string]" and isinstance(value, dict):
            for key, item in value.items():
                yield from self.faults(item, inner, f"{where}[{key}]")
        else:
            yield f"{where}: {value!r} is no {kind}"
