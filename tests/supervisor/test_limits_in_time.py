"""Limits in virtual time: the budget of a group, a hand that begins it anew, what follows when one is hit, and memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import trio
from trio.testing import MockClock

from arje.card.budget import Budget
from arje.card.payload import Virtual
from arje.card.supervision import RateLimit, RestartWhen, Supervision
from arje.kernel.memory import MemoryEvents
from arje.service.record import FailureReason
from arje.service.state import State
from arje.service.ways import Way
from arje.supervisor.memory_watch import way
from tests.supervisor.played import BAD, Play, card, playing, reach

HAND = "uid 0 (test)"
MIB = 1 << 20


def member(action: str = "none", budget: str = "none") -> Supervision:
    return Supervision(
        restart=RestartWhen.ALWAYS,
        initial=1,
        max=1,
        rate_limit=RateLimit(starts=3 if action != "none" else 0, interval=60, action=action),
        budget=Budget(group="web", restarts=3, interval=60, action=budget) if action == "none" else None,
    )


async def test_the_next_failure_of_any_member_is_for_good_until_a_hand_starts_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    cards = [card("a", supervision=member()), card("b", supervision=member())]
    async with playing(tmp_path, *cards, a=Play(runs=1, exit=BAD), b=[Play(runs=5, exit=BAD)]) as (found, host):
        found.want("a", "test")
        found.want("b", "test")
        # a ends at 1, 3, 5 and starts again each time; the end of b at 5 or of a at 7 finds nothing left.
        a, b = await reach(found, "a", State.FAILED), await reach(found, "b", State.FAILED)
        for failed in (a, b):
            assert failed.failure is not None
            assert failed.failure.reason is FailureReason.GROUP_LIMIT
            assert "web has spent 3 of 3 restarts in 60 s: a" in failed.cause.detail
        assert len(host.of("a")) + len(host.of("b")) == 5
        found.want("b", "timer")  # nobody's hand: it starts, and what was spent stays spent
        again = await reach(found, "b", State.RUNNING)
        assert (await reach(found, "b", State.FAILED)).starts == again.starts
        found.want("a", HAND)
        await reach(found, "a", State.BACKOFF)
        await reach(found, "a", State.FAILED)
        assert len(host.of("a")) + len(host.of("b")) == 5 + 1 + 4


async def test_a_budget_that_is_spent_is_full_again_after_its_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    play = Play(runs=25, exit=BAD)
    async with playing(tmp_path, card("a", supervision=member()), a=play) as (found, host):
        found.want("a", "test")
        for _ in range(8):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        assert len(host.of("a")) == 8


async def test_a_target_takes_over_when_a_limit_is_hit(tmp_path: Path, autojump_clock: MockClock) -> None:
    cards = [
        card("a", supervision=member("target:rescue")),
        card("beside"),
        card("shell").__class__(label="rescue", payload=Virtual(), requires=("shell",)),
        card("shell"),
    ]
    async with playing(tmp_path, *cards, a=Play(runs=1, exit=BAD)) as (found, _):
        found.want("a", "test")
        found.want("beside", "test")
        await reach(found, "beside", State.RUNNING)
        rescue = await reach(found, "rescue", State.RUNNING)
        beside = await reach(found, "beside", State.STOPPED)
        assert rescue.activation is not None
        assert (rescue.activation.who, beside.cause.who) == ("a", "a: target rescue")
        assert found.table.get("shell").state is State.RUNNING
        assert not found.farewell.said.is_set()


async def test_a_group_that_has_spent_its_budget_may_end_the_machine(tmp_path: Path, autojump_clock: MockClock) -> None:
    rules = member(budget="poweroff")
    async with playing(tmp_path, card("a", supervision=rules), a=Play(runs=1, exit=BAD)) as (found, _):
        found.want("a", "test")
        await reach(found, "a", State.FAILED)
        farewell = found.farewell
        assert farewell.said.is_set()
        assert (farewell.who, farewell.status, farewell.way) == ("a", 1, Way.POWEROFF)


async def test_a_start_that_never_ran_hits_the_limit_as_well(tmp_path: Path, autojump_clock: MockClock) -> None:
    play = Play(refused=OSError(2, "No such file or directory", "/played"))
    async with playing(tmp_path, card("a", supervision=member("exit:7")), a=play) as (found, _):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert failed.failure is not None
        assert failed.failure.reason is FailureReason.START_LIMIT
        assert failed.failure.path == "/played"
        assert (found.farewell.status, found.farewell.way) == (7, Way.EXIT)


GREEDY = Supervision(
    max_memory=64 * MIB, memory_check=30, initial=1, max=1, rate_limit=RateLimit(starts=3, interval=600)
)


async def test_who_uses_more_than_its_memory_is_stopped_in_order_and_starts_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, card("a", supervision=GREEDY), a=Play(heeds=5)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        await trio.sleep(100)
        assert len(host.of("a")) == 1
        host.of("a")[0].memory = 100 * MIB
        stopping = await reach(found, "a", State.STOPPING)
        assert trio.current_time() == 120  # the next look
        assert stopping.cause.detail == "it uses 100M, and its max_memory is 64M"
        again = await reach(found, "a", State.BACKOFF)
        assert (host.of("a")[0].heard, trio.current_time(), again.failure) == ([15], 125, None)
        assert (await reach(found, "a", State.RUNNING)).restarts == 1


async def test_who_is_greedy_again_and_again_hits_its_limit(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=GREEDY)) as (found, host):
        found.want("a", "test")
        for number in range(3):
            await reach(found, "a", State.RUNNING)
            host.of("a")[number].memory = 64 * MIB
            await reach(found, "a", State.STOPPING)
        failed = await reach(found, "a", State.FAILED)
        assert failed.failure is not None
        assert failed.failure.reason is FailureReason.START_LIMIT
        assert failed.cause.detail.startswith("it uses 64M, and its max_memory is 64M: start-limit: 3 in 600 s")


async def test_where_nothing_tells_nobody_looks_unless_asked(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked = replace(GREEDY, memory_check=0.0)
    async with playing(tmp_path, card("a", supervision=asked)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        host.of("a")[0].memory = 100 * MIB
        await trio.sleep(10**6)
        assert found.table.get("a").state is State.RUNNING
        assert way(asked, found.outcomes["a"]).endswith(
            "not watched: nothing here tells, and no memory_check is asked for"
        )
        assert way(GREEDY, found.outcomes["a"]) == "starts again at 64M; looked at every 30 s, as nothing here tells"


class Told:
    """A kernel that tells by a pipe."""

    def __init__(self) -> None:
        self.fd, self.tell = os.pipe()
        self.closed = False

    def close(self) -> None:
        self.closed = True
        os.close(self.fd)
        os.close(self.tell)


async def test_where_the_kernel_tells_nobody_looks_before_and_page_cache_is_a_false_alarm(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    told = Told()

    def told_of(most: int) -> MemoryEvents:
        assert most == 64 * MIB
        return told  # type: ignore[return-value]  # it has all that is asked of one

    asked = replace(GREEDY, memory_check=0.0)
    async with playing(tmp_path, card("a", supervision=asked), a=Play(setup=1)) as (found, host):
        found.want("a", "test")
        await trio.sleep(0.5)
        host.of("a")[0].memory_events = told_of  # type: ignore[method-assign]  # of this one alone
        await reach(found, "a", State.RUNNING)
        await trio.sleep(10)
        host.of("a")[0].memory = 100 * MIB
        await trio.sleep(1000)
        assert found.table.get("a").state is State.RUNNING, "nobody has told"
        host.of("a")[0].memory = 10 * MIB
        os.write(told.tell, b"x")  # page cache, which is given back
        await trio.sleep(0.1)
        host.of("a")[0].memory = 80 * MIB
        os.write(told.tell, b"x")
        stopping = await reach(found, "a", State.STOPPING)
        assert trio.current_time() == 1012, "a second after the look that found too little"
        assert stopping.cause.detail == "it uses 80M, and its max_memory is 64M"
        assert told.closed
