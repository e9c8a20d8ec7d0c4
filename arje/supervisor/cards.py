"""A set of cards against the set in force: what differs, and what that orders for each service. Reads only.

What becomes of the services in the end is more than what is ordered: one that starts pulls others in, one that restarts
is felt by its parts. ``foresight.py`` tells all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from arje.card.activation import When
from arje.card.card import Card
from arje.card.loader import Loaded
from arje.errors import CardProblem
from arje.service.pipeline import consumers
from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State
from arje.service.table import StateTable
from arje.supervisor.catalogue import Catalogue

#: The states in which a life of the old card goes on; one that is stopping already begins its next life with the new card.
_LIVES = frozenset({State.STARTING, State.RUNNING, State.RELOADING})
#: Fields whose change the running process cannot feel without a restart; and ``stdin``, which other cards lead to it.
_RESTARTS = ("payload", "soma", "sockets", "stdin")


@dataclass(frozen=True, slots=True)
class Change:
    """One service that a new set of cards touches: ``change`` is add, remove, modify, or keep for one whose card stays as
    it is; ``feels`` what becomes of it, and ``why``, where that is not its own card."""

    label: str
    change: str
    feels: str
    fields: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class CardPlan:
    """Old → new. ``token`` names exactly this step: apply refuses when the disk has moved on since. ``orders``: what is
    done to services by label, starts, restarts, stops, arms or disarms; everything else that ``changes`` tells follows
    from it. ``arm``: whose timers are armed; None leaves it to the rule (:func:`to_arm`)."""

    token: str
    cards: tuple[Card, ...]
    changes: tuple[Change, ...]
    problems: tuple[CardProblem, ...]
    loaded: Loaded
    orders: Mapping[str, str] = field(default_factory=dict)
    arm: frozenset[str] | None = None

    def ordered(self, order: str) -> list[str]:
        """Return the labels of those to whom this is to be done."""
        return [label for label, what in self.orders.items() if what == order]


def make_plan(
    catalogue: Catalogue, table: StateTable, inputs: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> CardPlan:
    """Compare the disk with the table. ``inputs``: label → fields whose files have changed since it started."""
    loaded, edges = catalogue.read()
    changes = compare(table, loaded.cards, inputs)
    problems = (*loaded.problems, *edges)
    state = token_of(service.card for service in table)
    token = hashlib.sha256(f"{token_of(loaded.cards)}|{state}|{problems}".encode()).hexdigest()[:16]
    return CardPlan(token, loaded.cards, changes, problems, loaded)


def token_of(cards: Iterable[Card]) -> str:
    """Return what tells a set of cards from others."""
    said = sorted(f"{card.label}{card.source.digest}" for card in cards)
    return hashlib.sha256("".join(said).encode()).hexdigest()[:16]


def compare(
    table: StateTable, cards: Iterable[Card], inputs: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> tuple[Change, ...]:
    """Return in what a set differs from the one in force, each service with what is done to it for that."""
    new = {card.label: card for card in cards}
    old = {service.label: service for service in table}
    reads = consumers(new.values()) ^ consumers(service.card for service in table)
    changes = []
    for label in sorted(old.keys() | new.keys()):
        felt = (*(("stdin",) if label in reads else ()), *inputs.get(label, ()))
        changes.append(_change(table, label, old.get(label), new.get(label), felt))
    return tuple(filter(None, changes))


def _change(
    table: StateTable, label: str, old: Service | None, new: Card | None, more: tuple[str, ...]
) -> Change | None:
    """Return what becomes of one service; ``more``: what has changed for it that its card does not say."""
    if old is None:
        assert new is not None
        return Change(label, "add", _beginning(new, table))
    if new is None:
        return Change(label, "remove", "stops" if old.state in WITH_PROCESS or old.is_armed else "nothing")
    if not (fields := changed_fields(old.card, new) + more):
        return None
    restarts = any(field.partition(".")[0] in _RESTARTS for field in fields) or old.card.log.to != new.log.to
    restarts = restarts or _starts_otherwise(old.card, new)
    feels = "restarts" if old.state in _LIVES and restarts else "arms" if arms(new, fields, table) else "nothing"
    if "sockets" in fields and old.is_armed:
        feels = "rebinds"
    return Change(label, "modify", feels, fields)


def starts_by_itself(card: Card) -> bool:
    """Whether a service is started without a hand: by the manager, or by those that it hooks itself into."""
    return card.enabled and not card.masked and card.pinned != "stopped"


def _starts(card: Card, table: StateTable) -> bool:
    """Whether a new card is started: the manager does, or one of those that it hooks itself into is wanted."""
    hooked = any(name in table and table.get(name).wanted for name in card.hooked_to)
    return starts_by_itself(card) and (hooked or not card.hooked_to)


def _beginning(card: Card, table: StateTable) -> str:
    """Return what a new service feels."""
    return "nothing" if not _starts(card, table) else "arms" if card.timer else "starts"


def arms(card: Card, fields: tuple[str, ...], table: StateTable) -> bool:
    """Whether a card that is new in these fields has its timer armed."""
    return "timer" in fields and bool(card.timer) and _starts(card, table)


def _starts_otherwise(old: Card, new: Card) -> bool:
    """Whether what runs is of another kind: a process for each connection, or one for all."""
    return (old.activation.when is When.PER_CONNECTION) != (new.activation.when is When.PER_CONNECTION)


def to_arm(plan: CardPlan, table: StateTable) -> list[str]:
    """Return the labels of those whose timers are armed with a plan, when its cards are in the table."""
    if plan.arm is not None:
        return sorted(label for label in plan.arm if label in table)
    own = [change for change in plan.changes if change.change in ("add", "modify")]
    return [c.label for c in own if arms(table.get(c.label).card, c.fields or ("timer",), table)]


def changed_fields(old: Card, new: Card) -> tuple[str, ...]:
    """Return the names of the fields in which two cards differ; where they came from is none."""
    names = (field.name for field in dataclasses.fields(Card) if field.name != "source")
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))
