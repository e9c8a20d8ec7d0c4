"""A plan says exactly what its apply does: for any two small sets of cards, and whatever the services are doing."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from arje.card.card import Card
from arje.card.edges import Reaction, Term
from arje.card.hooks import Reload
from arje.card.payload import Native, Virtual
from arje.card.supervision import Kind, Supervision
from arje.card.timer import Timer
from arje.service.state import State
from tests.supervisor.applying import HAND, Applied, applying
from tests.supervisor.played import GOOD, Play

LABELS = "abcd"
ONCE = Supervision(kind=Kind.ONE_SHOT)
RELOADS = Supervision(reload=Reload(signal="HUP"))
TIMED = (Timer(every=10_000),)


@st.composite
def cards(draw: st.DrawFn) -> tuple[Card, ...]:
    """Cards whose edges lead to earlier labels, so that there is no circle."""
    found = []
    for place, label in enumerate(LABELS):
        if draw(st.integers(0, 4)) == 0:
            continue
        edges: dict[str, Any] = {}
        terms = []
        for other in LABELS[:place]:
            kind = draw(
                st.sampled_from(["", "", "", "requires", "wants", "after", "part_of", "conflicts", "waits_for"])
            )
            if kind:
                edges[kind] = (*edges.get(kind, ()), other)
            if kind == "requires":
                reaction = draw(st.sampled_from([Reaction.KEEP, Reaction.KEEP, Reaction.RESTART, Reaction.RELOAD]))
                terms.append(Term(name=other, on_restart=reaction))
        payload: Any = draw(st.sampled_from([Native(exec="/played"), Native(exec="/other"), Virtual()]))
        kept = ONCE if label == "b" else draw(st.sampled_from([Supervision(), RELOADS]))
        found.append(
            Card(
                label=label,
                payload=payload,
                supervision=kept,
                terms=tuple(terms),
                enabled=draw(st.sampled_from([True, True, False])),
                masked=draw(st.integers(0, 9)) == 0,
                timer=TIMED if draw(st.integers(0, 5)) == 0 and not isinstance(payload, Virtual) else (),
                **edges,
            )
        )
    return tuple(found)


class Seen:
    """What each service has felt between two looks."""

    def __init__(self, here: Applied) -> None:
        self._here = here
        self._armed = {label for label in LABELS if here.found.timers.is_armed(label)}
        self._waiting = {service.label for service in here.found.table if service.state is State.WAITING}
        self.began: set[str] = set()
        self.ended: set[str] = set()
        self.reloaded: set[str] = set()
        here.found.table.subscribe(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if old.state is State.WAITING and new.state is State.STARTING:
            self.began.add(new.label)
        if old.state in (State.STARTING, State.RUNNING, State.RELOADING) and new.state is State.STOPPING:
            self.ended.add(new.label)
        if new.state is State.RELOADING and old.state is not State.RELOADING:
            self.reloaded.add(new.label)

    def felt(self, label: str) -> str:
        table, timers = self._here.found.table, self._here.found.timers
        if label in self.ended:
            return "restarts" if label in self.began else "stops"
        if label in self.began:
            return "starts"
        if label in table and table.get(label).state is State.WAITING and label not in self._waiting:
            return "waits"
        if label in self.reloaded:
            return "reloads"
        if timers.is_armed(label) != (label in self._armed):
            return "disarms" if label in self._armed else "arms"
        return "nothing"


async def compare(
    directory: Path, before: tuple[Card, ...], after: tuple[Card, ...], hands: list[tuple[str, str]]
) -> None:
    async with applying(directory, *before, b=Play(runs=1, exit=GOOD)) as here:  # which settles, too
        for verb, label in hands:
            if label in here.found.table:
                here.found.want(label, HAND) if verb == "start" else here.found.unwant(label, HAND)
                await here.settle()
                await trio.sleep(5)
        here.disk.write(after)
        plan = await here.door.plan()
        if plan["problems"]:
            event("problems")
            return
        seen = Seen(here)
        with trio.fail_after(600):
            answer = await here.door.apply(plan["token"], HAND)
        assert answer["applied"]
        assert answer["changes"] == plan["changes"]
        await here.settle()
        await trio.sleep(5)
        told = {change["label"]: change["feels"] for change in plan["changes"]}
        ordered = {label for label in told if told[label] == "arms"}  # one that is armed is told of a new timer
        for label in LABELS:
            felt = seen.felt(label)
            if felt == "nothing" and label in ordered:
                continue
            assert told.get(label, "nothing") == felt, f"{label}: {told}"
            event(felt)
        again = await here.door.plan()
        assert again["changes"] == []


@pytest.mark.usefixtures("quiet")
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    cards(),
    cards(),
    st.lists(st.tuples(st.sampled_from(["start", "stop"]), st.sampled_from(LABELS)), max_size=2),
)
def test_a_plan_says_exactly_what_its_apply_does(
    before: tuple[Card, ...], after: tuple[Card, ...], hands: list[tuple[str, str]]
) -> None:
    note(f"before: {_short(before)}")
    note(f"after: {_short(after)}")
    with tempfile.TemporaryDirectory() as directory:
        clock = MockClock(autojump_threshold=0)
        trio.run(compare, Path(directory), _good(before), _good(after), hands, clock=clock)


def _short(found: tuple[Card, ...]) -> str:
    """Return cards in the fields in which they are not as all are."""
    told = []
    for card in found:
        names = [each.name for each in fields(Card) if each.name not in ("label", "source", "soma", "log", "hooks")]
        said = {name: getattr(card, name) for name in names if getattr(card, name) != getattr(Card(label="x"), name)}
        told.append(f"{card.label} {said}")
    return "; ".join(told)


def _good(found: tuple[Card, ...]) -> tuple[Card, ...]:
    """Take out what would make the whole set a problem: edges to nobody, and rivals that are both enabled."""
    labels = {card.label for card in found}
    on = {card.label for card in found if card.enabled}
    result = []
    for card in found:
        edges: dict[str, Any] = {
            kind: tuple(name for name in getattr(card, kind) if name in labels)
            for kind in ("requires", "wants", "after", "part_of", "waits_for")
        }
        edges["conflicts"] = tuple(
            name for name in card.conflicts if name in labels and not (name in on and card.enabled)
        )
        terms = tuple(term for term in card.terms if term.name in labels)
        result.append(replace(card, terms=terms, **edges))
    return tuple(result)
