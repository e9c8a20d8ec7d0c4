"""Arje's own failures, made on purpose: each belongs to one service, and leaves nothing that runs."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.supervision import RestartWhen, Supervision
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.outcome import Outcome
from arje.incarnate.pending import Pending
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.cgroup import Cgroup
from arje.native import Child
from arje.service.record import FailureReason, Service
from arje.service.state import State
from arje.supervisor.host import Machine
from arje.supervisor.logfile import LogFile
from arje.supervisor.logs import Logs
from arje.supervisor.reaper import Reaper
from arje.supervisor.supervisor import Supervisor
from tests.manager.test_services import alive


def card(label: str, script: str = "exec sleep infinity", **more: Any) -> Card:
    return Card(label=label, payload=Native(exec="/bin/sh", argv=("-c", script)), **more)


class Injected(Incarnator):
    """An Incarnator that fails for services named ``bad``, with what a test chose."""

    error: Exception = RuntimeError("injected")

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Pending:
        if card.label == "bad":
            raise self.error
        return super().begin(card, stdio, given)


@asynccontextmanager
async def supervisor(directory: Path, *cards: Card, error: Exception | None = None) -> AsyncIterator[Supervisor]:
    """A supervisor in this process, with the cards in force. At its end nothing may run."""
    incarnator = Injected(CapabilitySet.detect(None), None)
    incarnator.error = error or incarnator.error
    logs = Logs(directory / "logs")
    reaper = Reaper()

    async def reap() -> None:
        with trio.open_signal_receiver(signal.SIGCHLD) as signals:
            async for _ in signals:
                reaper.drain()

    found = Supervisor(Machine(incarnator, reaper), logs, directory / "state")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap)
        await nursery.start(found.run)
        found.set_cards(list(cards), "test")
        with trio.fail_after(60):
            yield found
            await found.stop_all("test")
        assert not found.outcomes
        assert not found.pendings
        nursery.cancel_scope.cancel()
    logs.close()


async def started(found: Supervisor, *labels: str) -> list[Service]:
    for label in labels:
        found.want(label, "test")
    return [await found.settled(label) for label in labels]


async def test_an_exception_at_the_start_fails_one_service(place: Path) -> None:
    async with supervisor(place, card("bad"), card("good")) as found:
        bad, good = await started(found, "bad", "good")
        assert bad.failure is not None
        assert (bad.state, bad.failure.reason) == (State.FAILED, FailureReason.INTERNAL)
        assert good.state is State.RUNNING


async def test_an_exception_in_a_running_life_kills_its_process_before_another_may_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(place, card("a"), card("b")) as found:
        a, b = await started(found, "a", "b")
        assert a.incarnation is not None

        def broken(_self: Outcome, _number: int) -> str:
            raise RuntimeError("injected")

        with monkeypatch.context() as patch:
            patch.setattr(Outcome, "signal_main", broken)
            found.unwant("a", "test")
            ended = await found.at_rest("a")
        assert ended is not None
        assert (ended.state, ended.failure and ended.failure.reason) == (State.FAILED, FailureReason.INTERNAL)
        assert not alive(a.incarnation.pid)
        assert "a" not in found.outcomes
        assert (await started(found, "a"))[0].state is State.RUNNING
        assert found.table.get("b") is b


async def test_a_stop_of_all_goes_on_when_one_cannot_be_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervisor(place, card("a"), card("b")) as found:
        await started(found, "a", "b")
        really = Supervisor.unwant

        def broken(self: Supervisor, label: str, who: str) -> None:
            if label == "a":
                with monkeypatch.context() as patch:  # the process ends all the same, so that the test does
                    patch.setattr(Supervisor, "unwant", really)
                    really(self, label, who)
                raise RuntimeError("injected")
            really(self, label, who)

        monkeypatch.setattr(Supervisor, "unwant", broken)
        await found.stop_all("test")
        assert [service.state for service in found.table] == [State.STOPPED, State.STOPPED]


async def test_who_waits_for_a_service_that_is_removed_waits_no_longer(place: Path) -> None:
    waits = card("waits", requires=("skipped",))
    async with supervisor(place, waits, card("skipped", only_if_exists="/no/such")) as found:
        await started(found, "waits")
        found.paused.add("waits")  # as a restart of several has it: it has not settled
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.settled, "waits")
            nursery.start_soon(found.settled_again, found.table.get("waits"))
            await trio.testing.wait_all_tasks_blocked()
            found.set_cards([], "test")
        assert await found.at_rest("waits") is None
        found.unwant("waits", "test")
        await found._stop_in_turn("waits", "test")


async def test_a_card_that_goes_while_its_service_runs_stays_with_it(place: Path) -> None:
    async with supervisor(place, card("a"), card("b")) as found:
        await started(found, "a", "b")
        found.set_cards([card("b")], "test")
        assert found.table.get("a").state is State.RUNNING


async def test_a_log_that_cannot_be_written_costs_lines_and_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: LogFile, *_: Any) -> None:
        raise RuntimeError("injected")

    monkeypatch.setattr(LogFile, "write", broken)
    async with supervisor(place, card("a", "echo one; echo two; exit 0"), card("b")) as found:
        await started(found, "a", "b")
        while found.table.get("a").state is not State.DONE:
            await found.bells.wait("a")
        await found.logs.of("a").box.wait_written(30)
        assert found.logs.of("a").dropped == {"internal error": 2}
        assert [line.text for line in found.logs.of("a").lines] == ["one", "two"]
        assert found.table.get("b").state is State.RUNNING


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM], ids=errno.errorcode.get)
@pytest.mark.parametrize("restart", RestartWhen)
async def test_a_machine_without_room_is_told_as_that(place: Path, number: int, restart: RestartWhen) -> None:
    keep = Supervision(restart=restart, initial=1000, max=1000)
    async with supervisor(place, card("bad", supervision=keep), error=OSError(number, os.strerror(number))) as found:
        (bad,) = await started(found, "bad")
        again = restart in (RestartWhen.ON_FAILURE, RestartWhen.ALWAYS)
        assert bad.state is (State.BACKOFF if again else State.FAILED)
        assert bad.failure is not None
        assert (bad.failure.reason, bad.failure.errno) == (FailureReason.RESOURCES, number)
        assert bad.failure.hint


@pytest.mark.parametrize(
    ("events", "killed"), [("oom 2\noom_kill 1\n", True), ("oom 2\noom_kill 0\n", False), ("", False)]
)
def test_the_kernel_tells_of_a_killing_for_want_of_memory(place: Path, events: str, killed: bool) -> None:
    (place / "group").mkdir()
    if events:
        (place / "group" / "memory.events").write_text(events)
    group = Cgroup(place / "group")
    life = Incarnation(id=1, label="a", pid=1, leader_pid=1)
    outcome = Outcome(life, Child(1, -1, -1, -1, None, None), group)  # type: ignore[arg-type]
    assert outcome.oom_killed is killed
    group.close()


async def test_a_service_that_the_kernel_killed_for_memory_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outcome, "oom_killed", True)
    async with supervisor(place, card("a", "kill -KILL $$"), card("b", "exit 1")) as found:
        for label in "ab":
            found.want(label, "test")
            while found.table.get(label).state is not State.FAILED:
                await found.bells.wait(label)
        reasons = [service.failure and service.failure.reason for service in found.table]
        assert reasons == [FailureReason.OOM_KILL, FailureReason.EXIT_CODE]
        assert found.table.get("a").last_exit == Exit("killed", signal.SIGKILL)
