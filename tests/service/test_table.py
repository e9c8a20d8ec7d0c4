"""The state table: one writer, its books, and what its subscribers hear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.card import Card
from arje.card.supervision import Kind, RateLimit, Supervision
from arje.errors import InvalidTransition, NoSuchService
from arje.incarnation import Cause, Degradation, Exit, Grant, Incarnation
from arje.service.record import HISTORY, REASONS, Failure, FailureReason, Service, StateCause
from arje.service.state import TRANSITIONS, WITH_PROCESS, Event, State
from arje.service.table import StateTable

BIRTH = StateCause("cards.d", "loaded", at=1.0, wall=1000.0)
LIFE = [Event.WANTED, Event.DEPENDENCIES_MET, Event.SPAWNED, Event.READY]


def make(*labels: str, supervision: Supervision | None = None) -> StateTable:
    table = StateTable()
    for label in labels:
        table.add(Card(label=label, supervision=supervision or Supervision()), BIRTH)
    return table


def fire_all(table: StateTable, label: str, events: list[Event], at: float = 10.0) -> Service:
    for event in events:
        table.fire(label, event, StateCause("test", event.value, at=at))
    return table.get(label)


@given(st.lists(st.sampled_from(Event), max_size=200))
def test_no_sequence_of_events_leaves_the_table(events: list[Event]) -> None:
    table = make("web")
    for at, event in enumerate(events, start=2):
        old = table.get("web")
        expected = TRANSITIONS.get((old.state, event))
        cause = StateCause("test", event.value, at=float(at))
        if expected is None:
            with pytest.raises(InvalidTransition):
                table.fire("web", event, cause)
            assert table.get("web") is old
            continue
        new = table.fire("web", event, cause)
        assert new is table.get("web")
        assert new.state is expected
        assert new.history[-1] == (new.state, new.cause)
        assert len(new.history) <= HISTORY
        assert new.since == new.cause.at
        assert (new.cause is cause) == (new.state is not old.state)
        assert len(new.starts) <= new.card.supervision.rate_limit.starts
        assert new.state in WITH_PROCESS or (new.incarnation is None and new.ready is None)


def test_a_service_is_born_stopped_with_its_cause() -> None:
    service = make("web").get("web")
    assert (service.state, service.cause, service.since, service.wanted) == (State.STOPPED, BIRTH, 1.0, False)
    assert service.history == ((State.STOPPED, BIRTH),)


def test_an_event_that_keeps_the_state_keeps_since_and_cause_but_records_what_was_learned() -> None:
    table = make("web")
    starting = fire_all(table, "web", LIFE[:2], at=10.0)
    lost = Degradation(feature="net", requested="private", obtained="host", cause=Cause.SYSCTL)
    grant = Grant("net", "private", "", False)
    life = Incarnation(id=1, label="web", pid=7, leader_pid=7, grants=(grant,), degradations=(lost,))
    spawned = table.fire("web", Event.SPAWNED, StateCause("test", at=11.0), incarnation=life)
    assert (spawned.since, spawned.cause) == (10.0, starting.cause)
    assert (spawned.incarnation, spawned.grants, spawned.degradations) == (life, (grant,), (lost,))


def test_what_an_incarnation_got_stays_to_be_read_after_its_end() -> None:
    table = make("web")
    fire_all(table, "web", LIFE[:2])
    lost = Degradation(feature="net", requested="private", obtained="host", cause=Cause.SYSCTL)
    life = Incarnation(id=1, label="web", pid=7, leader_pid=7, degradations=(lost,))
    table.fire("web", Event.SPAWNED, StateCause("test"), incarnation=life)
    ended = table.fire("web", Event.EXITED_FAILED, StateCause("test"), last_exit=Exit("exited", 1))
    assert (ended.incarnation, ended.degradations, ended.last_exit) == (None, (lost,), Exit("exited", 1))


def test_a_start_by_hand_forgets_what_the_start_limit_counted() -> None:
    table = make("web")
    fire_all(table, "web", LIFE)
    again = Event.EXITED_RETRY
    waiting = table.fire("web", again, StateCause("test", at=20.0), backoff_until=25.0, step=3)
    assert (waiting.starts, waiting.backoff_until, waiting.step, waiting.wanted) == ((10.0,), 25.0, 3, True)
    by_hand = table.fire("web", Event.WANTED, StateCause("uid 0", at=21.0))
    assert by_hand.state is State.WAITING
    assert (by_hand.starts, by_hand.backoff_until, by_hand.step, by_hand.restarts) == ((), None, 0, 0)


def test_an_automatic_restart_is_counted_and_remembers_its_starts() -> None:
    table = make("web", supervision=Supervision(rate_limit=RateLimit(starts=3)))
    fire_all(table, "web", LIFE, at=10.0)
    for at in (20.0, 30.0, 40.0):
        fire_all(table, "web", [Event.EXITED_RETRY, Event.RETRY_DUE, *LIFE[1:]], at=at)
    service = table.get("web")
    assert (service.restarts, service.starts) == (3, (20.0, 30.0, 40.0))


def test_a_failure_is_shown_until_the_service_is_ready_or_started_by_hand() -> None:
    table = make("web")
    failure = Failure(reason=FailureReason.EXIT_CODE, detail="exited 1")
    fire_all(table, "web", LIFE)
    assert table.fire("web", Event.EXITED_RETRY, StateCause("test"), failure=failure).failure is failure
    assert fire_all(table, "web", [Event.RETRY_DUE, Event.DEPENDENCIES_MET]).failure is failure
    assert fire_all(table, "web", [Event.SPAWNED, Event.READY]).failure is None
    table.fire("web", Event.EXITED_FAILED, StateCause("test"), failure=failure)
    assert fire_all(table, "web", [Event.WANTED]).failure is None


def test_a_stop_ends_the_wish_and_a_start_while_stopping_renews_it() -> None:
    table = make("web")
    assert fire_all(table, "web", [*LIFE, Event.STOP]).wanted is False
    renewed = fire_all(table, "web", [Event.WANTED])
    assert (renewed.state, renewed.wanted) == (State.STOPPING, True)
    stopped = fire_all(table, "web", [Event.STOPPED])
    assert (stopped.state, stopped.wanted) == (State.STOPPED, True)


def test_a_stop_that_is_not_a_wish_keeps_it_when_the_caller_says_so() -> None:
    table = make("web")
    fire_all(table, "web", LIFE)
    assert table.fire("web", Event.STOP, StateCause("db", "restarts"), wanted=True).wanted is True


def test_whose_wish_a_service_runs_by_is_remembered_until_the_next_wish() -> None:
    table = make("web")
    wish = StateCause("uid 0", "by hand", at=10.0)
    table.fire("web", Event.WANTED, wish)
    for _ in range(HISTORY):
        fire_all(table, "web", [*LIFE[1:], Event.EXITED_RETRY, Event.RETRY_DUE])
    assert wish not in [why for _, why in table.get("web").history]
    assert table.get("web").activation is wish
    fire_all(table, "web", [*LIFE[1:], Event.STOP])
    other = StateCause("uid 1", at=20.0)
    assert table.fire("web", Event.WANTED, other).activation is other


def test_who_failed_for_what_it_requires_keeps_the_wish_and_says_so() -> None:
    table = make("web")
    fire_all(table, "web", LIFE)
    table.fire("web", Event.STOP, StateCause("db"), wanted=True)
    failure = Failure(reason=FailureReason.DEPENDENCY)
    failed = table.fire("web", Event.DEPENDENCY_FAILED, StateCause("db"), failure=failure)
    assert (failed.state, failed.wanted, failed.lacks_dependency) == (State.FAILED, True, True)
    waiting = fire_all(table, "web", [Event.RECOVERED])
    assert (waiting.failure, waiting.wanted, waiting.lacks_dependency) == (None, True, False)


def test_a_stop_is_stuck_as_long_as_it_lasts() -> None:
    table = make("web")
    fire_all(table, "web", [*LIFE, Event.STOP])
    stuck = table.fire("web", Event.STUCK, StateCause("test"), kill_method="it does not die")
    assert (stuck.state, stuck.is_stuck) == (State.STOPPING, True)
    stopped = fire_all(table, "web", [Event.STOPPED])
    assert (stopped.is_stuck, stopped.kill_method) == (False, "it does not die")
    assert fire_all(table, "web", [Event.WANTED, *LIFE[1:], Event.STOP]).is_stuck is False


def test_ready_is_none_without_a_process_false_while_starting_and_true_when_running() -> None:
    table = make("web")
    seen = [table.get("web").ready]
    seen += [fire_all(table, "web", [event]).ready for event in [*LIFE, Event.STOP, Event.STOPPED]]
    assert seen == [None, None, False, False, True, True, None]


def test_fire_refuses_fields_that_are_its_own_or_unknown_and_changes_nothing() -> None:
    table = make("web")
    old = table.get("web")
    with pytest.raises(TypeError, match="state"):
        table.fire("web", Event.WANTED, BIRTH, state=State.RUNNING)
    with pytest.raises(TypeError):
        table.fire("web", Event.WANTED, BIRTH, nonsense=1)
    assert table.get("web") is old


def test_an_unknown_label_is_answered_with_the_nearest() -> None:
    table = make("web", "mail")
    with pytest.raises(NoSuchService) as raised:
        table.get("wep")
    assert raised.value.nearest == "web"


def test_the_table_keeps_order_and_refuses_a_label_twice() -> None:
    table = make("web", "db", "mail")
    assert [service.label for service in table] == ["web", "db", "mail"]
    assert len(table) == 3
    assert "db" in table
    with pytest.raises(ValueError, match="db"):
        table.add(Card(label="db"), BIRTH)


def test_a_service_with_a_process_cannot_be_removed() -> None:
    table = make("web")
    fire_all(table, "web", LIFE)
    with pytest.raises(ValueError, match="stop it first"):
        table.remove("web")
    fire_all(table, "web", [Event.STOP, Event.STOPPED])
    assert table.remove("web").label == "web"
    assert "web" not in table


def test_a_new_card_keeps_the_state_and_is_told() -> None:
    table = make("web")
    running = fire_all(table, "web", LIFE)
    heard: list[tuple[Service, Service]] = []
    table.subscribe(lambda old, new: heard.append((old, new)))
    new = table.replace_card(Card(label="web", description="new"))
    assert (new.state, new.card.description, heard) == (State.RUNNING, "new", [(running, new)])


def test_subscribers_hear_changes_in_order_also_when_one_of_them_fires() -> None:
    table = make("db", "web")
    heard: list[tuple[str, State]] = []

    def start_web(_old: Service, new: Service) -> None:
        if new.label == "db" and new.state is State.WAITING:
            table.fire("web", Event.WANTED, StateCause("db"))

    table.subscribe(start_web)
    end = table.subscribe(lambda _old, new: heard.append((new.label, new.state)))
    fire_all(table, "db", LIFE[:2])
    end()
    fire_all(table, "db", LIFE[2:])
    assert heard == [("db", State.WAITING), ("web", State.WAITING), ("db", State.STARTING)]


def test_a_subscriber_that_raises_hides_nothing_from_the_others() -> None:
    table = make("web")
    heard: list[State] = []

    def broken(_old: Service, _new: Service) -> None:
        raise OSError("disk full")

    table.subscribe(broken)
    table.subscribe(lambda _old, new: heard.append(new.state))
    with pytest.raises(ExceptionGroup) as raised:
        table.fire("web", Event.WANTED, BIRTH)
    assert raised.group_contains(OSError, match="disk full")
    assert heard == [State.WAITING]
    assert table.get("web").state is State.WAITING


@pytest.mark.parametrize(("kind", "up"), [(Kind.ONE_SHOT, True), (Kind.DAEMON, False)])
def test_a_finished_one_shot_counts_as_up_and_a_finished_daemon_does_not(kind: Kind, up: bool) -> None:
    table = make("web", supervision=Supervision(kind=kind))
    assert fire_all(table, "web", LIFE).is_up
    done = fire_all(table, "web", [Event.EXITED_DONE])
    assert (done.is_up, done.is_coming) == (up, False)


def test_every_reason_of_failure_has_its_words() -> None:
    assert set(REASONS) == set(FailureReason)
    assert str(Failure(reason=FailureReason.SETUP, step="exec")) == f"setup: step exec: {REASONS[FailureReason.SETUP]}"
