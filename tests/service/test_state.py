"""The table of states, walked."""

from __future__ import annotations

import itertools

import pytest

from arje.errors import InvalidTransition
from arje.service.state import STOP_WITH, TRANSITIONS, WITH_PROCESS, Event, State, diagram, next_state

#: The events that end a life; a state without a process must not know them.
ENDINGS = {Event.EXITED_RETRY, Event.EXITED_DONE, Event.EXITED_FAILED}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_is_in_the_table_or_refused(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state("web", state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(InvalidTransition) as raised:
        next_state("web", state, event)
    assert (raised.value.label, raised.value.state, raised.value.event) == ("web", state.value, event.value)


def test_every_state_can_be_reached_from_stopped_and_leads_back_to_it() -> None:
    def reach(start: State, edges: set[tuple[State, State]]) -> set[State]:
        seen, queue = {start}, [start]
        while queue:
            here = queue.pop()
            new = {b for a, b in edges if a is here} - seen
            seen |= new
            queue += new
        return seen

    edges = {(state, following) for (state, _), following in TRANSITIONS.items()}
    assert reach(State.STOPPED, edges) == set(State)
    assert reach(State.STOPPED, {(b, a) for a, b in edges}) == set(State)


def test_every_event_means_something_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_only_states_with_a_process_know_of_its_end() -> None:
    assert {state for state, event in TRANSITIONS if event in ENDINGS | {Event.STOPPED}} == WITH_PROCESS


def test_every_state_but_stopped_and_stopping_can_be_stopped_by_the_event_that_fits_it() -> None:
    assert set(STOP_WITH) == set(State) - {State.STOPPED}
    assert {state for state, event in STOP_WITH.items() if event is Event.STOP} == WITH_PROCESS - {State.STOPPING}
    assert STOP_WITH[State.STOPPING] is Event.UNWANTED


@pytest.mark.parametrize("state", [State.BACKOFF, State.FAILED, State.DONE, State.STOPPED])
def test_a_start_by_hand_leaves_every_rest_at_once(state: State) -> None:
    assert next_state("web", state, Event.WANTED) is State.WAITING


def test_a_retry_looks_at_the_dependencies_again() -> None:
    assert next_state("web", State.BACKOFF, Event.RETRY_DUE) is State.WAITING


def test_a_condition_that_does_not_hold_leads_from_waiting_to_stopped() -> None:
    assert next_state("web", State.WAITING, Event.SKIPPED) is State.STOPPED


def test_only_a_failed_requirement_is_recovered_from_without_a_hand() -> None:
    assert next_state("web", State.WAITING, Event.DEPENDENCY_FAILED) is State.FAILED
    assert next_state("web", State.STOPPING, Event.DEPENDENCY_FAILED) is State.FAILED
    assert next_state("web", State.FAILED, Event.RECOVERED) is State.WAITING
    by_hand = {Event.WANTED, Event.UNWANTED, Event.RECOVERED}
    assert {event for state, event in TRANSITIONS if state in (State.FAILED, State.DONE)} == by_hand


def test_a_stop_that_is_stuck_is_still_a_stop() -> None:
    assert next_state("web", State.STOPPING, Event.STUCK) is State.STOPPING
    assert [state for state, event in TRANSITIONS if event is Event.STUCK] == [State.STOPPING]


def test_the_diagram_shows_every_transition_once() -> None:
    shown = []
    for line in diagram().splitlines():
        state, _, rest = line.partition("→")
        following, *events = rest.replace(",", " ").split()
        shown += [((State(state.strip()), Event(event)), State(following)) for event in events]
    assert len(shown) == len(TRANSITIONS)
    assert dict(shown) == TRANSITIONS
