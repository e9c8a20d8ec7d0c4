"""What has to happen by when while a service runs: readiness, watchdog, lifetime, reload; and the steps of its stop."""

from __future__ import annotations

import itertools
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from arje.card.hooks import Reload
from arje.card.probes import Readiness
from arje.card.supervision import RateLimit, RestartWhen, Supervision
from arje.service.record import FailureReason, Service
from arje.service.state import State
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import KILL, Play, PlayedHost, card, playing, reach, times

NOTIFY = Readiness(notify=True)
ABRT, HUP, INT, TERM = 6, 1, 2, 15


def rules(**more: Any) -> Supervision:
    return Supervision(**{"restart": RestartWhen.NEVER, "readiness": NOTIFY} | more)


def say(host: PlayedHost, text: str, label: str = "a") -> None:
    """Let a service's main process say something."""
    host.sockets[label].say(text, host.of(label)[-1].leader_pid)


def reason(service: Service) -> FailureReason | None:
    return service.failure.reason if service.failure else None


async def started(found: Supervisor, host: PlayedHost, *said: str) -> None:
    """Start the service and let it say something once it runs."""
    found.want("a", "test")
    while not host.of("a"):
        await found.bells.wait("a")
    for text in said:
        say(host, text)


async def test_a_start_has_its_time_and_may_ask_for_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=rules(start_timeout=10)), a=Play()) as (found, host):
        await started(found, host)
        await trio.sleep(9)
        say(host, "EXTEND_TIMEOUT_USEC=30000000")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), trio.current_time()) == (FailureReason.TIMEOUT, 39)


async def test_the_set_up_counts_for_the_time_of_a_start(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=rules(start_timeout=10)), a=Play(setup=4)) as (found, _):
        found.want("a", "test")
        failed = await reach(found, "a", State.FAILED)
        assert (reason(failed), trio.current_time()) == (FailureReason.TIMEOUT, 10)


@pytest.mark.parametrize("asked", [None, 0])
async def test_a_start_without_a_limit_has_ninety_seconds_or_all_the_time(
    tmp_path: Path, autojump_clock: MockClock, asked: float | None
) -> None:
    async with playing(tmp_path, card("a", supervision=rules(start_timeout=asked)), a=Play()) as (found, host):
        await started(found, host)
        if asked is None:
            await reach(found, "a", State.FAILED)
            assert trio.current_time() == 90
            return
        await trio.sleep(80_000)
        say(host, "READY=1")
        await reach(found, "a", State.RUNNING)


async def test_a_watchdog_begins_with_readiness_and_is_fed_by_words(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked = rules(watchdog=5, restart=RestartWhen.ON_ABNORMAL, initial=7)
    async with playing(tmp_path, card("a", supervision=asked), a=Play()) as (found, host):
        await started(found, host)
        await trio.sleep(60)  # not ready yet: nobody asks for food
        say(host, "READY=1")
        for _ in range(3):
            await trio.sleep(4)
            say(host, "WATCHDOG=1")
        again = await reach(found, "a", State.BACKOFF)
        assert (reason(again), trio.current_time()) == (FailureReason.WATCHDOG, 60 + 12 + 5)
        assert host.of("a")[0].heard == [ABRT]
        await reach(found, "a", State.STARTING)
        assert trio.current_time() == 60 + 12 + 5 + 7


async def test_a_watchdog_may_be_changed_by_its_service(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=rules(watchdog=5)), a=Play()) as (found, host):
        await started(found, host, "READY=1\nWATCHDOG_USEC=60000000")
        await reach(found, "a", State.RUNNING)
        await reach(found, "a", State.FAILED)
        assert trio.current_time() == pytest.approx(60, abs=5.1)


async def test_a_life_ends_with_its_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked = Supervision(max_lifetime=100, restart=RestartWhen.ALWAYS, initial=1, max=1, rate_limit=RateLimit(starts=0))
    async with playing(tmp_path, card("a", supervision=asked), a=Play()) as (found, _):
        found.want("a", "test")
        for _ in range(3):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        assert times(found, "a", State.BACKOFF) == [100, 201, 302]


async def test_a_reload_that_is_never_confirmed_is_over_with_its_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asked = rules(start_timeout=10, reload=Reload(signal="HUP", confirm=True))
    async with playing(tmp_path, card("a", supervision=asked), a=Play(heeds=inf)) as (found, host):
        await started(found, host, "READY=1")
        await reach(found, "a", State.RUNNING)
        life = found.life("a")
        assert life is not None
        assert await life.reload("test") == "it did not say READY=1 in time"
        assert (found.table.get("a").state, trio.current_time()) == (State.RUNNING, 10)
        assert host.of("a")[0].heard == [HUP]


async def test_words_from_before_do_not_end_a_reload(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked = rules(start_timeout=10, reload=Reload(signal="HUP", confirm=True))
    async with playing(tmp_path, card("a", supervision=asked), a=Play(heeds=inf)) as (found, host):
        await started(found, host, "READY=1")
        await reach(found, "a", State.RUNNING)
        await trio.sleep(5)
        life = found.life("a")
        assert life is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.reload, "test")
            await reach(found, "a", State.RELOADING)
            say(host, "RELOADING=1\nMONOTONIC_USEC=1000000")
            say(host, "READY=1")
            await trio.sleep(1)
            assert found.table.get("a").state is State.RELOADING
            say(host, "RELOADING=1\nMONOTONIC_USEC=6000000")
            say(host, "READY=1")
            await reach(found, "a", State.RUNNING)
            assert trio.current_time() == 6


async def test_a_stop_takes_its_steps_one_after_the_other(tmp_path: Path, autojump_clock: MockClock) -> None:
    asked = Supervision(stop=(("TERM", 5), ("INT", 20)))
    async with playing(tmp_path, card("a", supervision=asked), a=Play(heeds=inf, dies=1)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        stopped = await reach(found, "a", State.STOPPED)
        assert (host.of("a")[0].heard, trio.current_time()) == ([TERM, INT, KILL], 26)
        assert stopped.kill_method == "cgroup.kill after TERM 5 s, INT 20 s"


async def test_who_is_stopping_may_ask_for_more_time_and_a_hand_for_less(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asked = rules(stop_timeout=10)
    async with playing(tmp_path, card("a", supervision=asked), a=Play(heeds=inf)) as (found, host):
        await started(found, host, "READY=1")
        await reach(found, "a", State.RUNNING)
        found.unwant("a", "test")
        await trio.sleep(9)
        say(host, "EXTEND_TIMEOUT_USEC=600000000")
        await trio.sleep(300)
        assert found.table.get("a").state is State.STOPPING
        life = found.life("a")
        assert life is not None
        life.hurry()
        await reach(found, "a", State.STOPPED)
        assert trio.current_time() == 309


async def test_the_wait_before_a_restart_is_longer_by_a_part_that_differs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asked = Supervision(restart=RestartWhen.ALWAYS, initial=8, max=8, jitter=0.5, rate_limit=RateLimit(starts=0))
    async with playing(tmp_path, card("a", supervision=asked), a=Play(runs=1)) as (found, _):
        found.want("a", "test")
        for _ in range(5):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        history = found.table.get("a").history
        waits = [b[1].at - a[1].at for a, b in itertools.pairwise(history) if a[0] is State.BACKOFF]
        assert all(8 <= wait <= 12 for wait in waits)
        assert len({round(wait, 6) for wait in waits}) > 1
