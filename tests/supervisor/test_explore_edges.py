"""Small worlds of every further kind of edge, explored: conflicts, milestones, requisites, contracts, terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.edges import Contract, Reaction, Term
from arje.card.payload import Virtual
from arje.service.record import Service
from arje.service.requirement import Requirement
from arje.service.state import State
from tests.supervisor import test_explore, world
from tests.supervisor.played import card
from tests.supervisor.world import KEPT

FELT = Term(kind="requires", name="a", on_restart=Reaction.RESTART)
STAYS = Term(kind="requires", name="a", recover=False)
ANY = (Contract(of=("a", "c")),)
BOTH = (Contract(of=("a", "c"), at_least=2),)
GRACE = (Contract(of=("a", "c"), at_least=2, grace=3.0),)
WORLDS: dict[str, Sequence[Card]] = {
    "rivals": [card("a"), card("b", conflicts=("a",))],
    "rivals that start again": [card("a", supervision=KEPT), card("b", conflicts=("a",), supervision=KEPT)],
    "a rival of what is pulled in beside it": [
        card("a"),
        card("b", conflicts=("a",)),
        card("d", requires=("b",), wants=("a",)),
    ],
    "a rival of what is required": [card("a"), card("b", requires=("a",)), card("c", conflicts=("a",))],
    "a milestone": [card("a"), card("b", waits_for=("a",))],
    "a milestone that starts again": [card("a", supervision=KEPT), card("b", waits_for=("a",))],
    "a requisite": [card("a"), card("b", requisite=("a",))],
    "a restart that is felt": [card("a", supervision=KEPT), card("b", requires=("a",), terms=(FELT,))],
    "both felt": [card("a", supervision=KEPT), card("b", requires=("a",), terms=(FELT,), supervision=KEPT)],
    "no recovery": [card("a"), card("b", requires=("a",), terms=(STAYS,))],
    "any": [card("a"), card("c"), card("b", contracts=ANY)],
    "a quorum": [card("a"), card("c"), card("b", contracts=BOTH)],
    "a quorum with a grace": [card("a"), card("c"), card("b", contracts=GRACE)],
    "a target": [Card(label="t", payload=Virtual()), card("a", required_by=("t",)), card("b", wanted_by=("t",))],
    "a soft circle": [card("a", after=("b",)), card("b", requires=("a",))],
    "a hard circle": [card("a", requires=("b",)), card("b", requires=("a",)), card("c", wants=("a",))],
}


class World(world.World):
    """It also holds that rivals never run together, and that contracts are kept."""

    def _could_start(self, service: Service) -> bool:
        return not self.found.needs.waits(service.label) and super()._could_start(service)

    def _wrong(self, service: Service) -> str:
        graph, label = self.found.graph, service.label
        alive = [actor for actor in self.host.alive(label) if actor.born]
        for rival in graph.rivals(label):
            if alive and any(actor.born for actor in self.host.alive(rival)):
                return f"it runs beside {rival}"
        for contract in service.card.contracts:
            rests = (State.FAILED, State.STOPPED, State.DONE)
            left = [o for o in contract.of if self._is_up(o, label) or self.found.table.get(o).state not in rests]
            if (
                service.state in (State.STARTING, State.RUNNING)
                and len(left) < contract.at_least
                and not contract.grace
            ):
                return f"it has lost {contract}"
            over = [o for o in contract.of if self._is_over(o, label)]
            if service.state is State.WAITING and len(contract.of) - len(over) < contract.at_least:
                return f"nothing more comes of {contract}"
        if service.lacks_dependency and service.wanted and any(not t.recover for t in service.card.terms):
            return "it would start again"
        if (service.lacks_dependency and not service.wanted) and not any(not t.recover for t in service.card.terms):
            return "it would not start again"
        told = super()._wrong(service)
        met = all(self._is_met(label, each) for each in graph.needs(label))
        return "" if told == "what it had failed for is up again" and not met else told

    def _is_met(self, label: str, requirement: Requirement) -> bool:
        providers = self.found.graph.providers(requirement, label)
        return sum(self._is_up(other, label) for other in providers) >= requirement.at_least


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", WORLDS)
def test_every_move_of_services_with_edges(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "World", World)
    cards = WORLDS[name]
    assert test_explore.explore(tmp_path, cards, 4 if len(cards) == 2 else 3, pairs=False) >= 10


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["rivals that start again", "both felt", "a milestone", "no recovery"])
def test_every_two_moves_together(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "World", World)
    assert test_explore.explore(tmp_path, WORLDS[name], 2, pairs=True) >= 10
