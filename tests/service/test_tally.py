"""Counters count each thing once, and never go back."""

from __future__ import annotations

from arje.card.card import Card
from arje.incarnation import Exit
from arje.service.record import Failure, FailureReason, StateCause
from arje.service.state import Event
from arje.service.table import StateTable
from arje.service.tally import Tally

CAUSE = StateCause("test")


def table() -> tuple[StateTable, Tally]:
    made, tally = StateTable(), Tally()
    made.add(Card(label="a"), CAUSE)
    made.subscribe(tally.heard)
    return made, tally


def test_a_start_an_exit_and_a_restart_are_counted_once() -> None:
    services, tally = table()
    services.fire("a", Event.WANTED, CAUSE)
    services.fire("a", Event.DEPENDENCIES_MET, CAUSE)
    services.note("a", doing="something")
    assert (tally.of("a").starts, tally.of("a").restarts) == (1, 0)
    failure = Failure(reason=FailureReason.EXIT_CODE)
    services.fire("a", Event.SPAWNED, CAUSE)
    services.fire("a", Event.EXITED_FAILED, CAUSE, failure=failure, last_exit=Exit("killed", 9))
    assert tally.of("a").exits == {("killed", "KILL"): 1}
    assert tally.of("a").failures == {"exit-code": 1}
    services.note("a", doing="something else")
    assert tally.of("a").exits == {("killed", "KILL"): 1}


def test_who_is_no_service_any_more_is_forgotten() -> None:
    services, tally = table()
    services.fire("a", Event.WANTED, CAUSE)
    services.fire("a", Event.DEPENDENCIES_MET, CAUSE)
    tally.keep(["b"])
    assert tally.of("a").starts == 0
