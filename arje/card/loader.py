"""Card files to cards, and every problem of every file at once; one bad card never stops the others.

TOML is for people, JSON is the ancestor's. Nothing that a file may hold raises out of here: bytes that are no text, no
TOML, no card, each is a :class:`~arje.errors.CardProblem` with file, line, field and remedy.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from arje.card import ancestor, lines, normalise, words
from arje.card.card import Card, Source, itself
from arje.card.clash import clashing
from arje.card.disk import SUFFIXES, NoText, card_files, read
from arje.card.lines import Places
from arje.card.payload import Legacy, Native, Payload
from arje.card.unreadable import Unreadable
from arje.errors import CardError, CardProblem

__all__ = ["SUFFIXES", "Loaded", "adapter", "card_of", "load_dirs", "load_file", "load_files", "load_text"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The good cards, and what is wrong with the others."""

    cards: tuple[Card, ...]
    problems: tuple[CardProblem, ...]


@cache
def adapter() -> TypeAdapter[Card]:
    """Return the validator of cards, built once."""
    return TypeAdapter(Card)


@cache
def _program(kind: type[Native]) -> TypeAdapter[Native]:
    return TypeAdapter(kind)


def load_dirs(directories: Iterable[Path]) -> Loaded:
    """Load every card file of the directories; a file hides one of the same name in an earlier directory.

    A directory that is not there holds no cards; one that cannot be read is a problem.
    """
    chosen: dict[str, Path] = {}
    problems: list[CardProblem] = []
    for directory in directories:
        try:
            chosen |= {file.name: file for file in card_files(directory)}
        except NoText as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                problems.append(error.problem)
    loaded = load_files(chosen[name] for name in sorted(chosen))
    return Loaded(loaded.cards, (*problems, *loaded.problems))


def load_files(files: Iterable[Path]) -> Loaded:
    """Load card files. Of two cards with one label, or whose cgroups are not apart, the second is a problem."""
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
    for card, problem in clashing(cards.values()):
        problems.append(problem)
        del cards[card.label]
    return Loaded(tuple(cards.values()), tuple(problems))


def load_file(file: Path) -> Loaded:
    """Load one card file. Never raises for what the file is or holds, and never waits for it."""
    try:
        return load_text(file, read(file))
    except NoText as error:
        return Loaded((), (error.problem,))


def load_text(file: Path, text: str) -> Loaded:
    """Load the text of one card file; the suffix of its name tells the language."""
    text = text.removeprefix("\ufeff")  # the mark that some editors begin a file with
    try:
        if file.suffix == ".json":
            raw, places = _json(text), lines.of_json(text)
        else:
            raw, places = tomllib.loads(text), lines.of_toml(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        return _bad(file, line, f"not TOML: {error}", "")
    except json.JSONDecodeError as error:
        return _bad(file, error.lineno, f"not JSON: {error.msg}", "")
    except lines.TooDeep as error:
        return _bad(file, error.line, str(error), "a card has a few levels")
    except RecursionError:
        return _bad(file, 0, f"nested deeper than {lines.DEEPEST} levels", "a card has a few levels")
    except ValueError as error:
        return _bad(file, 0, f"cannot be parsed: {error}", "")
    if not isinstance(raw, dict):
        return _bad(file, 1, "a card is an object", 'begin with {"label": …}')
    if not raw:
        return _bad(file, 0, "empty: it says nothing", 'write what runs, [payload]; or payload = "virtual" for a group')
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    if file.suffix == ".json":
        return _ancestors(file, raw, places, digest)
    return _one(file, {"label": file.stem} | raw, Source(file=str(file), digest=digest, lines=places.lines), [])


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    def finite(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            raise ValueError(f"{digits} is too large a number")
        return value

    return json.loads(text, parse_constant=refuse, parse_float=finite)


def _ancestors(file: Path, raw: dict[str, Any], places: Places, digest: str) -> Loaded:
    cards: list[Card] = []
    problems: list[CardProblem] = []
    each = ancestor.places_of_each(places)
    for document in ancestor.documents(raw):
        own = each.get(document.prefix, Places())
        wrong = [*document.wrong, *(Unreadable(path, "is there twice", "remove one") for path in own.twice)]
        card = ancestor.translate(document.raw, wrong)
        loaded = _one(file, card, Source(file=str(file), digest=digest, lines=own.lines | own.twice), wrong)
        cards += loaded.cards
        problems += loaded.problems
    return Loaded(tuple(cards), tuple(problems))


def card_of(raw: dict[str, Any], origin: str) -> Card:
    """Return the card of a table as TOML has it that no file holds; ``origin`` stands for the file (``"arje run"``).

    Raises CardError with every problem.
    """
    loaded = _one(Path(origin), raw, Source(), [])
    if loaded.problems:
        raise CardError(loaded.problems)
    return loaded.cards[0]


def _one(file: Path, raw: dict[str, Any], source: Source, wrong: list[Unreadable]) -> Loaded:
    """Judge one card; ``wrong`` is what is wrong with it already."""
    lone = isinstance(raw.get("timer"), dict)
    raw, more = normalise.card(raw)
    wrong = [*wrong, *more]
    if "source" in raw:  # the loader's own; to a file it is a name like any other
        del raw["source"]
        wrong.append(words.no_such_field(["source"]))
    if "payload" in raw:  # judged apart: of a union pydantic would report every member's complaints
        try:
            raw["payload"] = _payload(raw["payload"])
        except ValidationError as error:
            wrong += words.problems(error, "payload")
            del raw["payload"]
    try:
        card = adapter().validate_python(raw)
        wrong += itself(card)
    except ValidationError as error:
        wrong += words.problems(error)
    if wrong:
        problems = [_problem(file, source, one, lone_timer=lone) for one in wrong]
        return Loaded((), tuple(sorted(problems, key=lambda problem: problem.line)))
    return Loaded((replace(card, source=source),), ())


def _problem(file: Path, source: Source, one: Unreadable, *, lone_timer: bool) -> CardProblem:
    """Return what is wrong where its author sees it: a table that was made a list of one has no number there."""
    field = one.field
    if lone_timer and (field == "timer.0" or field.startswith("timer.0.")):
        field = f"timer{field.removeprefix('timer.0')}"
    return CardProblem(str(file), source.line_of(field), field, str(one), one.remedy)


def _payload(raw: dict[str, Any]) -> Payload:
    return _program(Legacy if "fakes" in raw else Native).validate_python(raw)


def _bad(file: Path, line: int, message: str, remedy: str, *, field: str = "") -> Loaded:
    return Loaded((), (CardProblem(str(file), line, field, message, remedy),))
