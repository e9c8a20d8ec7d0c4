"""What services say, when they say too much, to nobody, or onto a disk that is not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import trio

from arje.supervisor.follower import Follower, Line
from arje.supervisor.logs import Logs
from arje.supervisor.servicelog import ServiceLog
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def line(text: str) -> Line:
    return Line("a", "stdout", 1, 0.0, text)


async def take(follower: Follower, count: int) -> list[str]:
    return [(await anext(follower)).text for _ in range(count)]


async def test_a_slow_follower_is_told_how_many_lines_it_lost() -> None:
    follower = Follower(None)
    follower.tell("a", [line(str(n)) for n in range(1000)], 1500)
    follower.tell("a", [line("late")], 1)
    assert await take(follower, 1000) == [str(n) for n in range(1000)]
    assert await take(follower, 1) == ["501 lines dropped: this reader is too slow"]
    follower.tell("a", [line("next")], 1)
    assert await take(follower, 1) == ["next"]
    follower.close()
    assert [each async for each in follower] == []


async def test_a_follower_hears_again_once_it_has_caught_up_half() -> None:
    follower = Follower(None)
    follower.tell("a", [line("first")] * 1000, 1001)
    await take(follower, 499)
    follower.tell("a", [line("too early")], 1)
    await take(follower, 1)
    follower.tell("a", [line("now")], 1)
    assert (await take(follower, 502))[-2:] == ["2 lines dropped: this reader is too slow", "now"]


async def test_what_others_say_costs_a_follower_nothing(place: Path) -> None:
    logs = Logs(place / "logs")
    follower = logs.follow(frozenset({"b"}))
    async with trio.open_nursery() as nursery:
        os.write(logs.of("a").descriptor("stdout", nursery), b"\n" * 5000)
        os.write(logs.of("b").descriptor("stdout", nursery), b"said\n")
        assert await take(follower, 1) == ["said"]
        nursery.cancel_scope.cancel()
    logs.close()


def writer(log: ServiceLog, nursery: trio.Nursery) -> int:
    return log.descriptor("stdout", nursery)


async def test_last_words_are_what_was_there_at_the_death_and_not_what_survivors_add(place: Path) -> None:
    logs = Logs(place / "logs")
    log = logs.of("a")
    async with trio.open_nursery() as nursery:
        fd = writer(log, nursery)
        nursery.cancel_scope.cancel()  # the reader: a loop that is busy elsewhere
    os.write(fd, b"x\n" * 15000)
    os.set_blocking(fd, False)
    said = []

    async def survivor() -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                said.append(os.write(fd, b"y\n" * 1000))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(survivor)
        await log.drain()
        nursery.cancel_scope.cancel()
    logs.close()  # everything is on disk then
    text = (place / "logs" / "a.log").read_text()
    assert text.count(": x\n") == 15000
    assert said  # others had their turn meanwhile


async def test_a_talkative_service_gets_one_short_turn_after_the_other(place: Path) -> None:
    logs = Logs(place / "logs")
    log = logs.of("a")
    turns = 0
    async with trio.open_nursery() as nursery:
        fd = writer(log, nursery)
        os.write(fd, b"\n" * 60000)
        os.write(fd, b"end\n")
        while not log.lines or log.lines[-1].text != "end":
            await trio.lowlevel.checkpoint()
            turns += 1
        nursery.cancel_scope.cancel()
    assert turns >= 60000 // 8192
    assert len(log.lines) == 500
    logs.close()
    assert (place / "logs" / "a.log").read_bytes().count(b"\n") == 60001


def test_a_service_that_only_says_newlines_does_not_slow_the_manager_or_its_own_stop(manage: Manage) -> None:
    manager = manage({"a": sh('exec yes ""')})
    manager.until("a", lambda a: len(a["last_lines"]) == 10)
    began = time.monotonic()
    for _ in range(20):
        manager.call("Ping")
    assert manager.call("Stop", labels=["a"], force=False)["results"][0]["result"] == "done"
    assert time.monotonic() - began < 4  # it was 17 on this road; now it is a tenth of a second


def test_cards_that_come_and_go_leave_no_descriptor(manage: Manage) -> None:
    manager = manage({"stay": SLEEP})
    manager.settle("stay")

    def cycle(count: int) -> int:
        for number in range(count):
            manager.write(f"s{number}", sh("echo said; exec sleep infinity"))
            assert manager.call("Apply", token="")["plan"]["applied"]
            manager.await_line(f"s{number}", "said")
            (manager.cards / f"s{number}.toml").unlink()
            assert manager.call("Apply", token="")["plan"]["applied"]
        return len(os.listdir(f"/proc/{manager.process.pid}/fd"))  # noqa: PTH208 - the number is wanted

    few, end = cycle(3), time.monotonic() + 30
    while cycle(10) != few:  # a thread closes the files, some moments later
        assert time.monotonic() < end


def test_a_log_directory_that_has_vanished_is_made_again(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    manager = manage({"a": sh(f"echo one; read word < {place}/go; echo two; exec sleep infinity")})
    manager.await_line("a", "one")
    shutil.rmtree(manager.runtime / "logs")
    (place / "go").write_text("go\n")
    manager.await_line("a", "two")
    manager.written("a")
    assert "stdout: two\n" in (manager.runtime / "logs" / "a.log").read_text()
    assert manager.show("a")["log_dropped"] == {}


def test_lines_that_the_disk_does_not_take_are_counted_and_shown(manage: Manage) -> None:
    manager = manage({"a": "enabled = false\n" + sh("echo one; echo two; exec sleep infinity")})
    (manager.runtime / "logs" / "a.log").symlink_to("/dev/full")
    manager.call("Start", labels=["a"])
    manager.await_line("a", "two")
    manager.written("a")
    assert manager.show("a")["log_dropped"] == {"disk full": 2}


def test_a_fifo_takes_the_output_when_somebody_reads_it_and_blocks_nobody_when_not(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "fifo")
    soma = f'stdio = {{stdout = "file:{place}/fifo"}}'
    manager = manage({"a": "enabled = false\n" + sh("echo hi; exec sleep infinity", soma)})
    assert manager.call("Start", labels=["a"])["results"][0]["result"] == "failed"
    failure = manager.show("a")["failure"]
    assert (failure["errno_name"], failure["field"]) == ("ENXIO", "soma.stdio.stdout")
    assert failure["hint"] == "nobody reads this FIFO"
    reader = os.open(place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    assert manager.call("Start", labels=["a"])["results"][0]["result"] == "done"
    assert os.read(reader, 100) == b"hi\n"
    os.close(reader)
