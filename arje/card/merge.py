"""Drop-ins over a card: one table made of several files, and for every field the file and the line that it came from.

Tables are merged deep, key by key; anything else replaces what was there, lists too. Two words stand only in a drop-in:

* ``[append.soma]`` with ``binds = ["/srv"]`` adds items behind those that a list has;
* ``reset = ["soma.seccomp"]`` takes fields out before anything of the drop-in is merged.

A table over a shorthand (``[soma.namespaces]`` over ``namespaces = ["mount"]``) is merged with what the shorthand means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from arje.card import normalise
from arje.card.card import Part, Source
from arje.card.edges import WITH_TERMS
from arje.card.nearest import nearest
from arje.card.unreadable import Unreadable, shown
from arje.errors import CardProblem

_WORDS: Final = ("append", "reset")


def _edges(value: Any, _path: str) -> Any:
    """Return the table of names, each without terms, that a list of names is."""
    return {name: {} for name in value} if isinstance(value, list) and all(isinstance(n, str) for n in value) else value


_SPELLED: Final[dict[str, Callable[[Any, str], Any]]] = {
    **dict.fromkeys(WITH_TERMS, _edges),
    "soma.namespaces": normalise.namespaces,
    "soma.run_as": normalise.run_as,
    "soma.network": lambda value, path: {"mode": value} if isinstance(value, str) else value,
}


@dataclass(frozen=True, slots=True)
class Document:
    """One file, parsed: its table, and the line of every field of it."""

    file: str
    digest: str
    raw: dict[str, Any]
    lines: dict[str, int]


@dataclass(slots=True)
class Merged:
    """What came of it. ``owners``: field → number of its document, for those that are not the first one's."""

    raw: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    problems: list[CardProblem] = field(default_factory=list)


def merge(documents: Sequence[Document]) -> Merged:
    """Return the first document with the others merged over it, in their order."""
    first, *others = documents
    if not others:
        return Merged(first.raw, first.lines)
    merged = Merged(first.raw, dict(first.lines))
    for number, document in enumerate(others, 1):
        _Layer(merged, document, number).run()
    return merged


def source_of(documents: Sequence[Document], merged: Merged, digest: str) -> Source:
    """Return where a card came from that these documents made."""
    parts = tuple(Part(document.file, document.digest) for document in documents)
    return Source(file=parts[0].file, digest=digest, lines=merged.lines, parts=parts, owners=merged.owners)


class _Layer:
    """One drop-in on its way into the table."""

    def __init__(self, merged: Merged, document: Document, number: int) -> None:
        self._merged = merged
        self._document = document
        self._number = number

    def run(self) -> None:
        raw = self._document.raw
        self._reset(raw.get("reset", []))
        if "label" in raw:
            self._wrong("label", "a drop-in gives no label", "remove it")
        plain = {key: value for key, value in raw.items() if key not in (*_WORDS, "label")}
        self._merged.raw = self._over(self._merged.raw, plain, "")
        more = raw.get("append", {})
        if isinstance(more, dict):
            self._merged.raw = self._append(self._merged.raw, more, "")
        else:
            self._wrong("append", f"{shown(more)} is not a table", 'write [append] requires = ["…"]')

    def _wrong(self, path: str, message: str, remedy: str) -> None:
        line = Source(lines=self._document.lines).line_of(path)
        self._merged.problems.append(CardProblem(self._document.file, line, path, message, remedy))

    def _reset(self, paths: Any) -> None:
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            self._wrong("reset", f"{shown(paths)} is no list of fields", 'write reset = ["soma.seccomp"]')
            return
        for number, path in enumerate(paths):
            *above, last = path.split(".")
            if (unknown := _unknown(path)) is not None:
                near = f"did you mean {unknown!r}?" if unknown else ""
                self._wrong(f"reset.{number}", f"no such field: {path}", near)
                continue
            self._merged.raw = _without(self._merged.raw, [*above, last])
            self._forget(path)

    def _forget(self, path: str) -> None:
        for places in (self._merged.lines, self._merged.owners):
            for known in [known for known in places if known == path or known.startswith(f"{path}.")]:
                del places[known]

    def _note(self, path: str, line: int | None) -> None:
        if line is not None:
            self._merged.lines[path] = line
            self._merged.owners[path] = self._number

    def _take(self, path: str) -> None:
        """Let a field and all in it stand where the drop-in has them."""
        self._forget(path)
        for known, line in self._document.lines.items():
            if known == path or known.startswith(f"{path}."):
                self._note(known, line)

    def _over(self, old: dict[str, Any], new: dict[str, Any], above: str) -> dict[str, Any]:
        made = dict(old)
        for key, value in new.items():
            path = f"{above}.{key}" if above else key
            there = made.get(key)
            if isinstance(value, dict) and isinstance(spelled := _spelled(there, path), dict):
                made[key] = self._over(spelled, value, path)
                continue
            made[key] = value
            self._take(path)
        return made

    def _append(self, old: dict[str, Any], new: dict[str, Any], above: str) -> dict[str, Any]:
        made = dict(old)
        for key, value in new.items():
            path = f"{above}.{key}" if above else key
            there = made.get(key)
            if isinstance(value, dict) and isinstance(there, dict | None):
                made[key] = self._append(there or {}, value, path)
                if there is None:
                    self._note(path, self._document.lines.get(f"append.{path}"))
            elif isinstance(value, list) and isinstance(there, list | None):
                made[key] = [*(there or []), *value]
                self._take_items(path, len(there or []), new=there is None)
            else:
                what = "a table" if isinstance(there, dict) else "no list"
                told = f"{path} is {what} in the card" if isinstance(value, list) else f"{shown(value)} is no list"
                self._wrong(f"append.{path}", told, "append adds items to lists; write the field itself to replace it")
        return made

    def _take_items(self, path: str, count: int, *, new: bool) -> None:
        said = f"append.{path}"
        if new:
            self._note(path, self._document.lines.get(said))
        for known, line in self._document.lines.items():
            if known.startswith(f"{said}."):
                index, dot, rest = known.removeprefix(f"{said}.").partition(".")
                if index.isdecimal():
                    self._note(f"{path}.{int(index) + count}{dot}{rest}", line)


def _spelled(value: Any, path: str) -> Any:
    """Return the table that a shorthand stands for; else the value as it is."""
    if value is None or isinstance(value, dict) or path not in _SPELLED:
        return value
    try:
        return _SPELLED[path](value, path)
    except Unreadable:  # it is replaced, and need not be right
        return value


def _without(table: dict[str, Any], path: list[str]) -> dict[str, Any]:
    key, *rest = path
    if key not in table:
        return table
    made = dict(table)
    if rest and isinstance(made[key], dict):
        made[key] = _without(made[key], rest)
    elif not rest:
        del made[key]
    return made


def _unknown(path: str) -> str | None:
    """Return the nearest field of one that no card has, or ""; None when there is such a field, as far as is known."""
    from arje.card.words import names_at

    above: list[str] = []
    for name in path.split("."):
        known = names_at(above)
        if known and name not in (*known, "env"):
            return ".".join([*above, near]) if (near := nearest(name, known)) else ""
        above.append(name)
    return None
