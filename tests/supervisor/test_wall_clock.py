"""Hearing that the clock was set, or that the machine's time zone is another: with the kernel's own descriptors."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from arje.kernel import clock
from arje.supervisor import wall_clock
from arje.supervisor.wall_clock import WallClock
from tests.conftest import needs_root

ZONES = Path("/usr/share/zoneinfo")
needs_zones = pytest.mark.skipif(not ZONES.is_dir(), reason="tzdata is not installed")


@pytest.fixture
def localtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of our own for /etc/localtime."""
    link = tmp_path / "localtime"
    monkeypatch.setattr(clock, "LOCALTIME", link)
    monkeypatch.setattr(wall_clock, "LOCALTIME", link)
    monkeypatch.delenv("TZ", raising=False)
    return link


def choose(link: Path, zone: str) -> None:
    """Choose a time zone as timedatectl(1) does."""
    new = link.with_suffix(".new")
    new.symlink_to(ZONES / zone)
    new.rename(link)


@needs_zones
async def test_another_time_zone_is_heard_and_another_file_is_not(localtime: Path) -> None:
    watch, heard = WallClock(), list[str]()

    async def hear() -> None:
        while True:
            await watch.changed()
            heard.append("changed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        await wait_all_tasks_blocked()
        (localtime.parent / "passwd").touch()
        await wait_all_tasks_blocked(0.01)
        assert heard == []
        choose(localtime, "Asia/Tokyo")
        with trio.fail_after(20):
            while not heard:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@needs_root
async def test_a_clock_that_is_set_is_heard_also_when_nobody_waited_just_then(localtime: Path) -> None:
    watch = WallClock()
    with trio.move_on_after(0):
        await watch.changed()
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("this root may not set the clock")
    with trio.fail_after(20):
        await watch.changed()


@needs_zones
def test_the_machines_zone_is_that_of_the_link_or_of_the_environment(
    localtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offset() -> timedelta | None:
        return datetime(2026, 7, 1, tzinfo=UTC).astimezone(clock.local_zone()).utcoffset()

    assert offset() == timedelta(0), "no link: UTC"
    choose(localtime, "Europe/Berlin")
    assert offset() == timedelta(hours=2)
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert offset() == timedelta(hours=9)
    monkeypatch.setenv("TZ", str(ZONES / "Asia/Kolkata"))
    assert offset() == timedelta(hours=5, minutes=30)
    monkeypatch.setenv("TZ", "no such zone")
    assert offset() == timedelta(0)
