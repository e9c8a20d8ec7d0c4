"""Timers in virtual time: when runs start, what overlaps, what a clock that is set does, what is made up for."""

from __future__ import annotations

from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from arje.card.card import Card
from arje.card.supervision import Kind, RestartWhen, Supervision
from arje.card.timer import Overlap, Timer
from arje.service import timing
from arje.service.calendar import zone_of
from arje.service.state import State
from arje.supervisor import target
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import BAD, Play, PlayedHost, card, playing, reach

ONCE = Supervision(kind=Kind.ONE_SHOT)
DAY = 86400.0


def timed(*timers: Timer, supervision: Supervision = ONCE, **more: Any) -> Card:
    return card("a", timer=timers, supervision=supervision, **more)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(zone)).timestamp()


def starts(host: PlayedHost) -> list[float]:
    """When the runs of a began, to the second of the wall clock's beginning."""
    return [round(actor.incarnation.started, 3) for actor in host.of("a")]


def walls(host: PlayedHost, zone: str = "UTC") -> list[str]:
    """When the runs of a began, as the clock showed it."""
    return [
        f"{datetime.fromtimestamp(host.epoch + actor.incarnation.started, zone_of(zone)):%m-%d %H:%M}"
        for actor in host.of("a")
    ]


def status(found: Supervisor) -> dict[str, Any]:
    known = found.timers.status("a")
    assert known is not None
    return known


async def pass_by(seconds: float) -> None:
    """Let time pass, and what is due happen."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


# -- what is armed ---------------------------------------------------------------------------------------------------------


async def test_a_start_arms_and_runs_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        settled = await found.settled("a")
        assert (settled.state, host.of("a")) == (State.STOPPED, [])
        await found.timers.planned("a")
        assert status(found)["next_in_s"] == 10
        await pass_by(35)
        assert starts(host) == [10, 20, 30]
        assert found.table.get("a").cause.who == "supervisor"
        assert found.table.get("a").activation is not None
        assert str(found.table.get("a").activation) == "its timer: every = 10 s"


async def test_who_is_disarmed_runs_no_more_until_it_is_armed_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        await pass_by(15)
        assert found.timers.disarm("a", "test")
        assert not found.timers.disarm("a", "test")
        await pass_by(100)
        assert starts(host) == [10]
        assert status(found)["next_wall"] is None
        found.start("a", "test")
        await pass_by(15)
        assert starts(host) == [10, 125], "it counts from the arming"


async def test_a_run_that_is_disarmed_goes_on_and_one_that_is_queued_does_not_come(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, timed(Timer(every=10, overlap=Overlap.QUEUE)), a=Play(runs=15)) as (found, host):
        found.start("a", "test")
        await pass_by(22)
        assert status(found)["queued"]
        found.timers.disarm("a", "test")
        await pass_by(100)
        assert starts(host) == [10]
        assert found.table.get("a").state is State.DONE


async def test_who_is_not_armed_can_be_run(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=1)) as (found, host):
        found.want("a", "test")
        await reach(found, "a", State.DONE)
        await pass_by(100)
        assert starts(host) == [0]


async def test_who_requires_a_timed_service_gets_a_run_and_does_not_hang(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    needs = card("b", requires=("a",))
    async with playing(tmp_path, timed(Timer(calendar=("daily",))), needs, a=Play(runs=5)) as (found, host):
        found.start("a", "cards.d")
        found.start("b", "cards.d")
        assert (await reach(found, "b", State.RUNNING)).since == 5
        assert starts(host) == [0]


@pytest.mark.parametrize("edge", ["wants", "wanted_by"])
async def test_a_timed_service_that_is_only_wanted_is_armed(
    tmp_path: Path, autojump_clock: MockClock, edge: str
) -> None:
    asker = card("b", wants=("a",)) if edge == "wants" else card("b")
    service = timed(Timer(every=10), wanted_by=("b",) if edge == "wanted_by" else (), enabled=edge == "wanted_by")
    async with playing(tmp_path, service, asker, a=Play(runs=1)) as (found, host):
        found.want("b", "test")
        assert (await reach(found, "b", State.RUNNING)).since == 0
        await pass_by(15)
        assert starts(host) == [10]


async def test_a_switch_to_a_target_disarms_what_it_does_not_pull_in(tmp_path: Path, autojump_clock: MockClock) -> None:
    aim, inside = Card(label="aim", wants=("b",)), card("b", timer=(Timer(every=10),), supervision=ONCE)
    stays = card("c", timer=(Timer(every=10),), ignore_isolate=True)
    async with playing(tmp_path, timed(Timer(every=10)), aim, inside, stays) as (found, _):
        for label in "abc":
            found.start(label, "test")
        await target.switch(found, "aim", "test")
        assert [found.timers.is_armed(label) for label in "abc"] == [False, True, True]


async def test_who_is_only_ordered_after_a_timed_service_does_not_wait(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    after = card("b", after=("a",))
    async with playing(tmp_path, timed(Timer(calendar=("daily",))), after) as (found, _):
        found.start("a", "cards.d")
        found.start("b", "cards.d")
        assert (await reach(found, "b", State.RUNNING)).since == 0


async def test_a_new_card_of_an_armed_service_counts_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=1000)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        await pass_by(5)
        found.set_cards([timed(Timer(every=10))], "test")
        await pass_by(12)
        assert starts(host) == [15]
        found.set_cards([timed()], "test")
        assert found.timers.status("a") is None
        await pass_by(100)
        assert starts(host) == [15]


async def test_nobody_is_started_once_the_manager_stops(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), card("b"), b=Play(heeds=60)) as (found, host):
        found.start("a", "test")
        found.start("b", "test")
        await reach(found, "b", State.RUNNING)
    assert host.of("a") == []


# -- lengths of time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timer", "expected"),
    [
        (Timer(every=10), [10, 20, 30, 40]),
        (Timer(after_end=10), [10, 23, 36]),
        (Timer(after_boot=5), [5]),
        (Timer(after_start=0), [0]),
        (Timer(after_start=7, every=15), [7, 22, 37]),
        (Timer(after_boot=4, after_end=10), [4, 17, 30, 43]),
        (Timer(every=2), [2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, list) else "",
)
async def test_lengths_count_from_what_they_name(
    tmp_path: Path, autojump_clock: MockClock, timer: Timer, expected: list[float]
) -> None:
    async with playing(tmp_path, timed(timer), a=Play(runs=3)) as (found, host):
        found.start("a", "test")
        await pass_by(44)
        assert starts(host) == expected


async def test_a_run_by_hand_moves_what_counts_from_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        await pass_by(4)
        found.want("a", "test")
        await pass_by(12)
        assert starts(host) == [4, 14]


async def test_what_comes_once_does_not_come_again_with_a_second_arming(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, timed(Timer(after_boot=5, every=100)), a=Play(runs=1)) as (found, host):
        await trio.sleep(50)
        found.start("a", "test")
        await pass_by(1)
        assert starts(host) == [50], "it has passed: at once"
        found.timers.disarm("a", "test")
        found.start("a", "test")
        await pass_by(90)
        assert starts(host) == [50]
        await pass_by(20)
        assert starts(host) == [50, 151]


async def test_of_several_timers_the_nearest_counts(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(after_start=25), Timer(every=20)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        await pass_by(50)
        assert starts(host) == [20, 25, 45]


async def test_a_run_that_fails_does_not_end_the_timer(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=1, exit=BAD)) as (found, host):
        found.start("a", "test")
        await pass_by(35)
        assert starts(host) == [10, 20, 30]
        assert found.table.get("a").state is State.FAILED


async def test_a_run_that_cannot_begin_makes_no_loop(tmp_path: Path, autojump_clock: MockClock) -> None:
    lost = card("b", supervision=ONCE)
    service = timed(Timer(after_end=10), requires=("b",))
    async with playing(tmp_path, service, lost, a=Play(runs=1), b=Play(runs=0.5, exit=BAD)) as (found, host):
        found.start("a", "test")
        await pass_by(35)
        assert host.of("a") == []
        assert len(host.of("b")) == status(found)["runs"] == 3


async def test_nobody_wakes_up_while_nothing_is_due(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(calendar=("yearly",), every=1e6, jitter=5))) as (found, host):
        found.start("a", "test")
        await pass_by(10 * DAY)
        assert host.looks == 1


# -- overlap ---------------------------------------------------------------------------------------------------------------


async def test_a_time_that_comes_during_a_run_is_skipped_and_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10)), a=Play(runs=25)) as (found, host):
        found.start("a", "test")
        await pass_by(62)
        assert starts(host) == [10, 40]
        known = status(found)
        assert (known["runs"], known["skipped"]) == (2, 4)
        assert known["skip_reason"] == "every = 10 s: the last run is not over (starting)"
        assert "last skipped" in found.timers.words("a")


async def test_a_queued_run_comes_right_after_the_last_and_only_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    queue = Timer(calendar=("*:*:0/10",), overlap=Overlap.QUEUE)
    async with playing(tmp_path, timed(queue), a=[Play(runs=25), Play(runs=1)]) as (found, host):
        found.start("a", "test")
        await pass_by(44)
        assert starts(host) == [10, 35, 40]
        assert (status(found)["skipped"], status(found)["queued"]) == (1, False)
        assert "one waits already" in status(found)["skip_reason"]


async def test_a_time_can_end_the_run_that_there_is(tmp_path: Path, autojump_clock: MockClock) -> None:
    restart = Timer(calendar=("*:*:0/10",), after_start=0, overlap=Overlap.RESTART)
    keep = Supervision(kind=Kind.DAEMON)
    async with playing(tmp_path, timed(restart, supervision=keep), a=Play(runs=inf, heeds=1)) as (found, host):
        found.start("a", "test")
        await pass_by(22)
        assert starts(host) == [0, 11, 21]
        assert (status(found)["runs"], status(found)["skipped"]) == (3, 0)


async def test_a_retry_belongs_to_the_run(tmp_path: Path, autojump_clock: MockClock) -> None:
    again = Supervision(kind=Kind.ONE_SHOT, restart=RestartWhen.ON_FAILURE, initial=12, max=12)
    plays = [Play(runs=1, exit=BAD), Play(runs=1)]
    async with playing(tmp_path, timed(Timer(every=10), supervision=again), a=plays) as (found, host):
        found.start("a", "test")
        await pass_by(38)
        assert starts(host) == [10, 23, 33]
        assert "the last run is not over (backoff)" in status(found)["skip_reason"]


async def test_a_bug_at_one_timer_is_told_and_hurts_nobody_else(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    other = card("b", timer=(Timer(every=10),), supervision=ONCE)
    async with playing(tmp_path, timed(Timer(every=10)), other, b=Play(runs=1)) as (found, host):
        with monkeypatch.context() as patch:
            patch.setattr(timing, "nearest", broken)
            found.start("a", "test")
            await pass_by(1)
        found.start("b", "test")
        await pass_by(35)
        assert "arje itself failed at this timer" in status(found)["problem"]
        assert status(found)["armed"] is False
        assert len(host.of("b")) == 3
        found.start("a", "test")
        await pass_by(11)
        assert len(host.of("a")) == 1, "a second arming begins anew"


# -- the calendar ----------------------------------------------------------------------------------------------------------


async def test_a_night_without_half_past_two_has_its_run(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(calendar=("2:30",))), a=Play(runs=1)) as (found, host):
        host.zone_name, host.epoch = "Europe/Berlin", at("2026-03-28 12:00", "Europe/Berlin")
        found.start("a", "test")
        await pass_by(2 * DAY)
        assert walls(host, "Europe/Berlin") == ["03-29 03:00", "03-30 02:30"]


async def test_a_cards_zone_and_cron_are_heeded(tmp_path: Path, autojump_clock: MockClock) -> None:
    timer = Timer(cron=("0 12 * * *",), zone="Asia/Tokyo")
    async with playing(tmp_path, timed(timer), a=Play(runs=1)) as (found, host):
        host.zone_name, host.epoch = "Europe/Berlin", at("2026-06-01 00:00")
        found.start("a", "test")
        await pass_by(2 * DAY)
        assert walls(host) == ["06-01 03:00", "06-02 03:00"]


async def test_a_clock_set_forward_makes_one_run_due_and_set_back_makes_them_come_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, timed(Timer(calendar=("daily",))), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(60)
        assert host.of("a") == []
        host.set_clock(at("2036-06-01 12:00"))
        await pass_by(1)
        assert len(host.of("a")) == 1, "ten years have passed: once"
        host.set_clock(at("2026-06-01 23:59"))
        await pass_by(70)
        assert len(host.of("a")) == 2
        assert status(found)["next_in_s"] == pytest.approx(DAY - 10)


async def test_lengths_of_time_do_not_feel_the_clock(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=10, after_boot=5)), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        for years in (10, -10, 3):
            await pass_by(1)
            host.set_clock(host.wall() + years * 365 * DAY)
        await pass_by(24)
        assert starts(host) == [5, 15, 25]


async def test_another_time_zone_of_the_machine_is_felt(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(calendar=("12:00",))), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 00:00")
        found.start("a", "test")
        await pass_by(60)
        host.zone_name = "Asia/Tokyo"
        host.set_clock(host.wall())
        await pass_by(4 * 3600)
        assert walls(host) == ["06-01 03:00"]


async def test_what_is_past_for_ever_is_said_to_be(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(calendar=("1970-01-12 14:00",))), a=Play(runs=1)) as (found, host):
        found.start("a", "test")
        await pass_by(DAY)
        assert len(host.of("a")) == 1
        assert found.timers.words("a") == "its timer is armed: no time comes any more"


# -- jitter ----------------------------------------------------------------------------------------------------------------


async def test_jitter_puts_off_and_is_drawn_anew(tmp_path: Path, autojump_clock: MockClock) -> None:
    timer = Timer(calendar=("*:*:00",), jitter=30)
    async with playing(tmp_path, timed(timer), a=Play(runs=1)) as (found, host):
        host.epoch = 0.0
        found.start("a", "test")
        await pass_by(20 * 60)
        late = [start % 60 for start in starts(host)]
        assert len(late) in (19, 20)
        assert all(seconds <= 30.1 for seconds in late)
        assert len(set(late)) > 10


async def test_fixed_jitter_is_always_the_same(tmp_path: Path, autojump_clock: MockClock) -> None:
    timer = Timer(calendar=("*:*:00",), jitter=30, fixed_jitter=True)
    async with playing(tmp_path, timed(timer), a=Play(runs=1)) as (found, host):
        host.epoch = 0.0
        found.start("a", "test")
        await pass_by(10 * 60)
        assert len({round(start % 60, 1) for start in starts(host)}) == 1
        assert 0 < starts(host)[0] % 60 < 30


# -- persistent ------------------------------------------------------------------------------------------------------------

MISSED = Timer(calendar=("daily",), persistent=True)


def stamp(directory: Path, text: str) -> Path:
    file = directory / "state/timers/a"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


async def test_what_was_missed_is_made_up_for_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    file = stamp(tmp_path, f"{at('2026-05-20 00:00')}\n")
    async with playing(tmp_path, timed(MISSED), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(1)
        assert walls(host) == ["06-01 12:00"]
        assert float(file.read_text()) == at("2026-06-01 12:00")
        await pass_by(DAY)
        assert walls(host) == ["06-01 12:00", "06-02 00:00"]
        assert float(file.read_text()) == at("2026-06-02 00:00")


@pytest.mark.parametrize("text", ["", "nonsense", "nan", "-5", "99999999999"])
async def test_a_last_time_that_cannot_be_true_makes_up_for_nothing(
    tmp_path: Path, autojump_clock: MockClock, text: str
) -> None:
    stamp(tmp_path, text)
    async with playing(tmp_path, timed(MISSED), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(1)
        assert host.of("a") == []
        assert status(found)["problem"] == ""


async def test_the_first_arming_is_kept_so_that_what_comes_after_it_can_be_missed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, timed(MISSED), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(1)
        assert host.of("a") == []
        assert float((tmp_path / "state/timers/a").read_text()) == at("2026-06-01 12:00")


async def test_a_directory_that_cannot_be_written_is_told_and_no_run_is_lost(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    async with playing(tmp_path, timed(MISSED), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(DAY)
        assert walls(host) == ["06-02 00:00"]
        assert "its last time cannot be kept" in status(found)["problem"]
        assert str(tmp_path / "state/timers/a") in status(found)["problem"]


async def test_a_disk_that_does_not_answer_keeps_no_timer_from_its_times(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with playing(tmp_path, timed(MISSED), a=Play(runs=1)) as (found, host):
        host.epoch, host.dead = at("2026-06-01 12:00"), True
        found.start("a", "test")
        await pass_by(DAY)
        assert walls(host) == ["06-02 00:00"]
        assert "no answer in 30 s" in status(found)["problem"]


async def test_the_second_timer_of_a_card_has_a_last_time_of_its_own(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, timed(Timer(every=DAY), MISSED), a=Play(runs=1)) as (found, host):
        host.epoch = at("2026-06-01 12:00")
        found.start("a", "test")
        await pass_by(1)
        assert (tmp_path / "state/timers/a:1").exists()
        assert not (tmp_path / "state/timers/a").exists()
