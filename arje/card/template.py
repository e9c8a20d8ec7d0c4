"""Templates: one file ``web@.toml`` for any number of services ``web@…``, made when they are named.

An instance exists by itself when the template names it (``copies``, ``instances``), or when a drop-in of its own says
``enabled = true``. It is made on demand when another card requires or wants it, or when somebody starts it; then it is as
if it were not enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from arje.card.card import MOST_COPIES
from arje.card.loader import Loaded, judge
from arje.card.merge import Document, merge
from arje.card.rules import many, text, whole
from arje.card.specifiers import Surroundings
from arje.card.unreadable import Unreadable
from arje.errors import CardProblem

#: What a template says of its instances as a whole; none of them has it.
_OWN: Final = ("copies", "instances", "label")


@dataclass(frozen=True, slots=True)
class Template:
    """``documents`` are the template's file and the drop-ins that every instance takes; ``own`` returns those of one.

    ``names`` are the instances that it names, ``problems`` what is wrong with the naming.
    """

    label: str
    documents: tuple[Document, ...]
    own: Callable[[str], Sequence[Document]]
    names: tuple[str, ...]
    problems: tuple[CardProblem, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the instances that it names."""
        return tuple(f"{self.label}{name}" for name in self.names)

    def instance(self, label: str, here: Surroundings, *, sample: bool = False) -> Loaded:
        """Return the card of one instance, or its problems."""
        own = tuple(self.own(label))
        raw = {key: value for key, value in self.documents[0].raw.items() if key not in _OWN}
        first = replace(self.documents[0], raw=raw)
        others = [replace(each, raw=_without_own(each.raw)) for each in self.documents[1:]]
        loaded = judge([first, *others, *own], label, here, template=self.label, sample=sample)
        if loaded.cards and label not in self.labels and not any("enabled" in each.raw for each in own):
            return Loaded((replace(loaded.cards[0], enabled=False),), loaded.problems)
        return loaded

    def sample(self, here: Surroundings) -> tuple[CardProblem, ...]:
        """Return what is wrong with a template that names no instance, as far as it can be seen without a name."""
        return (*self.problems, *self.instance(f"{self.label}1", here, sample=True).problems)

    def listed_cards(self, here: Surroundings) -> Loaded:
        """Return the cards of the instances that it names; a problem that all of them have is told once."""
        each = [self.instance(label, here) for label in self.labels]
        cards = tuple(card for loaded in each for card in loaded.cards)
        found = [problem for loaded in each for problem in loaded.problems] if each else self.sample(here)
        return Loaded(cards, tuple(dict.fromkeys((*self.problems, *found))), (self,))


def _without_own(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in ("copies", "instances")}


def template_of(label: str, documents: Sequence[Document], own: Callable[[str], Sequence[Document]]) -> Template:
    """Return the template that documents make."""
    merged, wrong = merge(documents), list[Unreadable]()
    names: dict[str, None] = {}
    try:
        names |= dict.fromkeys(str(number + 1) for number in range(whole(0, MOST_COPIES)(merged.raw.get("copies", 0))))
    except Unreadable as error:
        wrong.append(Unreadable("copies", str(error), error.remedy))
    try:
        names |= dict.fromkeys(many(text)(merged.raw.get("instances", ())))
    except Unreadable as error:
        wrong += (
            Unreadable(f"instances.{each.field}".rstrip("."), str(each), each.remedy.replace("{name}", "instances"))
            for each in error.all()
        )
    if merged.raw.get("label", label) != label:
        wrong.append(Unreadable("label", f"this file is the template {label}", "remove it"))
    problems = [_told(documents, merged.lines, merged.owners, each) for each in wrong]
    return Template(label, tuple(documents), own, tuple(names), tuple(problems))


def _told(
    documents: Sequence[Document], lines: dict[str, int], owners: dict[str, int], wrong: Unreadable
) -> CardProblem:
    field = wrong.field
    while field and field not in lines:
        field = field.rpartition(".")[0]
    file = documents[owners.get(field, 0)].file
    return CardProblem(file, lines.get(field, 0), wrong.field, str(wrong), wrong.remedy)
