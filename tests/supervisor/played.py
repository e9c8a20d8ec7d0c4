"""A host that plays the world: processes that end, ignore and hang as a test writes it, in the virtual time of trio."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from math import inf
from pathlib import Path
from typing import Any

import trio

from arje.card.card import Card
from arje.card.payload import Native
from arje.errors import SetupFailed
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.neighbours import Neighbours
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation, Step
from arje.kernel.memory import MemoryEvents
from arje.kernel.process import Process
from arje.service.calendar import zone_of
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor.logs import Logs
from arje.supervisor.notify import Message, NotifySocket
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.servicelog import ServiceLog
from arje.supervisor.supervisor import Supervisor

KILL = 9
GOOD = Exit("exited", 0)
BAD = Exit("exited", 1)
EPOCH = 1_000_000.0  # what the wall clock of a play says at its beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What one incarnation does. Times are in seconds; ``inf`` is never."""

    stdio: float = 0.0
    """Until its files are open."""
    refused: Exception | None = None
    """What its start raises."""
    setup: float = 0.0
    """Until its exec is confirmed."""
    broken: Exception | None = None
    """How its set-up ends, instead of a confirmed exec."""
    runs: float = inf
    """From its exec to the end that it makes by itself."""
    exit: Exit = GOOD
    """That end."""
    heeds: float = 0.0
    """From a signal to its end."""
    dies: float = 0.0
    """From KILL to its end."""
    deaf: str = ""
    """Why it cannot be signalled."""
    closes: float = 0.0
    """Until what it left behind is gone."""


class Actor:
    """A process of a play: unborn, then living."""

    def __init__(self, host: PlayedHost, label: str, play: Play, pid: int) -> None:
        self._host = host
        self._play = play
        self.label = label
        self.leader_pid = pid
        self.plan = None
        self.helper_pids: tuple[int, ...] = ()
        self.incarnation = Incarnation(id=pid, label=label, pid=pid, leader_pid=pid)
        self.ended = trio.Event()
        self._moved = trio.Event()  # ended, or confirmed by hand
        self._broken = play.broken
        self.born = False
        self.heard: list[int] = []
        self.frozen = self.oom_killed = self.is_loose = False
        self.closed = False
        self.memory = 0

    # -- unborn --------------------------------------------------------------------------------------------------------

    async def confirmed(self) -> None:
        with trio.move_on_after(self._play.setup):
            await self._moved.wait()

    def finish(self) -> Actor:
        if self._broken is not None or self.ended.is_set():
            self._host.reap(self)
            raise self._broken or SetupFailed(self.label, Step.GATE, 0, "", "it was killed during its set-up")
        self.incarnation = Incarnation(
            id=self.leader_pid,
            label=self.label,
            pid=self.leader_pid,
            leader_pid=self.leader_pid,
            started=trio.current_time(),
        )
        self.born = True
        self.end_in(self._play.runs, self._play.exit)
        return self

    def confirm(self, broken: Exception | None = None) -> None:
        """Let its set-up be over, well or not, although its play says never."""
        self._broken = broken
        self._moved.set()

    async def abort(self) -> None:
        await trio.lowlevel.checkpoint()
        self._host.reap(self)

    # -- living --------------------------------------------------------------------------------------------------------

    def exit_of(self, leader: Exit) -> Exit:
        return leader

    def signal_main(self, number: int) -> str:
        if self._play.deaf:
            return self._play.deaf
        self.heard.append(number)
        self.end_in(self._play.dies if number == KILL else self._play.heeds, Exit("killed", number))
        return ""

    def kill_tree(self) -> str:
        return self.signal_main(KILL) or "cgroup.kill"

    def thaw(self) -> None:
        self.frozen = False

    def owns(self, pid: int) -> bool:
        return pid == self.leader_pid

    def follow(self, pid: int) -> None:
        raise ValueError("a play has one process")

    @property
    def main_fd(self) -> int:
        return -1

    def sweep(self) -> str:
        return ""

    def close(self) -> None:
        self.closed = True

    def close_at_once(self) -> bool:
        self.close()
        return True

    def processes(self) -> tuple[Process, ...]:
        return ()

    def cgroup_file(self, name: str) -> str | None:
        return None

    def memory_events(self, most: int) -> MemoryEvents:
        raise FileNotFoundError(2, "a play has no cgroups")

    def memory_used(self) -> int:
        return self.memory

    # -- the play ------------------------------------------------------------------------------------------------------

    def end_in(self, seconds: float, exit: Exit) -> None:
        """Let it end so, unless it has ended before."""
        if seconds < inf and not self.ended.is_set():
            self._host.nursery.start_soon(self._end, seconds, exit)

    def end(self) -> None:
        self.ended.set()
        self._moved.set()

    async def _end(self, seconds: float, exit: Exit) -> None:
        with trio.move_on_after(seconds):
            await self.ended.wait()
        if not self.ended.is_set():
            self._host.ended(self, exit)


class Nothing:
    """The isolation of a play: none."""

    def recheck(self) -> tuple[str, ...]:
        return ()


class PlayedSocket:
    """A service's notify socket: what :meth:`say` says is heard as its main process's."""

    def __init__(self, label: str) -> None:
        self.path = Path("/played", label)
        self._send, self._receive = trio.open_memory_channel[Message](100)

    def say(self, text: str, pid: int) -> None:
        self._send.send_nowait(Message(text.encode(), pid, 0))

    async def receive(self) -> Message:
        return await self._receive.receive()

    def waiting(self) -> Iterator[Message]:
        while True:
            try:
                yield self._receive.receive_nowait()
            except trio.WouldBlock:
                return

    def close(self) -> None:
        self._send.close()


@dataclass(slots=True)
class PlayedHost:
    """The world of a play. ``plays`` holds a service's incarnations in their order; the last of them goes on for ever."""

    plays: dict[str, Sequence[Play]] = field(default_factory=dict)
    default: Play = field(default_factory=Play)
    paths: set[str] = field(default_factory=set)
    actors: list[Actor] = field(default_factory=list)
    slots: dict[int, ExitSlot] = field(default_factory=dict)
    lost: list[tuple[str, Exit]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sockets: dict[str, PlayedSocket] = field(default_factory=dict)
    orphans: int = 0
    dead: bool = False  # whether questions hang
    epoch: float = EPOCH
    looks: int = 0  # at the time zone: one for each look at a calendar
    zone_name: str = "UTC"
    _clock_set: trio.Event = field(default_factory=trio.Event)
    _nursery: trio.Nursery | None = None
    _pids: Any = field(default_factory=lambda: itertools.count(100))
    _begun: dict[str, int] = field(default_factory=dict)

    @property
    def nursery(self) -> trio.Nursery:
        assert self._nursery is not None
        return self._nursery

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self._nursery:
            yield
            self._nursery.cancel_scope.cancel()

    def of(self, label: str) -> list[Actor]:
        """Return the incarnations of a service, oldest first."""
        return [actor for actor in self.actors if actor.label == label]

    def next_of(self, label: str) -> Play:
        """Return what the next incarnation of a service does."""
        plays = self.plays.get(label, (self.default,))
        return plays[min(self._begun.get(label, 0), len(plays) - 1)]

    def alive(self, label: str) -> list[Actor]:
        return [actor for actor in self.of(label) if not actor.ended.is_set()]

    def ended(self, actor: Actor, exit: Exit) -> None:
        actor.end()
        slot = self.slots.pop(actor.leader_pid, None)
        if slot is None:
            self.lost.append((actor.label, exit))
        else:
            slot.set(exit)

    def reap(self, actor: Actor) -> None:
        """Somebody else than the reaper waits for a child: as a set-up that failed does."""
        actor.end()

    # -- the verbs -----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return self.epoch + trio.current_time()

    def zone(self) -> tzinfo:
        self.looks += 1
        return zone_of(self.zone_name)

    async def clock_changed(self) -> None:
        await self._clock_set.wait()
        self._clock_set = trio.Event()

    def machine_id(self) -> str:
        return "played"

    def set_clock(self, wall: float) -> None:
        """Let somebody set the wall clock."""
        self.epoch = wall - trio.current_time()
        self._clock_set.set()

    @asynccontextmanager
    async def stdio(self, card: Card, log: ServiceLog, nursery: trio.Nursery) -> AsyncIterator[StdioFds]:
        if seconds := self.next_of(card.label).stdio:
            await trio.sleep(seconds)
        yield StdioFds(0, 1, 2)

    async def furnish(self, card: Card, given: Given = NOTHING) -> None:
        """Nothing of a play lies on a disk."""

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Actor:
        play = self.next_of(card.label)
        self._begun[card.label] = self._begun.get(card.label, 0) + 1
        if any(actor.born or KILL not in actor.heard for actor in self.alive(card.label)):  # who is not runs nothing
            self.wrong.append(f"two incarnations of {card.label} at once")
        if play.refused is not None:
            raise play.refused
        actor = Actor(self, card.label, play, next(self._pids))
        self.actors.append(actor)
        return actor

    def expect(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        slot = self.slots[pid] = ExitSlot(ring)
        return slot

    def forget(self, pid: int, slot: ExitSlot) -> None:
        if self.slots.get(pid) is slot:
            del self.slots[pid]

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        return None

    def notify_socket(self, label: str) -> NotifySocket:
        socket = self.sockets[label] = PlayedSocket(label)
        return socket  # type: ignore[return-value]  # it has all that a voice asks of one

    def kill(self, pid: int) -> None:
        for actor in self.actors:
            if actor.leader_pid == pid:
                actor.kill_tree()

    async def close(self, living: Any) -> str:
        if seconds := living._play.closes:
            await trio.sleep(seconds)
        living.close()
        return ""

    async def ask(self, what: str, question: Callable[[], Any]) -> Any:
        if self.dead:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        verb, _, path = what.partition(" ")
        return path in self.paths if verb == "only_if_exists" else question()

    async def descriptor(self, what: str, make: Callable[[], int]) -> int:
        return int(await self.ask(what, make))

    async def heed(self, what: str, wait: Callable[[], Awaitable[Any]]) -> Any:
        return await wait()

    def draw(self, what: str) -> float:
        return random.random()

    async def sweep(self) -> tuple[int, str]:
        await trio.lowlevel.checkpoint()
        return 0, ""

    def introduce(self, neighbours: Neighbours) -> None:
        pass

    @property
    def incarnator(self) -> Incarnator:
        return Nothing()  # type: ignore[return-value] # what a reload asks of it, and nothing more


def card(label: str, **more: Any) -> Card:
    return Card(label=label, payload=Native(exec="/played"), **more)


@asynccontextmanager
async def playing(
    directory: Path, *cards: Card, **plays: Play | Sequence[Play]
) -> AsyncIterator[tuple[Supervisor, PlayedHost]]:
    """A supervisor of these cards in a play. At its end it stops all, within virtual hours, and nothing may be left."""
    host = PlayedHost({label: (play,) if isinstance(play, Play) else play for label, play in plays.items()})
    logs = Logs(directory / "logs")
    found = Supervisor(host, logs, directory / "state")
    async with trio.open_nursery() as nursery, host.running():
        await nursery.start(found.run)
        found.set_cards(list(cards), "test")
        yield found, host
        with trio.fail_after(3600):
            await found.stop_all("test")
        assert not host.lost
        assert not host.wrong
        assert not found.outcomes
        assert not found.pendings
        nursery.cancel_scope.cancel()
    logs.close()


async def reach(found: Supervisor, label: str, state: State) -> Service:
    """Wait until a service is in a state, at most a virtual day."""
    with trio.fail_after(86400):
        while (service := found.table.get(label)).state is not state:
            await found.bells.wait(label)
    return service


def times(found: Supervisor, label: str, state: State) -> list[float]:
    """Return when a service came into a state, as its history has it."""
    return [why.at for entered, why in found.table.get(label).history if entered is state]
