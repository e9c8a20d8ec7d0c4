"""Every event in every state, fired at a real table: the record says what the state means, or nothing has changed."""

from __future__ import annotations

import itertools
from collections import deque

import pytest

from arje.card.card import Card
from arje.card.payload import Native
from arje.errors import InvalidTransition
from arje.incarnation import Incarnation
from arje.service.record import Service, StateCause
from arje.service.state import TRANSITIONS, WITH_PROCESS, Event, State
from arje.service.table import StateTable

LIFE = Incarnation(id=1, label="web", pid=7, leader_pid=7, started=1.0)
#: What a caller learns with an event, and passes.
LEARNED = {Event.SPAWNED: {"incarnation": LIFE}, Event.EXITED_RETRY: {"backoff_until": 99.0}}


def ways() -> dict[State, tuple[Event, ...]]:
    """Return a shortest way from ``stopped`` to each state."""
    found: dict[State, tuple[Event, ...]] = {State.STOPPED: ()}
    queue = deque([State.STOPPED])
    while queue:
        here = queue.popleft()
        for (state, event), following in TRANSITIONS.items():
            if state is here and following not in found:
                found[following] = (*found[here], event)
                queue.append(following)
    return found


def fire(table: StateTable, event: Event, at: float) -> Service:
    return table.fire("web", event, StateCause("test", at=at), **LEARNED.get(event, {}))


@pytest.mark.parametrize("spawned", [False, True], ids=["in its set-up", "after exec"])
@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_a_record_says_what_its_state_means(state: State, event: Event, spawned: bool) -> None:
    table = StateTable()
    table.add(Card(label="web", payload=Native(exec="/bin/true")), StateCause("test"))
    for at, step in enumerate(ways()[state], 1):
        fire(table, step, at)
        if spawned and table.get("web").state is State.STARTING:
            fire(table, Event.SPAWNED, at)
    before = table.get("web")
    assert before.state is state
    if (state, event) not in TRANSITIONS:
        with pytest.raises(InvalidTransition):
            fire(table, event, 50.0)
        assert table.get("web") is before
        return
    after = fire(table, event, 50.0)
    moved = after.state is not before.state
    assert after.state is TRANSITIONS[state, event]
    assert len(after.history) == len(before.history) + moved
    assert (after.since, after.cause.at) == ((50.0, 50.0) if moved else (before.since, before.cause.at))
    assert (after.backoff_until is not None) is (after.state is State.BACKOFF)
    if after.state not in WITH_PROCESS:
        assert (after.incarnation, after.ready) == (None, None)
    elif (spawned and before.state in WITH_PROCESS) or event is Event.SPAWNED:
        assert after.incarnation is LIFE
    if event is Event.WANTED:
        assert after.wanted
    if event in (Event.UNWANTED, Event.STOP, Event.SKIPPED):
        assert not after.wanted
    if event in (Event.STUCK, Event.FAULT, Event.RETRY_DUE, Event.DEPENDENCY_FAILED, Event.RECOVERED, Event.STOPPED):
        assert after.wanted is before.wanted  # what happens to a service changes nobody's wish
