"""What the manager does not do: wake up for nothing, import what nobody uses, ask those whom a change does not concern."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from arje.service.state import State
from arje.supervisor.bells import ANYBODY, Bells
from arje.supervisor.needs import Needs
from tests.conftest import Manager, sh
from tests.supervisor.played import Play, card, playing, reach

Manage = Callable[..., Manager]
ROOT = Path(__file__).resolve().parent.parent.parent


def tasks(pid: int) -> dict[str, str]:
    """The threads of a process by their numbers, and their names."""
    return {each.name: (each / "comm").read_text().strip() for each in Path(f"/proc/{pid}/task").iterdir()}


def switches(pid: int) -> int:
    """How often the threads of a process have been switched to (proc_pid_status(5))."""
    texts = [Path(f"/proc/{pid}/task/{task}/status").read_text() for task in tasks(pid)]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if "_ctxt_switches" in line)


def test_an_idle_manager_does_not_wake_up(manage: Manage) -> None:
    cards = {f"s{number}": sh("echo up; exec sleep infinity") for number in range(5)}
    manager = manage(cards | {"n": sh("exec sleep infinity", rest="[supervision]\nnotify_access = 'main'\n")})
    for label in cards:
        manager.await_line(label, "up")
    pid = manager.process.pid
    end = time.monotonic() + 30
    while any(name.startswith("Trio") for name in tasks(pid).values()):  # a worker that nobody needs goes after 10 s
        assert time.monotonic() < end, tasks(pid)
        time.sleep(0.1)
    before = switches(pid)
    time.sleep(3)  # nothing is waited for: that nothing happens is what is looked at
    assert switches(pid) == before


def test_what_the_manager_does_not_use_is_not_imported_and_can_be() -> None:
    code = (
        "import sys; from arje import later; later.put_off(); import arje.log, arje.init.daemon; arje.log.set_up()\n"
        "assert not {'_ssl', '_asyncio', 'pydantic', 'idna.core'} & sys.modules.keys()\n"
        "import ssl, asyncio, trio; assert ssl.create_default_context().verify_mode and '_ssl' in sys.modules\n"
        "asyncio.run(asyncio.sleep(0)); import idna; assert idna.encode('\\xe4') == b'xn--4ca'\n"
        "assert trio.SSLStream and sys.modules['ssl'].SSLContext is ssl.SSLContext\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


async def test_a_bell_rings_for_those_whom_a_change_may_concern() -> None:
    heard: list[str] = []
    bells = Bells(heard.append)

    async def wait(name: str, *others: str) -> None:
        await bells.wait(name, others)
        heard.append(name)

    async with trio.open_nursery() as nursery:
        for name, others in {"a": ("db",), "b": ("web",), "c": ANYBODY, "d": ()}.items():
            nursery.start_soon(wait, name, *others)
        bells.park("e")
        await trio.testing.wait_all_tasks_blocked()
        for ring, expected in [
            (lambda: bells.changed("db"), ["a", "c"]),
            (lambda: bells.changed("db"), []),
            (lambda: bells.ring("e"), ["e"]),
            (lambda: bells.ring("e"), []),
            (bells.all_changed, ["b"]),
            (lambda: bells.ring("d"), ["d"]),
        ]:
            heard.clear()
            ring()
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(heard) == expected


async def test_what_starts_beside_those_who_wait_does_not_make_them_look(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    waits = Needs.waits

    def counted(self: Needs, label: str) -> object:
        nonlocal asked
        asked += 1
        return waits(self, label)

    monkeypatch.setattr(Needs, "waits", counted)
    many = 60
    cards = [card("db"), *(card(f"w{n}", requires=("db",)) for n in range(many)), *(card(f"o{n}") for n in range(many))]
    async with playing(tmp_path, *cards, db=Play(setup=10)) as (found, _):
        for each in cards:
            found.want(each.label, "test")
        for n in range(many):
            await reach(found, f"o{n}", State.RUNNING)
        assert found.table.get("w0").state is State.WAITING
        for n in range(many):
            await reach(found, f"w{n}", State.RUNNING)
        assert asked < 12 * many  # were all asked at every change, it would be 4 * many * many


async def test_a_life_that_merely_runs_has_no_task(tmp_path: Path, autojump_clock: MockClock) -> None:
    cards = [card(f"s{n}") for n in range(40)]
    async with playing(tmp_path, *cards) as (found, _):
        before = trio.lowlevel.current_statistics().tasks_living
        for each in cards:
            found.want(each.label, "test")
        for each in cards:
            await reach(found, each.label, State.RUNNING)
        await trio.testing.wait_all_tasks_blocked()
        lives = [life for each in cards if (life := found.life(each.label))]
        assert len(lives) == len(cards)
        assert all(life.is_parked for life in lives)
        assert trio.lowlevel.current_statistics().tasks_living < before + 2 * len(cards)
