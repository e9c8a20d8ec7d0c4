"""Drafts to cards that ``arje check`` takes: names that nobody has, copies; what the loader says, where the source is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from arje.card.card import Card
from arje.card.loader import load_text
from arje.errors import CardProblem
from arje.imports.draft import Draft, Fate, Read
from arje.imports.page import card_text

#: Judges what cards say about each other, which is the business of a higher floor.
Edges = Callable[[tuple[Card, ...]], Iterable[CardProblem]]
_NAMES: Final = (
    "requires",
    "wants",
    "waits_for",
    "after",
    "before",
    "wanted_by",
    "required_by",
    "conflicts",
    "on_success",
)


@dataclass(frozen=True, slots=True)
class Made:
    """One card: what its file is called, and its text."""

    label: str
    file: str
    text: str
    cards: tuple[Card, ...]


def finish(found: Read, edges: Edges) -> list[Made]:
    """Return the cards that can be; what is wrong with the others is noted in ``found``, and they are left out."""
    for producer, consumer, place in found.pipes:
        draft = next((draft for draft in found.drafts if draft.label == producer), None)
        if draft is None:
            found.lost(place, f"consumer-of {producer}", "there is no such service among the imported")
        else:
            draft.kept(place, f"consumer-of {producer}", "log.to", consumer)
            if draft.fields.pop("soma.stdio.stdout", "log") != "log":
                draft.lost(place, "where its output went before", f"{consumer} reads it")
    for draft in found.drafts:
        if draft.fields.get("copies"):
            _template(draft)
    good = [draft for draft in found.drafts if _loads(draft, found)]
    while True:
        _name_each_other(good)
        made = [_made(draft) for draft in good]
        wrong = list(edges(tuple(card for each in made for card in each.cards)))
        found.problems += [_at_source(problem, good, made) for problem in wrong]
        bad = {problem.file for problem in wrong}
        if not bad & {f"{draft.label}.toml" for draft in good}:
            break
        good = [draft for draft in good if f"{draft.label}.toml" not in bad]  # the others can do without them
    found.drafts = good
    return made


def _template(draft: Draft) -> None:
    """Copies are instances of a template, in whose texts a percent sign is doubled."""
    name = draft.label
    draft.label = f"{name}@"
    draft.findings = [replace(finding, card=draft.label) for finding in draft.findings]
    draft.fields = {key: _doubled(value) for key, value in draft.fields.items()}
    draft.fields["provides"] = [*draft.fields.get("provides", []), name]


def _doubled(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("%", "%%")
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    return {key: _doubled(item) for key, item in value.items()} if isinstance(value, dict) else value


def _loads(draft: Draft, found: Read) -> bool:
    """Whether the loader takes a draft; else what it says is noted with the source's file and line."""
    loaded = load_text(Path(f"{draft.label}.toml"), card_text(draft))
    found.problems += [_moved(problem, draft) for problem in loaded.problems]
    return not loaded.problems


def _moved(problem: CardProblem, draft: Draft) -> CardProblem:
    place = draft.place_of(problem.field)
    return CardProblem(place.file, place.line, problem.field, problem.message, problem.remedy)


def _at_source(problem: CardProblem, drafts: list[Draft], made: list[Made]) -> CardProblem:
    """Return a problem of cards as one of what they are from, the lines in its words as well."""
    by_file = {each.file: (draft, each.text.splitlines()) for draft, each in zip(drafts, made, strict=True)}

    def place(found: re.Match[str]) -> str:
        if found[1] not in by_file:
            return found[0]
        draft, lines = by_file[found[1]]
        return str(draft.place_of(lines[int(found[2]) - 1].partition("=")[0].strip()))

    moved = replace(problem, message=re.sub(r"([\w@.-]+\.toml):(\d+)", place, problem.message))
    return _moved(moved, by_file[problem.file][0]) if problem.file in by_file else moved


def _name_each_other(drafts: list[Draft]) -> None:
    known = {draft.label for draft in drafts} | {name for draft in drafts for name in draft.fields.get("provides", [])}
    for draft in drafts:
        for field in _NAMES:
            if field in draft.fields:
                draft.fields[field] = [name for name in draft.fields[field] if name != draft.label]
        missing = [name for name in draft.fields.get("requires", []) if name not in known]
        place = draft.place_of("requires")
        if missing:
            draft.fields["requires"] = [name for name in draft.fields["requires"] if name in known]
            why = "no card of that name is among the imported: it is only wanted; move it to requires once there is one"
            for name in missing:
                draft.add(place, f"the need of {name}", "wants", [name], why)
                draft.fields["wants"] = list(dict.fromkeys(draft.fields["wants"]))
        if (reader := draft.fields.get("log.to")) and reader not in known:
            place = draft.place_of("log.to")
            del draft.fields["log.to"]
            draft.lost(place, f"{reader}, who reads what it says", "no such card is among the imported")
        for field in _NAMES:
            if field in draft.fields and not draft.fields[field]:
                del draft.fields[field]


def _made(draft: Draft) -> Made:
    text = card_text(draft)
    loaded = load_text(Path(f"{draft.label}.toml"), text)
    assert not loaded.problems, loaded.problems
    return Made(draft.label, f"{draft.label}.toml", text, loaded.cards)


def fates(found: Read) -> dict[str, int]:
    """Return how many things had which fate."""
    counted = {fate.value: 0 for fate in Fate}
    for finding in found.all_findings():
        counted[finding.fate.value] += 1
    return counted
