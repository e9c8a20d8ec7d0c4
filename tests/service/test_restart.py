"""What becomes of a service whose process ended."""

from __future__ import annotations

import itertools
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.supervision import Kind, RateLimit, RestartWhen, Supervision
from arje.incarnation import Exit
from arje.service.record import FailureReason
from arje.service.restart import Decision, Verdict, backoff, decide, is_success, on_demand
from arje.service.state import Event

OK = Exit("exited", 0)
CODE = Exit("exited", 3)
KILLED = Exit("killed", signal.SIGKILL)
DUMPED = Exit("dumped", signal.SIGSEGV)
ENDINGS = [OK, CODE, KILLED, DUMPED, None]


def after(supervision: Supervision, exit: Exit | None, **facts: Any) -> Decision:
    return decide(supervision, exit, **({"lived": 1.0, "starts": (), "step": 0, "now": 1000.0} | facts))


@pytest.mark.parametrize(
    ("restart", "verdicts"),
    [
        (RestartWhen.ALWAYS, "again again again again again"),
        (RestartWhen.ON_FAILURE, "done again again again again"),
        (RestartWhen.ON_ABNORMAL, "done failed again again failed"),
        (RestartWhen.NEVER, "done failed failed failed failed"),
    ],
)
def test_a_daemon_starts_again_after_the_endings_that_its_card_names(restart: RestartWhen, verdicts: str) -> None:
    given_by = [after(Supervision(restart=restart), exit).kind.value for exit in ENDINGS]
    assert given_by == verdicts.split()


@pytest.mark.parametrize("restart", RestartWhen)
def test_a_one_shot_that_ended_well_is_done_whatever_its_restart_says(restart: RestartWhen) -> None:
    assert after(Supervision(kind=Kind.ONE_SHOT, restart=restart), OK).kind is Verdict.DONE


def test_a_one_shot_that_failed_starts_again_only_when_its_card_says_so() -> None:
    assert after(Supervision(kind=Kind.ONE_SHOT), CODE).kind is Verdict.FAILED
    assert after(Supervision(kind=Kind.ONE_SHOT, restart=RestartWhen.ON_FAILURE), CODE).kind is Verdict.AGAIN


@pytest.mark.parametrize(("restart", "exit"), list(itertools.product(RestartWhen, ENDINGS)))
def test_a_delegate_is_never_started_again(restart: RestartWhen, exit: Exit | None) -> None:
    decision = after(Supervision(kind=Kind.DELEGATE, restart=restart), exit)
    assert decision.kind is (Verdict.DONE if exit == OK else Verdict.FAILED)
    assert "parent" in decision.detail


@pytest.mark.parametrize(
    ("exit", "reason"),
    [
        (CODE, FailureReason.EXIT_CODE),
        (KILLED, FailureReason.SIGNAL),
        (DUMPED, FailureReason.CORE_DUMP),
        (None, FailureReason.SETUP),
        (OK, None),
    ],
)
def test_the_reason_follows_from_the_ending(exit: Exit | None, reason: FailureReason | None) -> None:
    assert after(Supervision(), exit).reason is reason


def test_a_reason_from_outside_makes_even_a_clean_exit_a_failure() -> None:
    decision = after(Supervision(restart=RestartWhen.ON_ABNORMAL), OK, because=FailureReason.WATCHDOG)
    assert (decision.kind, decision.reason) == (Verdict.AGAIN, FailureReason.WATCHDOG)


def test_a_refusal_is_not_tried_again() -> None:
    always = Supervision(restart=RestartWhen.ALWAYS)
    assert after(always, None, because=FailureReason.ISOLATION_REFUSED).kind is Verdict.FAILED


def test_a_card_may_count_codes_and_signals_as_success() -> None:
    supervision = Supervision(restart=RestartWhen.ON_FAILURE, success_exit=(3, "SIGTERM", "int"))
    assert after(supervision, CODE).kind is Verdict.DONE
    assert is_success(supervision, Exit("killed", signal.SIGTERM))
    assert is_success(supervision, Exit("killed", signal.SIGINT))
    assert not is_success(supervision, Exit("dumped", signal.SIGTERM))
    assert not is_success(supervision, Exit("killed", 3))
    assert not is_success(supervision, Exit("exited", 15))


def test_the_wait_doubles_from_initial_to_max() -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS, initial=0.5, max=3.0)
    step, waits = 0, []
    for _ in range(5):
        decision = after(supervision, CODE, step=step)
        step = decision.step
        waits.append(decision.delay)
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_healthy_life_begins_the_waits_anew() -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS, initial=0.5, max=30.0, healthy_after=10.0)
    assert after(supervision, CODE, step=4, lived=9.9).delay == 8.0
    healthy = after(supervision, CODE, step=4, lived=10.0)
    assert (healthy.delay, healthy.step) == (0.5, 1)


@given(
    initial=st.floats(0, 1e6),
    cap=st.floats(0, 1e6),
    steps=st.lists(st.integers(0, 10**9), min_size=2, max_size=2).map(sorted),
)
def test_the_wait_is_bounded_and_never_shrinks(initial: float, cap: float, steps: list[int]) -> None:
    supervision = Supervision(initial=initial, max=cap)
    shorter, longer = (backoff(supervision, step) for step in steps)
    assert 0.0 <= shorter <= longer <= cap


@given(
    starts=st.integers(1, 20),
    interval=st.floats(0.1, 100),
    initial=st.floats(0, 10),
    cap=st.floats(0, 60),
    lives=st.lists(st.floats(0, 30), max_size=100),
)
def test_no_interval_ever_holds_more_starts_than_the_limit(
    starts: int, interval: float, initial: float, cap: float, lives: list[float]
) -> None:
    limit = RateLimit(starts=starts, interval=interval)
    supervision = Supervision(restart=RestartWhen.ALWAYS, initial=initial, max=cap, rate_limit=limit)
    now, step, times = 0.0, 0, [0.0]
    for lived in lives:
        now += lived
        decision = decide(supervision, CODE, lived=lived, starts=tuple(times[-starts:]), step=step, now=now)
        if decision.kind is Verdict.FAILED:
            assert decision.reason is FailureReason.START_LIMIT
            break
        now, step = now + decision.delay, decision.step
        times.append(now)
    assert all(sum(at - interval < other <= at for other in times) <= starts for at in times)


def test_one_start_too_many_fails_with_the_limit_and_the_last_ending() -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS, rate_limit=RateLimit(starts=3, interval=60.0))
    assert after(supervision, CODE, starts=(990.0, 995.0)).kind is Verdict.AGAIN
    decision = after(supervision, CODE, starts=(985.0, 990.0, 995.0))
    assert (decision.kind, decision.reason) == (Verdict.FAILED, FailureReason.START_LIMIT)
    assert decision.detail == "start-limit: 3 in 60 s, last: exited 3"
    assert after(supervision, CODE, starts=(900.0, 990.0, 995.0)).kind is Verdict.AGAIN


def test_a_limit_of_zero_starts_is_no_limit() -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS, rate_limit=RateLimit(starts=0))
    assert after(supervision, CODE, starts=(1000.0,) * 100).kind is Verdict.AGAIN


def test_the_default_card_that_crashes_at_once_slows_down_and_never_meets_the_limit() -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS)
    now, step, times = 0.0, 0, [0.0]
    for _ in range(200):
        decision = decide(supervision, CODE, lived=0.01, starts=tuple(times), step=step, now=now + 0.01)
        assert decision.kind is Verdict.AGAIN
        now, step = now + 0.01 + decision.delay, decision.step
        times.append(now)


@pytest.mark.parametrize(
    ("verdict", "event"),
    list(zip(Verdict, [Event.EXITED_RETRY, Event.EXITED_DONE, Event.EXITED_FAILED, Event.EXITED_WAITS], strict=True)),
)
def test_each_verdict_has_its_event(verdict: Verdict, event: Event) -> None:
    assert Decision(kind=verdict).event is event


@pytest.mark.parametrize(
    ("supervision", "ending", "kind", "reason"),
    [
        (Supervision(), Exit("exited", 0), Verdict.WAITS, None),
        (Supervision(), CODE, Verdict.WAITS, FailureReason.EXIT_CODE),
        (Supervision(restart=RestartWhen.ON_FAILURE), CODE, Verdict.AGAIN, FailureReason.EXIT_CODE),
        (Supervision(restart=RestartWhen.ON_FAILURE), Exit("exited", 0), Verdict.WAITS, None),
        (Supervision(rate_limit=RateLimit(starts=3)), CODE, Verdict.FAILED, FailureReason.START_LIMIT),
        (Supervision(rate_limit=RateLimit(starts=4)), CODE, Verdict.WAITS, FailureReason.EXIT_CODE),
        (Supervision(rate_limit=RateLimit(starts=3, interval=1)), CODE, Verdict.WAITS, FailureReason.EXIT_CODE),
        (Supervision(rate_limit=RateLimit(starts=3)), Exit("exited", 0), Verdict.WAITS, None),
        (Supervision(rate_limit=RateLimit(starts=0)), CODE, Verdict.WAITS, FailureReason.EXIT_CODE),
    ],
)
def test_who_is_started_on_demand_waits_for_it_again_unless_it_fails_too_often(
    supervision: Supervision, ending: Exit, kind: Verdict, reason: FailureReason | None
) -> None:
    starts = (1.0, 2.0, 3.0)
    first = decide(supervision, ending, lived=1.0, starts=starts[-1:], step=0, now=4.0)
    found = on_demand(first, supervision, starts=starts, now=4.0)
    assert (found.kind, found.reason) == (kind, reason)


def test_a_decision_says_which_rule_made_it() -> None:
    decision = after(Supervision(restart=RestartWhen.ON_FAILURE), KILLED)
    assert decision.detail == "signal KILL, restart = on-failure, again in 0.2 s"


@pytest.mark.parametrize(("wait", "told"), [(0.2, "0.2"), (1.2345, "1.23"), (999.7, "1000"), (3600, "3600")])
def test_a_wait_is_told_as_a_person_writes_it(wait: float, told: str) -> None:
    supervision = Supervision(restart=RestartWhen.ALWAYS, initial=wait, max=wait)
    assert after(supervision, CODE).detail.endswith(f"again in {told} s")
