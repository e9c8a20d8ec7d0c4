"""Small worlds explored: every move in every moment that can be reached, and what must hold in each (world.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.command import Command
from arje.card.edges import Contract, Reaction, Term
from arje.card.hooks import Hooks
from arje.card.payload import Virtual
from arje.card.supervision import Kind, Supervision
from tests.supervisor.played import Play, card
from tests.supervisor.world import HAND, HARD, KEPT, Move, run

COMMAND = Command(exec="/played")
ONCE = Supervision(kind=Kind.ONE_SHOT)
VIRTUAL = Card(label="a", payload=Virtual())
NEEDS = card("b", requires=("a",))
#: Worlds, and the least number of moments that they have within the depth that is explored: fewer, and moves are missing.
ALONE = {
    "a daemon": ([card("a")], 12),
    "a daemon that starts again": ([card("a", supervision=KEPT)], 12),
    "hooks before and after": (
        [card("a", hooks=Hooks(pre=(COMMAND,), cleanup=(COMMAND,)))],
        10,
    ),
    "hooks beside": ([card("a", hooks=Hooks(post=(COMMAND,), ready=(COMMAND,), stop=(COMMAND,)))], 10),
    "a scripted pair": ([card("a", supervision=Supervision(kind=Kind.SCRIPTED), hooks=Hooks(stop=(COMMAND,)))], 10),
    "a stop in steps": ([card("a", supervision=Supervision(stop=(("INT", 2), ("TERM", 3))))], 12),
    "a one-shot": ([card("a", supervision=ONCE)], 12),
}
TOGETHER = {
    "requires": ([card("a"), NEEDS], 30),
    "requires, both start again": ([card("a", supervision=KEPT), card("b", requires=("a",), supervision=KEPT)], 30),
    "wants": ([card("a"), card("b", wants=("a",))], 30),
    "after": ([card("a"), card("b", after=("a",))], 30),
    "before": ([card("a", before=("b",)), card("b")], 30),
    "requires a one-shot": ([card("a", supervision=ONCE), NEEDS], 30),
    "requires what has no process": ([VIRTUAL, NEEDS], 10),
    "what has no process requires": ([Card(label="b", payload=Virtual(), requires=("a",)), card("a")], 20),
    "requires one of two": (
        [card("a", provides=("x",)), card("c", provides=("x",)), card("b", requires=("x",))],
        40,
    ),
    "conflicts": ([card("a"), card("b", conflicts=("a",))], 30),
    "waits for": ([card("a"), card("b", waits_for=("a",))], 30),
    "part of": ([card("a"), card("b", part_of=("a",))], 30),
    "requisite": ([card("a"), card("b", requisite=("a",))], 20),
    "restarts with it": (
        [card("a", supervision=KEPT), card("b", requires=("a",), terms=(Term(name="a", on_restart=Reaction.RESTART),))],
        30,
    ),
    "does not recover": ([card("a"), card("b", requires=("a",), terms=(Term(name="a", recover=False),))], 30),
    "a quorum with a grace": (
        [card("a"), card("c"), card("b", contracts=(Contract(of=("a", "c"), at_least=2, grace=3),))],
        40,
    ),
    "a chain": ([card("a", supervision=KEPT), NEEDS, card("c", requires=("b",))], 30),
}


def explore(directory: Path, cards: Sequence[Card], depth: int, *, pairs: bool, play: Play = HAND) -> int:
    """Make every move, and every two together if ``pairs``, in every moment up to a depth; return how many there are."""
    seen: set[tuple[object, ...]] = set()
    paths: list[tuple[tuple[Move, ...], ...]] = [()]
    for _ in range(depth + 1):
        further: list[tuple[tuple[Move, ...], ...]] = []
        for path in paths:
            key, moves = run(directory, cards, path, play)
            if key in seen:
                continue
            seen.add(key)
            further += [(*path, (move,)) for move in moves]
            if pairs:  # what time brings is never second: it would pass before anybody has heard of the first
                further += [(*path, (one, two)) for one in moves for two in moves if two[0] != "tick"]
        paths = further
    return len(seen)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("play", [HAND, HARD], ids=["dies when killed", "dies later"])
@pytest.mark.parametrize("name", ALONE)
def test_every_move_of_one_service_in_every_moment(tmp_path: Path, name: str, play: Play) -> None:
    cards, least = ALONE[name]
    deep = play is HAND and cards[0].hooks == Hooks()  # commands are processes of their own, and make worlds wide
    assert explore(tmp_path, cards, 4 if deep else 3, pairs=True, play=play) >= least


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", TOGETHER)
def test_every_move_of_services_that_need_each_other(tmp_path: Path, name: str) -> None:
    cards, least = TOGETHER[name]
    assert explore(tmp_path, cards, 4 if len(cards) == 2 else 3, pairs=False) >= least


@pytest.mark.usefixtures("quiet")
def test_every_two_moves_together_of_two_services(tmp_path: Path) -> None:
    assert explore(tmp_path, [card("a", supervision=KEPT), NEEDS], 3, pairs=True) >= 40
