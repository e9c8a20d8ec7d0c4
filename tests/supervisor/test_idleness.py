"""When a service is idle, with real sockets in virtual time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import MockClock

from arje.supervisor.idleness import _idle


async def ask(what: str, question: Callable[[], Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return question()


WORLD: Any = SimpleNamespace(host=SimpleNamespace(ask=ask))


async def test_nobody_is_idle_while_there_is_a_connection_and_for_so_long_after_it(
    place: Path, autojump_clock: MockClock
) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as client:
        one.bind(str(place / "x"))
        one.listen()
        ended: list[float] = []

        async def watch() -> None:
            await _idle(WORLD, "a", [one.fileno()], 10.0)
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(5.5)
            client.connect(str(place / "x"))
            accepted, _ = one.accept()
            await trio.sleep(1000)
            assert not ended
            client.close()
            accepted.close()
        assert ended == [1015]  # the last look that saw it was at 1005


async def test_a_connection_that_is_seen_to_come_counts_although_no_look_finds_it(
    place: Path, autojump_clock: MockClock
) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "x"))
        one.listen()

        async def visit() -> None:
            await trio.sleep(8.5)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place / "x"))
                await trio.sleep(0.1)
                one.accept()[0].close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(visit)
            await _idle(WORLD, "a", [one.fileno()], 10.0)
        assert trio.current_time() == 19


async def test_nobody_who_is_never_visited_stays_longer(place: Path, autojump_clock: MockClock) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "x"))
        one.listen()
        await _idle(WORLD, "a", [one.fileno()], 10.0)
        assert trio.current_time() == 10
