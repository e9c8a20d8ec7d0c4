"""Card files to cards, and every problem of every file at once; one bad card never stops the others.

TOML is for people, JSON is the ancestor's. Nothing that a file may hold raises out of here: bytes that are no text, no
TOML, no card, each is a :class:`~arje.errors.CardProblem` with file, line, field and remedy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from arje.card import ancestor, lines, normalise
from arje.card.card import Card, Source
from arje.card.nearest import nearest
from arje.card.payload import Legacy, Native, Payload, Virtual
from arje.errors import CardProblem

SUFFIXES: Final = (".toml", ".json")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}")
_MOST: Final = 4 * 2**20  # bytes; a card file is a page, not a book


@dataclass(frozen=True, slots=True)
class Loaded:
    """The good cards, and what is wrong with the others."""

    cards: tuple[Card, ...]
    problems: tuple[CardProblem, ...]


@cache
def adapter() -> TypeAdapter[Card]:
    """Return the validator of cards, built once."""
    return TypeAdapter(Card)


def load_dirs(directories: Iterable[Path]) -> Loaded:
    """Load every card file of the directories; a file hides one of the same name in an earlier directory."""
    chosen: dict[str, Path] = {}
    for directory in directories:
        if directory.is_dir():
            chosen |= {file.name: file for file in directory.iterdir() if file.suffix in SUFFIXES}
    return load_files(chosen[name] for name in sorted(chosen))


def load_files(files: Iterable[Path]) -> Loaded:
    """Load card files; two cards of one label are a problem of the second."""
    cards: dict[str, Card] = {}
    problems: list[CardProblem] = []
    for file in files:
        loaded = load_file(file)
        problems += loaded.problems
        for card in loaded.cards:
            if (first := cards.get(card.label)) is None:
                cards[card.label] = card
                continue
            message = f"{card.label!r} is already the label of a card in {first.source.file}"
            line = card.source.line_of("label")
            problems.append(CardProblem(str(file), line, "label", message, "choose another label"))
    return Loaded(tuple(cards.values()), tuple(problems))


def load_file(file: Path) -> Loaded:
    """Load one card file. Never raises for what the file holds."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST + 1)
        if len(data) > _MOST:
            return _bad(file, 0, f"larger than {_MOST} bytes", "a card file is small text")
        text = data.decode()
    except OSError as error:
        return _bad(file, 0, f"cannot be read: {error.strerror}", "check the path and its permissions")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _bad(file, line, f"byte {data[error.start]:#04x} is not UTF-8", "save the file as UTF-8")
    return load_text(file, text)


def load_text(file: Path, text: str) -> Loaded:
    """Load the text of one card file; the suffix of its name tells the language."""
    try:
        if file.suffix == ".json":
            raw, where = _json(text), lines.of_json(text)
        else:
            raw, where = tomllib.loads(text), lines.of_toml(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        return _bad(file, line, f"not TOML: {error}", "")
    except json.JSONDecodeError as error:
        return _bad(file, error.lineno, f"not JSON: {error.msg}", "")
    except (RecursionError, ValueError) as error:
        return _bad(file, 0, f"cannot be parsed: {error}", "")
    if not isinstance(raw, dict):
        return _bad(file, 1, "a card is an object", 'begin with {"label": …}')
    source = Source(file=str(file), digest=hashlib.sha256(text.encode()).hexdigest(), lines=where)
    if file.suffix == ".json":
        return _ancestors(file, raw, source)
    if "label" not in raw:
        raw["label"] = file.stem
    return _one(file, raw, source)


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _ancestors(file: Path, raw: dict[str, Any], source: Source) -> Loaded:
    cards: list[Card] = []
    problems: list[CardProblem] = []
    for prefix, document in ancestor.documents(raw):
        own = source
        if prefix:
            under = {k.removeprefix(prefix): n for k, n in source.lines.items() if k.startswith(prefix)}
            own = replace(source, lines=under)
        try:
            loaded = _one(file, ancestor.translate(document), own)
        except normalise.Unreadable as error:
            loaded = Loaded((), (_unreadable(file, error, own),))
        cards += loaded.cards
        problems += loaded.problems
    return Loaded(tuple(cards), tuple(problems))


def _one(file: Path, raw: dict[str, Any], source: Source) -> Loaded:
    spelled, wrong = normalise.card(raw)
    problems = [_unreadable(file, error, source) for error in wrong]
    if "payload" in spelled:  # judged apart: of a union pydantic would report every member's complaints
        try:
            spelled["payload"] = _payload(spelled["payload"])
        except ValidationError as error:
            problems += [_problem(file, source, dict(item), ("payload",)) for item in error.errors(include_url=False)]
            del spelled["payload"]
    try:
        card = adapter().validate_python(spelled)
    except ValidationError as error:
        problems += [_problem(file, source, dict(item)) for item in error.errors(include_url=False)]
    if problems:
        return Loaded((), tuple(sorted(problems, key=lambda problem: problem.line)))
    if not _LABEL.fullmatch(card.label):
        line = source.line_of("label")
        message = f"{card.label!r} is no label"
        return _bad(file, line, message, "letters, digits and @ . _ -, at most 64", field="label")
    return Loaded((replace(card, source=source),), ())


def _payload(raw: dict[str, Any]) -> Payload:
    if not raw:
        return Virtual()
    kind: type[Native] = Legacy if "fakes" in raw else Native
    return TypeAdapter(kind).validate_python(raw)


def _unreadable(file: Path, error: normalise.Unreadable, source: Source) -> CardProblem:
    return CardProblem(str(file), source.line_of(error.field), error.field, str(error), error.remedy)


def _bad(file: Path, line: int, message: str, remedy: str, *, field: str = "") -> Loaded:
    return Loaded((), (CardProblem(str(file), line, field, message, remedy),))


def _problem(file: Path, source: Source, item: dict[str, Any], prefix: tuple[str, ...] = ()) -> CardProblem:
    """Turn one of pydantic's errors into words. Union members' names in ``loc`` are not fields."""
    parts = [*prefix, *(str(part) for part in item["loc"])]
    parts = [part for part in parts if part not in ("str", "int")]
    field = ".".join(parts)
    message, remedy = str(item["msg"]), ""
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        message = "no such field"
        near = nearest(parts[-1], _fields(parts[:-1]))
        remedy = f"did you mean {near!r}?" if near else ""
    elif item["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        message, remedy = "is missing", f"add {parts[-1]} = …"
    return CardProblem(str(file), source.line_of(field), field, message, remedy)


def _fields(path: list[str]) -> list[str]:
    """Return the names that are right at a place in a card."""
    from arje.card import payload, soma, supervision

    places: dict[str, Any] = {
        "": Card,
        "payload": payload.Legacy,
        "soma": soma.Soma,
        "soma.namespaces": soma.Namespaces,
        "soma.cgroup": soma.CgroupLimits,
        "soma.run_as": soma.RunAs,
        "soma.overlay": soma.Overlay,
        "soma.pivot_root": soma.PivotRoot,
        "soma.time_offsets": soma.TimeOffsets,
        "soma.stdio": soma.Stdio,
        "supervision": supervision.Supervision,
        "supervision.rate_limit": supervision.RateLimit,
    }
    place = places.get(".".join(path))
    names = [field.name for field in dataclasses.fields(place)] if place else []
    return [*names, "env"] if path == ["payload"] else [name for name in names if name != "source"]
