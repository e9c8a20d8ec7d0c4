"""Cards that claim the same place: two cgroups that are one, or one in the other.

Each service is stopped by killing its cgroup, and a cgroup with limits may hold no processes beside children (kernel:
admin-guide/cgroup-v2, "No Internal Process Constraint"); so places must lie apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from arje.card.card import Card
from arje.card.payload import Virtual
from arje.errors import CardProblem

_FIELD = "soma.cgroup.path"


def clashes(cards: Iterable[Card]) -> list[CardProblem]:
    """Return a problem of every card whose cgroup is, holds, or lies in that of another card."""
    return [problem for _, problem in clashing(cards)]


def clashing(cards: Iterable[Card]) -> Iterator[tuple[Card, CardProblem]]:
    """Yield the cards of :func:`clashes` with their problems. A card that wrote its path gives way to one that did not."""
    taken: dict[PurePosixPath, Card] = {}
    holds: dict[PurePosixPath, Card] = {}
    living = [card for card in cards if not isinstance(card.payload, Virtual)]
    for card in sorted(living, key=lambda card: bool(_written(card))):  # stable: else the order of the files
        place = PurePosixPath(_written(card) or card.label)
        above = [parent for parent in place.parents if parent.parts]
        if first := taken.get(place):
            yield card, _problem(card, f"{str(place)!r} is already the cgroup of", first)
        elif first := next((taken[parent] for parent in above if parent in taken), None):
            yield card, _problem(card, f"{str(place)!r} lies in the cgroup of", first)
        elif first := holds.get(place):
            yield card, _problem(card, f"{str(place)!r} holds the cgroup of", first)
        else:
            taken[place] = card
            for parent in above:
                holds.setdefault(parent, card)


def _written(card: Card) -> str:
    return card.soma.cgroup.path if card.soma.cgroup else ""


def _problem(card: Card, claim: str, first: Card) -> CardProblem:
    where = f" in {first.source.file}" if first.source.file else ""
    message = f"{claim} {first.label!r}{where}"
    return CardProblem(card.source.file, card.source.line_of(_FIELD), _FIELD, message, "choose another path")
