"""The timing of a life, in virtual time: waits between starts, the limit of starts, stops that escalate."""

from __future__ import annotations

import itertools
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from arje.card.supervision import Kind, RateLimit, RestartWhen, Supervision
from arje.errors import SetupFailed
from arje.incarnation import Exit, Step
from arje.service.record import FailureReason, Service
from arje.service.state import State
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import BAD, GOOD, KILL, Play, card, playing, reach, times

ALWAYS = Supervision(restart=RestartWhen.ALWAYS, initial=1, max=8, healthy_after=100, rate_limit=RateLimit(starts=0))
TERM = 15


def waits(found: Supervisor, label: str) -> list[float]:
    """The seconds between the ends of lives and the next starts."""
    return [
        after.at - before.at
        for (old, before), (new, after) in itertools.pairwise(found.table.get(label).history)
        if (old, new) == (State.BACKOFF, State.WAITING)
    ]


def reason(service: Service) -> FailureReason | None:
    return service.failure.reason if service.failure else None


# -- starting again ----------------------------------------------------------------------------------------------------


async def test_the_wait_before_a_restart_doubles_to_its_most(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=Play(runs=0.5, exit=BAD)) as (found, _):
        found.want("a", "test")
        for _ in range(6):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        assert waits(found, "a") == [1, 2, 4, 8, 8]


@pytest.mark.parametrize(("lives", "expected"), [(100, [1, 2, 1, 2]), (99.5, [1, 2, 4, 8])])
async def test_a_healthy_life_makes_the_wait_short_again(
    tmp_path: Path, autojump_clock: MockClock, lives: float, expected: list[float]
) -> None:
    short, long = Play(runs=0.5, exit=BAD), Play(runs=lives, exit=BAD)
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=[short, short, long, short, short]) as (found, _):
        found.want("a", "test")
        for _ in range(5):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        assert waits(found, "a") == expected


async def test_who_starts_too_often_has_failed_until_a_hand_starts_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    keep = Supervision(
        restart=RestartWhen.ALWAYS, initial=1, max=1, healthy_after=100, rate_limit=RateLimit(starts=3, interval=60)
    )
    async with playing(tmp_path, card("a", supervision=keep), a=Play(runs=2, exit=BAD)) as (found, host):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), len(host.of("a")), trio.current_time()) == (FailureReason.START_LIMIT, 3, 8)
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        again = await reach(found, "a", State.FAILED)
        assert (reason(again), len(host.of("a"))) == (FailureReason.START_LIMIT, 6)


async def test_starts_that_are_far_apart_are_not_too_many(tmp_path: Path, autojump_clock: MockClock) -> None:
    keep = Supervision(restart=RestartWhen.ALWAYS, initial=1, max=1, rate_limit=RateLimit(starts=3, interval=60))
    async with playing(tmp_path, card("a", supervision=keep), a=Play(runs=21, exit=BAD)) as (found, host):
        found.want("a", "test")
        for _ in range(20):
            await reach(found, "a", State.BACKOFF)
            await reach(found, "a", State.RUNNING)
        assert len(host.of("a")) == 21


async def test_a_one_shot_is_not_ready_before_its_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    once = Supervision(kind=Kind.ONE_SHOT)
    cards = card("a", supervision=once), card("b", requires=("a",))
    async with playing(tmp_path, *cards, a=Play(runs=40, exit=GOOD)) as (found, _):
        found.want("b", "test")
        await reach(found, "b", State.RUNNING)
        assert (trio.current_time(), found.table.get("a").state) == (40, State.DONE)


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_a_stop_waits_for_who_heeds_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), a=Play(heeds=9.5)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        stopped = await reach(found, "a", State.STOPPED)
        assert (trio.current_time(), host.of("a")[0].heard) == (9.5, [TERM])
        assert (stopped.last_exit, stopped.kill_method) == (Exit("killed", TERM), "signal TERM")


async def test_who_does_not_heed_a_stop_is_killed_after_its_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    keep = Supervision(stop_signal="INT", stop_timeout=4)
    async with playing(tmp_path, card("a", supervision=keep), a=Play(heeds=inf, dies=0.5)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        stopped = await reach(found, "a", State.STOPPED)
        assert (trio.current_time(), host.of("a")[0].heard) == (4.5, [2, KILL])
        assert (stopped.last_exit, stopped.kill_method) == (Exit("killed", KILL), "cgroup.kill after 4 s")


async def test_who_does_not_die_is_told_and_not_waited_for(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), card("b"), a=Play(heeds=inf, dies=200)) as (found, _):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        stuck = await found.at_rest("a")
        assert stuck is not None
        assert (stuck.state, stuck.is_stuck, trio.current_time()) == (State.STOPPING, True, 15)
        found.want("b", "test")
        await reach(found, "b", State.RUNNING)
        stopped = await reach(found, "a", State.STOPPED)
        assert (trio.current_time(), stopped.last_exit) == (210, Exit("killed", KILL))


async def test_who_cannot_be_signalled_is_stuck_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    play = Play(deaf="cannot be signalled: it runs as uid 7", runs=100)
    async with playing(tmp_path, card("a"), a=play) as (found, _):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        assert (await found.at_rest("a"), trio.current_time()) == (found.table.get("a"), 0)
        assert found.table.get("a").kill_method == "cannot be signalled: it runs as uid 7"
        await reach(found, "a", State.STOPPED)
        assert trio.current_time() == 100


async def test_a_wait_for_the_next_start_is_stopped_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=Play(runs=1, exit=BAD)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.BACKOFF)
        await trio.sleep(0.25)
        found.unwant("a", "test")
        assert found.table.get("a").state is State.STOPPED
        await trio.sleep(100)
        assert (found.table.get("a").state, len(host.of("a"))) == (State.STOPPED, 1)


async def test_a_start_by_hand_does_not_wait_for_its_turn(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=Play(runs=1, exit=BAD)) as (found, _):
        found.want("a", "test")
        for _ in range(3):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        await trio.sleep(0.25)
        found.want("a", "test")
        assert await reach(found, "a", State.RUNNING)
        assert waits(found, "a") == [1, 2, 0.25]


async def test_all_stop_dependents_first_each_in_its_own_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    cards = card("db"), card("web", requires=("db",)), card("proxy", after=("web",)), card("alone")
    plays = {"db": Play(heeds=1), "web": Play(heeds=2), "proxy": Play(heeds=3), "alone": Play(heeds=5.5)}
    async with playing(tmp_path, *cards, **plays) as (found, _):
        for label in ("web", "proxy", "alone"):
            found.want(label, "test")
            await reach(found, label, State.RUNNING)
        await found.stop_all("test")
        assert [times(found, label, State.STOPPED)[-1] for label in ("proxy", "web", "db", "alone")] == [3, 5, 6, 5.5]


# -- setting up --------------------------------------------------------------------------------------------------------


async def test_a_set_up_that_hangs_is_killed_after_its_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), a=Play(setup=inf)) as (found, host):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), trio.current_time(), host.of("a")[0].heard) == (FailureReason.TIMEOUT, 30, [KILL])


async def test_a_set_up_that_does_not_die_is_given_up_and_buried_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, card("a"), a=[Play(setup=inf, dies=300), Play()]) as (found, host):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), trio.current_time()) == (FailureReason.TIMEOUT, 35)
        await trio.sleep(1000)
        assert not host.alive("a")
        assert not host.slots


async def test_files_that_are_not_opened_in_time_fail_the_start(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), a=Play(stdio=inf)) as (found, host):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), trio.current_time(), host.actors) == (FailureReason.TIMEOUT, 30, [])
        assert failed.failure is not None
        assert failed.failure.step == Step.PREPARE


async def test_a_start_that_is_stopped_gets_the_time_of_a_stop(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=Supervision(stop_timeout=3)), a=Play(setup=inf, heeds=inf)) as (
        found,
        host,
    ):
        found.want("a", "test")
        await trio.sleep(1)
        found.unwant("a", "test")
        await reach(found, "a", State.STOPPED)
        assert (trio.current_time(), host.of("a")[0].heard) == (4, [KILL])


async def test_a_condition_that_nobody_answers_skips_the_service(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", only_if_exists="/dead")) as (found, host):
        host.dead = True
        found.want("a", "test")
        stopped = await reach(found, "a", State.STOPPED)
        assert (trio.current_time(), stopped.cause.detail) == (30, "only_if_exists = /dead: no answer in 30 s")


async def test_a_set_up_that_fails_waits_before_it_is_tried_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    broken = Play(setup=0.5, broken=SetupFailed("a", Step.EXEC, 2, "payload.exec"))
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=[broken, broken, Play()]) as (found, _):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        assert (waits(found, "a"), trio.current_time()) == ([1, 2], 4)


# -- who is needed -----------------------------------------------------------------------------------------------------


async def test_a_requirement_that_starts_again_is_not_felt(tmp_path: Path, autojump_clock: MockClock) -> None:
    cards = card("db", supervision=ALWAYS), card("web", requires=("db",))
    async with playing(tmp_path, *cards, db=[Play(runs=5, exit=BAD), Play()]) as (found, host):
        found.want("web", "test")
        await reach(found, "db", State.BACKOFF)
        await reach(found, "db", State.RUNNING)
        await trio.sleep(60)
        assert (found.table.get("web").state, times(found, "web", State.RUNNING)) == (State.RUNNING, [0])
        assert len(host.of("db")) == 2


async def test_a_requirement_that_fails_for_good_stops_who_needs_it_and_its_recovery_starts_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    cards = card("db"), card("web", requires=("db",)), card("top", requires=("web",))
    async with playing(tmp_path, *cards, db=[Play(runs=5, exit=BAD), Play(setup=2)], web=Play(heeds=1)) as (found, _):
        found.want("top", "test")
        await reach(found, "db", State.FAILED)
        await reach(found, "web", State.FAILED)
        await reach(found, "top", State.FAILED)
        assert trio.current_time() == 6
        assert [reason(found.table.get(label)) for label in ("web", "top")] == [FailureReason.DEPENDENCY] * 2
        await trio.sleep(4)
        found.want("db", "test")
        await reach(found, "top", State.RUNNING)
        assert [times(found, label, State.RUNNING)[-1] for label in ("db", "web", "top")] == [12, 12, 12]


async def test_a_restart_in_place_is_not_felt_by_who_needs_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    cards = card("db"), card("web", requires=("db",))
    async with playing(tmp_path, *cards, db=Play(heeds=4, setup=1)) as (found, host):
        found.want("web", "test")
        await reach(found, "web", State.RUNNING)
        before = found.table.get("db")
        found.again("db", "test")
        assert (await found.settled_again(before)).state is State.RUNNING
        assert (trio.current_time(), len(host.of("db")), times(found, "web", State.RUNNING)) == (6, 2, [1])


async def test_a_wish_during_a_stop_is_fulfilled_after_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), a=Play(heeds=3)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        await trio.sleep(1)
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        assert (trio.current_time(), len(host.of("a"))) == (3, 2)


async def test_a_wish_that_is_taken_back_during_a_stop_is_none(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), a=Play(heeds=3)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.again("a", "test")
        await trio.sleep(1)
        found.unwant("a", "test")
        await reach(found, "a", State.STOPPED)
        await trio.sleep(100)
        assert (found.table.get("a").state, len(host.of("a"))) == (State.STOPPED, 1)


async def test_what_a_running_service_requires_by_its_new_card_is_started(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, card("db"), card("web")) as (found, _):
        found.want("web", "test")
        await reach(found, "web", State.RUNNING)
        found.set_cards([card("db"), card("web", requires=("db",))], "apply")
        assert (await reach(found, "db", State.RUNNING)).cause
        assert times(found, "web", State.RUNNING) == [0]


async def test_who_counted_as_up_by_its_old_card_starts_again_for_those_who_require_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    once = card("db", supervision=Supervision(kind=Kind.ONE_SHOT))
    web = card("web", requires=("db",))
    async with playing(tmp_path, once, web, db=[Play(runs=1), Play()]) as (found, _):
        found.want("web", "test")
        await reach(found, "web", State.RUNNING)
        found.set_cards([card("db"), web], "apply")
        await reach(found, "db", State.RUNNING)
        assert times(found, "web", State.RUNNING) == [1]


async def test_a_restart_of_who_was_to_make_room_takes_the_room_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a"), card("b", conflicts=("a",)), a=Play(heeds=3)) as (found, _):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.want("b", "test")
        before = found.table.get("a")
        found.again("a", "test")
        assert (await found.settled_again(before)).state is State.RUNNING
        assert (found.table.get("b").state, found.table.get("b").cause.who) == (State.STOPPED, "a")
