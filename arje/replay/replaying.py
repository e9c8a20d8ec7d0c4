"""The host of a replay: what the world did then, at the same times by a virtual clock. It touches nothing of this one.

What was recorded is found by its name and its number, and comes when its time has come; a question that was put earlier
waits, one that was put later does not. What has no answer in the recording has none here either.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from arje.card import cache
from arje.card.card import Card
from arje.errors import SetupFailed
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.neighbours import Neighbours
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation, Step
from arje.kernel.memory import MemoryEvents
from arje.kernel.process import Process
from arje.replay.tape import Line, Recording, error_of
from arje.supervisor.host import Living, Unborn
from arje.supervisor.notify import Message, NotifySocket
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.servicelog import ServiceLog

Answer = TypeVar("Answer")
Key = tuple[str, int]


class ReplayingHost:
    """The world of a recording. ``over`` is set at its end: nobody waits for anything then."""

    def __init__(self, recording: Recording) -> None:
        self.over = trio.Event()
        self._base = float(recording.head["now"])
        self._offset = float(recording.head["wall"]) - self._base
        self._lines: dict[tuple[str, Key], Line] = {}
        for line in recording.lines:
            if "n" in line and line["is"] != "said":
                kind = "birth" if line["is"] in ("born", "unborn") else line["is"]
                self._lines[kind, (line["of"], line["n"])] = line
        self._said: dict[Key, list[Line]] = {}
        self._ours: set[tuple[str, int]] = set()
        for line in recording.of("said"):
            self._said.setdefault((line["of"], line["n"]), []).append(line)
            if line["ours"]:
                self._ours.add((line["of"], line["pid"]))
        self._zones = [line["zone"] for line in recording.of("zone")]
        self._zone: tzinfo | None = None
        self._machine = next((line["id"] for line in recording.of("machine")), "")
        self._counts: dict[tuple[str, str], int] = {}
        self._set = trio.Event()
        self._keys: dict[int, Key] = {}  # by the pid of the leader
        self._slots: dict[Key, ExitSlot] = {}
        self._early: dict[Key, Exit] = {}  # ends that came before their births
        self._nobody = 0

    def line(self, kind: str, key: Key) -> Line | None:
        """Return what the recording has of something."""
        return self._lines.get((kind, key))

    async def at(self, line: Line | None) -> None:
        """Wait until the time of a line; for ever for none. At the end of the replay nobody waits any more."""
        with trio.CancelScope(deadline=float("inf") if line is None else line["t"]):
            await self.over.wait()

    def is_ours(self, label: str, pid: int) -> bool:
        """Whether a sender was one of a service's processes."""
        return (label, pid) in self._ours

    def _next(self, kind: str, name: str) -> Key:
        number = self._counts.get((kind, name), 0)
        self._counts[kind, name] = number + 1
        return name, number

    # -- what happens by itself ----------------------------------------------------------------------------------------

    def exit(self, line: Line) -> None:
        """Let a process end."""
        key, end = (line["of"], line["n"]), Exit(*line["exit"])
        if (slot := self._slots.pop(key, None)) is not None:
            slot.set(end)
        else:
            self._early[key] = end

    def clock(self, line: Line) -> None:
        """Let somebody set the clock, or the zone."""
        self._offset = line["wall"]
        self._zone = None
        self._set.set()

    # -- clocks and lots -----------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time as it was then."""
        return self._base + trio.current_time()

    def wall(self) -> float:
        """Return the time as it was then."""
        return self._offset + self.now()

    def zone(self) -> tzinfo:
        """Return the zone of then."""
        if self._zone is None:
            self._zone = _zone(self._zones[0] if self._zones else "UTC")
            self._zones = self._zones[1:] or self._zones
        return self._zone

    async def clock_changed(self) -> None:
        """Wait until it was changed."""
        await self._set.wait()
        self._set = trio.Event()

    def machine_id(self) -> str:
        """Return that of the machine of then."""
        return self._machine

    def draw(self, what: str) -> float:
        """Draw what was drawn."""
        line = self.line("lot", self._next("lot", what))
        return float(line["value"]) if line else 0.0

    # -- incarnations --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def stdio(self, card: Card, log: ServiceLog, nursery: trio.Nursery) -> AsyncIterator[StdioFds]:
        """Open nothing."""
        await self._quietly(f"stdio of {card.label}")
        yield StdioFds(0, 1, 2)

    async def furnish(self, card: Card, given: Given = NOTHING) -> None:
        """Make nothing."""
        await self._quietly(f"furnishing of {card.label}")

    async def _quietly(self, what: str) -> None:
        if (line := self.line("answer", self._next("answer", what))) is not None:
            await self._answer(line)
        else:
            await trio.lowlevel.checkpoint()

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Unborn:
        """Begin what began then."""
        key = self._next("birth", card.label)
        line = self.line("birth", key)
        if line is not None and line["is"] == "unborn" and not line["begun"]:
            raise error_of(line["error"])
        self._nobody -= 1
        puppet = Puppet(self, key, line, self._nobody)
        self._keys[puppet.leader_pid] = key
        return puppet

    def expect(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        """Return where the end of then arrives."""
        key, slot = self._keys[pid], ExitSlot(ring)
        if (end := self._early.pop(key, None)) is not None:
            slot.set(end)
        else:
            self._slots[key] = slot
        return slot

    def forget(self, pid: int, slot: ExitSlot) -> None:
        """Expect it no more."""
        self._slots = {key: kept for key, kept in self._slots.items() if kept is not slot}

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        """Let another pid be the main one: what ends is known by its number anyway."""
        return None

    def kill(self, pid: int) -> None:
        """Kill nobody: what was killed ends when it ended then."""

    async def close(self, living: Living) -> str:
        """Wait until it was closed then. Raises what was raised then."""
        assert isinstance(living, Puppet)
        line = self.line("closed", living.key)
        await self.at(line)
        if line is not None and line.get("error"):
            raise error_of(line["error"])
        return str(line["way"]) if line else ""

    def notify_socket(self, label: str) -> NotifySocket:
        """Return a socket that says what was said then."""
        return cast(NotifySocket, ReplayedSocket(self, label, self._said.pop(self._next("socket", label), [])))

    # -- questions -----------------------------------------------------------------------------------------------------

    async def ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """Answer what was answered then."""
        return cast(Answer, await self._answer(self.line("answer", self._next("answer", what))))

    async def descriptor(self, what: str, make: Callable[[], int]) -> int:
        """Return one that is of nothing, when there was one. Raises what was raised then."""
        await self._answer(self.line("answer", self._next("answer", what)))
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def heed(self, what: str, wait: Callable[[], Awaitable[Answer]]) -> Answer:
        """Wait for what happened then."""
        return cast(Answer, await self._answer(self.line("answer", self._next("answer", what))))

    async def _answer(self, line: Line | None) -> Any:
        if line is None or line.get("cancelled"):
            await self.over.wait()
            await trio.sleep_forever()  # it is cancelled
        assert line is not None
        await self.at(line)
        if "error" in line:
            raise error_of(line["error"])
        return cache.decode(line.get("value"))

    # -- what no life depends on ---------------------------------------------------------------------------------------

    async def sweep(self) -> tuple[int, str]:
        """Kill nobody."""
        await trio.lowlevel.checkpoint()
        return 0, ""

    def introduce(self, neighbours: Neighbours) -> None:
        """Need nobody."""

    @property
    def incarnator(self) -> Incarnator:
        """There is none: what asks for it looks at the machine, and is no part of a replay."""
        raise NotImplementedError("a replay makes nothing of this machine")

    @property
    def orphans(self) -> int:
        """There are none."""
        return 0


class Puppet:
    """An incarnation that does what it did then, unborn and living. ``line`` is its birth, None for one too many."""

    def __init__(self, host: ReplayingHost, key: Key, line: Line | None, pid: int) -> None:
        self.key = key
        self.plan: Blueprint | None = None
        self.helper_pids: tuple[int, ...] = ()
        self.frozen = self.is_loose = False
        self.leader_pid = line["leader"] if line is not None and line["is"] == "born" else pid
        self.incarnation = Incarnation(id=0, label=key[0], pid=self.leader_pid, leader_pid=self.leader_pid)
        self._host = host
        self._line = line
        self._end = host.line("closed", key) or {}

    async def confirmed(self) -> None:
        """Wait until it was."""
        await self._host.at(self._line)

    def finish(self) -> Puppet:
        """Return itself. Raises what was raised then."""
        line = self._line
        if line is None:
            raise SetupFailed(self.key[0], Step.GATE, 0, "", "the replay is over")
        if line["is"] == "unborn":
            raise error_of(line["error"])
        words = {"pid": line["pid"], "setup_ms": line["ms"], "started": line["started"]}
        self.incarnation = replace(self.incarnation, **words, degradations=cache.decode(line["losses"]))
        return self

    async def abort(self) -> None:
        """There is nothing to clean up."""
        await trio.lowlevel.checkpoint()

    @property
    def oom_killed(self) -> bool:
        """Whether it was then."""
        return bool(self._end.get("oom"))

    def exit_of(self, leader: Exit) -> Exit:
        """Return how its payload ended then."""
        return Exit(*self._end["exit"]) if self._end.get("exit") else leader

    def signal_main(self, number: int) -> str:
        """Send nothing: it ends when it ended then."""
        return ""

    def kill_tree(self) -> str:
        """Kill nothing."""
        return "killed then"

    def thaw(self) -> None:
        """It is not frozen."""

    def owns(self, pid: int) -> bool:
        """Whether a message of this sender was the service's then."""
        return self._host.is_ours(self.key[0], pid)

    def follow(self, pid: int) -> None:
        """Let this be its main process."""
        self.incarnation = replace(self.incarnation, pid=pid)

    @property
    def main_fd(self) -> int:
        """It has none."""
        return -1

    def sweep(self) -> str:
        """Nothing is left of it."""
        return ""

    def close(self) -> None:
        """It holds nothing."""

    def close_at_once(self) -> bool:
        """It holds nothing."""
        return True

    def processes(self) -> tuple[Process, ...]:
        """It has none."""
        return ()

    def cgroup_file(self, name: str) -> str | None:
        """It has none."""
        return None

    def memory_events(self, most: int) -> MemoryEvents:
        """Nobody tells: what was told then is an answer."""
        raise FileNotFoundError(2, "a replay has no cgroups")

    def memory_used(self) -> int:
        """It uses none."""
        return 0


class ReplayedSocket:
    """What was heard on one notify socket. The last words of a service were there when it had ended."""

    def __init__(self, host: ReplayingHost, label: str, lines: list[Line]) -> None:
        self.path = Path("/replayed", label)
        self._host = host
        self._lines = lines

    async def receive(self) -> Message:
        """Wait until the next message came."""
        line = next((line for line in self._lines if not line["last"]), None)
        await self._host.at(line)
        if line is None or line not in self._lines:
            await trio.sleep_forever()  # it is cancelled
        assert line is not None
        self._lines.remove(line)
        return _message(line)

    def waiting(self) -> Iterator[Message]:
        """Yield what has arrived already."""
        found = [line for line in self._lines if line["last"] or line["t"] <= trio.current_time()]
        self._lines = [line for line in self._lines if line not in found]
        yield from map(_message, found)

    def close(self) -> None:
        """It is none."""


def _message(line: Line) -> Message:
    """A stranger's message is nobody's whatever runs on this machine: no process has uid -2."""
    return Message(line["data"].encode("latin-1"), line["pid"], line["uid"] if line["ours"] else -2)


def _zone(text: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    name, _, data = text.partition(":")
    if name == "base64" and data:
        return ZoneInfo.from_file(io.BytesIO(base64.b64decode(data)))
    return UTC if text == "UTC" else ZoneInfo(text)
