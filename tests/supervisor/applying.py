"""A door on a play, whose disk is a list of cards: what plan, apply and rollback need, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio

from arje.card.card import Card
from arje.card.loader import Loaded
from arje.errors import CardProblem
from arje.service.order import Graph
from arje.service.state import WITH_PROCESS, State
from arje.supervisor.cards import starts_by_itself
from arje.supervisor.catalogue import Catalogue
from arje.supervisor.door import Door
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import Play, PlayedHost, playing

HAND = "uid 0 (test, pid 1)"


@dataclass(slots=True)
class Disk(Catalogue):
    """A catalogue without files."""

    cards: list[Card] = field(default_factory=list)
    wrong: tuple[CardProblem, ...] = ()

    def write(self, cards: Sequence[Card]) -> None:
        self.cards = [_digested(card) for card in cards]

    def read(self) -> tuple[Loaded, tuple[CardProblem, ...]]:
        return Loaded(tuple(self.cards), self.wrong), tuple(Graph(self.cards).check())


def _digested(card: Card) -> Card:
    digest = sha256(repr(replace(card, source=type(card.source)())).encode()).hexdigest()
    return replace(card, source=replace(card.source, digest=digest, file=f"{card.label}.toml"))


@dataclass(slots=True)
class Applied:
    """What a test holds in its hands."""

    found: Supervisor
    host: PlayedHost
    door: Door
    disk: Disk

    def state(self, label: str) -> State:
        return self.found.table.get(label).state

    def lives(self) -> dict[str, int]:
        """How many incarnations each service has had."""
        return {label: len(self.host.of(label)) for label in {actor.label for actor in self.host.actors}}

    def up(self) -> set[str]:
        return {service.label for service in self.found.table if service.state in WITH_PROCESS}

    async def apply(self, *cards: Card, confirm: float | None = None) -> dict[str, Any]:
        self.disk.write(cards)
        return await self.door.apply("", HAND, confirm)

    async def settle(self) -> None:
        with trio.fail_after(600):
            for service in self.found.table:
                if service.label in self.found.table:
                    await self.found.settled(service.label)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def applying(
    directory: Path, *cards: Card, start: bool = True, **plays: Play | Sequence[Play]
) -> AsyncIterator[Applied]:
    """A play with a door; the cards are in force, and what starts by itself has."""
    disk = Disk()
    disk.write(cards)
    async with playing(directory, *disk.cards, **plays) as (found, host):
        found.catalogue = disk
        found.history.begin(disk.cards, host.wall())
        for service in found.table if start else ():
            if starts_by_itself(service.card) and not service.card.hooked_to:
                found.start(service.label, "cards.d", gently=True)
        here = Applied(found, host, Door(found, (), directory, "test"), disk)
        await here.settle()
        yield here
