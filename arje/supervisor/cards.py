"""The set of cards on disk against the set in force: what would change, and what each service would feel. Reads only."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from arje.card.card import Card
from arje.card.loader import Loaded, load_dirs
from arje.errors import CardProblem
from arje.service.order import Graph
from arje.service.pipeline import consumers
from arje.service.state import WITH_PROCESS
from arje.service.table import StateTable

#: Fields whose change the running process cannot feel without a restart; and ``stdin``, which other cards lead to it.
_RESTARTS = ("payload", "soma", "stdin")


@dataclass(frozen=True, slots=True)
class Change:
    """One service that a new set of cards changes: ``change`` is add, remove or modify; ``feels`` what becomes of it."""

    label: str
    change: str
    feels: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardPlan:
    """Old → new. ``token`` names exactly this step: apply refuses when the disk has moved on since."""

    token: str
    cards: tuple[Card, ...]
    changes: tuple[Change, ...]
    problems: tuple[CardProblem, ...]


def read(directories: tuple[Path, ...]) -> tuple[Loaded, tuple[CardProblem, ...]]:
    """Load the directories; also return the problems of the cards' edges."""
    loaded = load_dirs(directories)
    return loaded, tuple(Graph(loaded.cards).check())


def make_plan(directories: tuple[Path, ...], table: StateTable) -> CardPlan:
    """Compare the disk with the table."""
    loaded, edges = read(directories)
    new = {card.label: card for card in loaded.cards}
    old = {service.label: service for service in table}
    reads = consumers(new.values()) ^ consumers(service.card for service in table)
    changes = []
    for label in sorted(old.keys() | new.keys()):
        if label not in new:
            runs = old[label].state in WITH_PROCESS
            changes.append(Change(label, "remove", "stops" if runs else "nothing"))
        elif label not in old:
            changes.append(Change(label, "add", _beginning(new[label], table)))
        elif fields := changed_fields(old[label].card, new[label]) + (("stdin",) if label in reads else ()):
            runs = old[label].state in WITH_PROCESS
            felt = any(field in _RESTARTS for field in fields) or old[label].card.log.to != new[label].log.to
            feels = "restarts" if runs and felt else "nothing"
            if feels == "nothing" and arms(new[label], fields, table):
                feels = "arms"
            changes.append(Change(label, "modify", feels, fields))
    digests = "".join(f"{card.label}{card.source.digest}" for card in loaded.cards)
    state = "".join(f"{service.label}{service.card.source.digest}" for service in table)
    problems = (*loaded.problems, *edges)
    token = hashlib.sha256(f"{digests}|{state}|{problems}".encode()).hexdigest()[:16]
    return CardPlan(token, loaded.cards, tuple(changes), problems)


def _starts(card: Card, table: StateTable) -> bool:
    """Whether a new card is started: the manager does, or one of those that it hooks itself into is wanted."""
    hooked = any(name in table and table.get(name).wanted for name in card.hooked_to)
    return card.enabled and (hooked or not card.hooked_to)


def _beginning(card: Card, table: StateTable) -> str:
    """Return what a new service feels."""
    return "nothing" if not _starts(card, table) else "arms" if card.timer else "starts"


def arms(card: Card, fields: tuple[str, ...], table: StateTable) -> bool:
    """Whether a card that is new in these fields has its timer armed."""
    return "timer" in fields and bool(card.timer) and _starts(card, table)


def changed_fields(old: Card, new: Card) -> tuple[str, ...]:
    """Return the names of the fields in which two cards differ; where they came from is none."""
    names = (field.name for field in dataclasses.fields(Card) if field.name != "source")
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))
