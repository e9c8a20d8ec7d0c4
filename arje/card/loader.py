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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arje.card import ancestor, lines, normalise, words
from arje.card.card import Card, Source, activated, itself
from arje.card.disk import SUFFIXES, NoText, read
from arje.card.layers import Hidden, name_of
from arje.card.lines import Places
from arje.card.merge import Document, merge, source_of
from arje.card.payload import Legacy, Native, Payload
from arje.card.specifiers import Meaning, Surroundings, expand, variables_of
from arje.card.unreadable import Unreadable
from arje.errors import CardError, CardProblem

if TYPE_CHECKING:  # it takes 0.1 s, and a manager whose cards have not changed does not need it (cache.py)
    from pydantic import TypeAdapter

    from arje.card.template import Template

__all__ = ["SUFFIXES", "Document", "Loaded", "adapter", "card_of", "judge", "load_file", "load_text", "parse"]

#: Returns the drop-ins of a label.
Dropins = Callable[[str], Sequence[Document]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The good cards, and what is wrong with the others; the templates among the files, the files that do not count, and
    the labels that have drop-ins and no card. ``rests_on``: what specifiers said of the surroundings, by their letters."""

    cards: tuple[Card, ...]
    problems: tuple[CardProblem, ...]
    templates: tuple[Template, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    strays: tuple[str, ...] = ()
    rests_on: tuple[tuple[str, str], ...] = ()


@cache
def adapter() -> TypeAdapter[Card]:
    """Return the validator of cards, built once."""
    from pydantic import TypeAdapter

    return TypeAdapter(Card)


@cache
def _program(kind: type[Native]) -> TypeAdapter[Native]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _none(_label: str) -> Sequence[Document]:
    return ()


def load_file(file: Path) -> Loaded:
    """Load one card file. Never raises for what the file is or holds, and never waits for it."""
    try:
        return load_text(file, read(file))
    except NoText as error:
        return Loaded((), (error.problem,))


def load_text(file: Path, text: str, dropins: Dropins = _none, here: Surroundings | None = None) -> Loaded:
    """Load the text of one card file; the suffix of its name tells the language. A template gives the instances that it
    names."""
    parsed = parse(file, text)
    if isinstance(parsed, Loaded):
        return parsed
    here = here or Surroundings()
    document, places = parsed
    if file.suffix == ".json":
        return _ancestors(document, places, dropins, here)
    name = name_of(file)
    if name.endswith("@"):
        from arje.card.template import template_of

        own = [document, *dropins(name)]
        return template_of(name, own, lambda label: dropins(label)[len(own) - 1 :]).listed_cards(here)
    label = document.raw.get("label", name)
    return judge([document, *(dropins(label) if isinstance(label, str) else ())], name, here)


def parse(file: Path, text: str) -> tuple[Document, Places] | Loaded:
    """Return a file's table and its places; or the one problem that it is no table."""
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
    return Document(str(file), digest_of(text), raw, places.lines), places


def digest_of(text: str) -> str:
    """Return what tells the text of one file from any other."""
    return hashlib.sha256(text.removeprefix("\ufeff").encode(errors="surrogatepass")).hexdigest()


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    def finite(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            raise ValueError(f"{digits} is too large a number")
        return value

    return json.loads(text, parse_constant=refuse, parse_float=finite)


def _ancestors(document: Document, places: Places, dropins: Dropins, here: Surroundings) -> Loaded:
    cards: list[Card] = []
    problems: list[CardProblem] = []
    each = ancestor.places_of_each(places)
    for found in ancestor.documents(document.raw):
        own = each.get(found.prefix, Places())
        wrong = [*found.wrong, *(Unreadable(path, "is there twice", "remove one") for path in own.twice)]
        card = ancestor.translate(found.raw, wrong)
        label = card.get("label")
        more = dropins(label) if isinstance(label, str) else ()
        first = Document(document.file, document.digest, card, own.lines | own.twice)
        loaded = judge([first, *more], "", here, wrong)
        cards += loaded.cards
        problems += loaded.problems
    return Loaded(tuple(cards), tuple(problems))


def card_of(raw: dict[str, Any], origin: str) -> Card:
    """Return the card of a table as TOML has it that no file holds; ``origin`` stands for the file (``"arje run"``).

    Raises CardError with every problem.
    """
    loaded = _one(raw, Source(file=origin), [])
    if loaded.problems:
        raise CardError(loaded.problems)
    return replace(loaded.cards[0], source=Source())


def judge(
    documents: Sequence[Document],
    name: str,
    here: Surroundings,
    wrong: Sequence[Unreadable] = (),
    *,
    template: str = "",
    sample: bool = False,
) -> Loaded:
    """Return the card that documents make, the first with the others over it, or every problem of it.

    ``name`` is the label when the first gives none. ``template``: the card is an instance of that. ``sample``: its name is
    invented, so that what only the name makes wrong is no problem.
    """
    merged = merge(documents)
    raw = {"label": name} | merged.raw if name else dict(merged.raw)
    digest = documents[0].digest
    if template or len(documents) > 1:
        digest = digest_of("\n".join([template and name, *(f"{each.file} {each.digest}" for each in documents)]))
    source = replace(source_of(documents, merged, digest), template=template)
    raw, problems, touched = _expanded(raw, here, template)
    loaded = _one(raw, source, [*wrong, *problems])
    bad = [problem for problem in loaded.problems if not (sample and problem.field in touched)]
    if merged.problems:
        return Loaded((), (*merged.problems, *bad))
    return Loaded(loaded.cards, tuple(bad))


def _expanded(
    raw: dict[str, Any], here: Surroundings, template: str
) -> tuple[dict[str, Any], list[Unreadable], frozenset[str]]:
    """Expand the specifiers of a card that has any; returns the fields that had them, as far as they went well."""
    label = raw.get("label")
    if not isinstance(label, str) or not (template or "variables" in raw):
        return raw, [], frozenset()
    meaning = Meaning(label, label.partition("@")[2] if template else None, here, {})
    variables, wrong = variables_of(raw, meaning)
    raw, more, touched = expand(raw, replace(meaning, variables=variables))
    broken = {each.field for each in more}
    return raw, wrong + more, frozenset(touched - broken)


def _one(raw: dict[str, Any], source: Source, wrong: list[Unreadable]) -> Loaded:
    """Judge one card; ``wrong`` is what is wrong with it already."""
    from pydantic import ValidationError

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
        wrong += [*itself(card), *activated(card)]
    except ValidationError as error:
        wrong += words.problems(error)
    if wrong:
        problems = [_problem(source, one, lone_timer=lone) for one in wrong]
        return Loaded((), tuple(sorted(problems, key=lambda problem: (problem.file != source.file, problem.line))))
    return Loaded((replace(card, source=source),), ())


def _problem(source: Source, wrong: Unreadable, *, lone_timer: bool) -> CardProblem:
    """Return what is wrong where its author sees it: a table that was made a list of one has no number there."""
    field = wrong.field
    if lone_timer and (field == "timer.0" or field.startswith("timer.0.")):
        field = f"timer{field.removeprefix('timer.0')}"
    return CardProblem(source.file_of(field), source.line_of(field), field, str(wrong), wrong.remedy)


def _payload(raw: dict[str, Any]) -> Payload:
    return _program(Legacy if "fakes" in raw else Native).validate_python(raw)


def _bad(file: Path, line: int, message: str, remedy: str, *, field: str = "") -> Loaded:
    return Loaded((), (CardProblem(str(file), line, field, message, remedy),))
