"""A card that is being written from another tool's words, and what became of each of those words.

Every importer reads its format and says of everything that it finds one of three things: ``kept`` (the card says the
same), ``near`` (the card says something like it, and how it differs) or ``lost`` (it is not in the card, and why). Nothing
is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from arje.errors import CardError, CardProblem

_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9@._-]+")


class Fate(StrEnum):
    """What became of something that the other tool was told."""

    KEPT = "kept"
    APPROXIMATED = "approximated"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, from 1; 0 is the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def short(self) -> str:
        """The same without the directory."""
        name = Path(self.file).name
        return f"{name}:{self.line}" if self.line else name


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of ``what``, words of the source; ``field`` is the card's, and ``why`` is empty for what was kept."""

    fate: Fate
    card: str
    place: Place
    what: str
    field: str = ""
    why: str = ""

    def __str__(self) -> str:
        to = f" -> {self.field}" if self.field else ""
        return f"{self.place}: {self.what}{to}" + (f": {self.why}" if self.why else "")


@dataclass(slots=True)
class Draft:
    """A card in the making: ``fields`` by their dotted names, each with the place that it is from."""

    label: str
    place: Place
    title: str
    fields: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def kept(self, place: Place, what: str, name: str = "", value: Any = None) -> None:
        """The card says the same. Without a ``name`` arje does so by itself."""
        if name:
            self._put(place, name, value)
        self._told(Fate.KEPT, place, what, name, "")

    def near(self, place: Place, what: str, why: str, name: str = "", value: Any = None) -> None:
        """The card says something like it; ``why`` tells the difference, in the card as well."""
        if name:
            self._put(place, name, value)
            self.notes.setdefault(name, []).append(f"approximated: {why} ({place.short})")
        self._told(Fate.APPROXIMATED, place, what, name, why)

    def lost(self, place: Place, what: str, why: str) -> None:
        """The card does not say it, and ``why``."""
        self._told(Fate.DROPPED, place, what, "", why)

    def note(self, name: str, text: str) -> None:
        """Write a remark above a field, when the card has it."""
        self.notes.setdefault(name, []).append(text)

    def default(self, name: str, value: Any) -> None:
        """Set what the other tool does without being told, where nothing is said yet."""
        if name not in self.fields:
            self._put(self.place, name, value)

    def add(self, place: Place, what: str, name: str, values: Iterable[Any], why: str = "") -> None:
        """Append to a list, or put into a table; what is in a list already is left."""
        had = self.fields.get(name, [])
        more = [value for value in dict.fromkeys(values) if value not in had]
        if why:
            self.near(place, what, why, name, [*had, *more])
        else:
            self.kept(place, what, name, [*had, *more])

    def add_table(self, place: Place, what: str, name: str, table: dict[str, Any]) -> None:
        """Append a table to a list of them, unless it is there."""
        had = self.fields.get(name, [])
        self.kept(place, what, name, had if table in had else [*had, table])

    def merge(self, place: Place, what: str, name: str, table: dict[str, Any], why: str = "") -> None:
        """Put more into a table; the later value of a key counts."""
        together = self.fields.get(name, {}) | table
        self.near(place, what, why, name, together) if why else self.kept(place, what, name, together)

    def place_of(self, name: str) -> Place:
        """Return where a field is from, or its nearest parent, or the card."""
        while name:
            if name in self.places:
                return self.places[name]
            for known, place in self.places.items():
                if known.startswith(f"{name}."):
                    return place
            name = name.rpartition(".")[0]
        return self.place

    def _put(self, place: Place, name: str, value: Any) -> None:
        self.fields[name] = value
        self.places[name] = place

    def _told(self, fate: Fate, place: Place, what: str, name: str, why: str) -> None:
        self.findings.append(Finding(fate, self.label, place, what, name, why))


@dataclass(slots=True)
class Read:
    """What an importer has read: drafts, findings that are no card's, and what is wrong with the files."""

    kind: str
    drafts: list[Draft] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    problems: list[CardProblem] = field(default_factory=list)
    pipes: list[tuple[str, str, Place]] = field(default_factory=list)  # who is read, who reads it, where that is said

    def draft(self, name: str, place: Place, title: str) -> Draft:
        """Begin a card; a name that is no label, or is taken, is changed, and the change is told."""
        label = label_of(name)
        taken = {draft.label for draft in self.drafts}
        free = next(each for each in _numbered(label) if each not in taken)
        made = Draft(free, place, title)
        self.drafts.append(made)
        if free != name:
            why = f"{label} is there already" if label == name else "a label has letters, digits and @ . _ - alone"
            made.near(place, f"its name, {name!r}", f"it is called {free}: {why}")
        return made

    def lost(self, place: Place, what: str, why: str) -> None:
        """Tell of something that belongs to no card."""
        self.findings.append(Finding(Fate.DROPPED, "", place, what, "", why))

    def kept(self, place: Place, what: str, why: str) -> None:
        """Tell of something that belongs to no card and that arje does by itself."""
        self.findings.append(Finding(Fate.KEPT, "", place, what, "", why))

    def wrong(self, place: Place, message: str, remedy: str = "", what: str = "") -> None:
        """Note what is wrong with a file."""
        self.problems.append(problem(place, message, remedy, what))

    def all_findings(self) -> Iterator[Finding]:
        """Yield what became of everything, card by card."""
        yield from self.findings
        for draft in self.drafts:
            yield from draft.findings


def label_of(name: str) -> str:
    """Return the label that a name makes: at most 64 letters, digits and ``@ . _ -``."""
    cut = _NO_LABEL.sub("-", name).lstrip("@._-")[:64].rstrip("@")
    return cut or "service"


def _numbered(label: str) -> Iterator[str]:
    yield label
    for number in range(2, 100_000):
        yield f"{label[:58]}-{number}"


def problem(place: Place, message: str, remedy: str = "", what: str = "") -> CardProblem:
    """Return what is wrong at a place of a file."""
    return CardProblem(place.file, place.line, what, message, remedy)


def wrong(place: Place, message: str, remedy: str = "", what: str = "") -> CardError:
    """Return the error that a file which cannot be read as its kind is."""
    return CardError([problem(place, message, remedy, what)])
