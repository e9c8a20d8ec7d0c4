"""The host that is recorded: it passes everything on, and writes down what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from arje.card import cache
from arje.card.card import Card
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.neighbours import Neighbours
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit
from arje.replay.recorder import Recorder, Steps, zone_text
from arje.replay.tape import error_line
from arje.supervisor.host import Host, Living, Unborn
from arje.supervisor.logs import Logs
from arje.supervisor.notify import Message, NotifySocket
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.servicelog import ServiceLog
from arje.supervisor.supervisor import Supervisor
from arje.supervisor.voice import is_of

Answer = TypeVar("Answer")
Key = tuple[str, int]  # a label, and the number of its incarnation


@contextmanager
def recorded(file: Path, host: Host, logs: Logs, state_dir: Path) -> Iterator[tuple[Supervisor, Steps]]:
    """Make a supervisor of which every input is written to a file, and an instrument for its run. Raises OSError."""
    recorder = Recorder(file)
    try:
        supervisor = Supervisor(RecordingHost(host, recorder), logs, state_dir)
        recorder.listen(supervisor)
        yield supervisor, recorder.steps
    finally:
        recorder.close()


class RecordingHost:
    """A host, recorded by ``recorder``."""

    def __init__(self, host: Host, recorder: Recorder) -> None:
        self._host = host
        self._recorder = recorder
        self._keys: dict[int, Key] = {}  # by the pid of the leader
        self._exits: dict[Key, Exit] = {}
        self._living: dict[str, Living] = {}
        self._zone: tzinfo | None = None
        self._machine = ""
        recorder.begin(host)

    # -- clocks and lots -----------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the host's."""
        return self._host.now()

    def wall(self) -> float:
        """Return the host's; it follows from now, until it is set."""
        return self._host.wall()

    def zone(self) -> tzinfo:
        """Return the host's."""
        found = self._host.zone()
        if found is not self._zone:
            self._zone = found
            self._recorder.line("zone", zone=zone_text(found))
        return found

    async def clock_changed(self) -> None:
        """Wait for the host."""
        await self._host.clock_changed()
        self._zone = None
        self._recorder.line("clock", wall=self._host.wall() - self._host.now())

    def machine_id(self) -> str:
        """Return the host's."""
        found = self._host.machine_id()
        if found != self._machine:
            self._machine = found
            self._recorder.line("machine", id=found)
        return found

    def draw(self, what: str) -> float:
        """Let the host draw."""
        value = self._host.draw(what)
        self._recorder.line("lot", of=what, n=self._recorder.number("lot", what), value=value)
        return value

    # -- incarnations --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def stdio(self, card: Card, log: ServiceLog, nursery: trio.Nursery) -> AsyncIterator[StdioFds]:
        """Let the host open it; what fails, and what is given up, is written down."""
        opened = self._host.stdio(card, log, nursery)
        found = await self._told(f"stdio of {card.label}", opened.__aenter__, quiet=True)
        async with _Entered(opened, found):
            yield found

    async def furnish(self, card: Card, given: Given = NOTHING) -> None:
        """Let the host do it; what fails, and what is given up, is written down."""
        await self._told(f"furnishing of {card.label}", lambda: self._host.furnish(card, given), quiet=True)

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Unborn:
        """Let the host begin."""
        key = card.label, self._recorder.number("birth", card.label)
        try:
            unborn = self._host.begin(card, stdio, given)
        except Exception as error:
            self._recorder.line("unborn", of=key[0], n=key[1], begun=False, error=error_line(error))
            raise
        self._keys[unborn.leader_pid] = key
        return RecordedUnborn(unborn, key, self._recorder, self._living)

    def expect(self, pid: int, ring: Callable[[], None]) -> ExitSlot:
        """Let the host tell, and hear it first."""
        key = self._keys.get(pid)

        def heard() -> None:
            if key is not None and slot.exit is not None:
                self._exits[key] = slot.exit
                self._recorder.line("exit", of=key[0], n=key[1], exit=[slot.exit.kind, slot.exit.code])
            ring()

        slot = self._host.expect(pid, heard)
        return slot

    def forget(self, pid: int, slot: ExitSlot) -> None:
        """Tell the host."""
        self._host.forget(pid, slot)

    def transfer(self, old: int, new: int) -> ExitSlot | None:
        """Tell the host."""
        return self._host.transfer(old, new)

    def kill(self, pid: int) -> None:
        """Tell the host."""
        self._host.kill(pid)

    async def close(self, living: Living) -> str:
        """Let the host do it, and write down what it was that has ended."""
        key = self._keys.pop(living.incarnation.leader_pid, (living.incarnation.label, -1))
        leader = self._exits.pop(key, None)
        payload = living.exit_of(leader) if leader else None
        words = {
            "of": key[0],
            "n": key[1],
            "oom": living.oom_killed,
            "exit": [payload.kind, payload.code] if payload and payload != leader else None,
        }
        if self._living.get(key[0]) is living:
            del self._living[key[0]]
        try:
            way = await self._host.close(living)
        except OSError as error:
            self._recorder.line("closed", **words, error=error_line(error))
            raise
        self._recorder.line("closed", **words, way=way)
        return way

    def notify_socket(self, label: str) -> NotifySocket:
        """Return the host's, whose messages are written down."""
        made = self._host.notify_socket(label)
        number = self._recorder.number("socket", label)
        return cast(NotifySocket, RecordedSocket(made, label, number, self._recorder, self._living))

    # -- questions -----------------------------------------------------------------------------------------------------

    async def ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """Let the host ask."""
        return await self._told(what, lambda: self._host.ask(what, question))

    async def descriptor(self, what: str, make: Callable[[], int]) -> int:
        """Let the host make it; its number is of no use to anybody else."""
        made: list[int] = []

        async def answer() -> None:
            made.append(await self._host.descriptor(what, make))

        await self._told(what, answer)
        return made[0]

    async def heed(self, what: str, wait: Callable[[], Awaitable[Answer]]) -> Answer:
        """Let the host wait."""
        return await self._told(what, lambda: self._host.heed(what, wait))

    async def _told(self, what: str, answer: Callable[[], Awaitable[Answer]], *, quiet: bool = False) -> Answer:
        """Write down an answer with its name and number; a ``quiet`` one only when it is an error, or never came."""
        number = self._recorder.number("answer", what)
        try:
            found = await answer()
        except trio.Cancelled:
            self._recorder.line("answer", of=what, n=number, cancelled=True)
            raise
        except Exception as error:
            self._recorder.line("answer", of=what, n=number, error=error_line(error))
            raise
        if not quiet:
            self._recorder.line("answer", of=what, n=number, value=_plain(found))
        return found

    # -- what no life depends on ---------------------------------------------------------------------------------------

    async def sweep(self) -> tuple[int, str]:
        """Let the host do it."""
        return await self._host.sweep()

    def introduce(self, neighbours: Neighbours) -> None:
        """Tell the host."""
        self._host.introduce(neighbours)

    @property
    def incarnator(self) -> Incarnator:
        """The host's."""
        return self._host.incarnator

    @property
    def orphans(self) -> int:
        """The host's."""
        return self._host.orphans


def _plain(value: Any) -> Any:
    """Return an answer as data; None for what only this machine has: descriptors, watches, the contents of files."""
    try:
        return cache.encode(value)
    except TypeError:
        return None


class _Entered:
    """A context that has been entered already."""

    def __init__(self, context: AbstractAsyncContextManager[StdioFds], found: StdioFds) -> None:
        self._context = context
        self._found = found

    async def __aenter__(self) -> StdioFds:
        return self._found

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._context.__aexit__(*error)


class RecordedUnborn:
    """An incarnation whose confirmation is written down."""

    def __init__(self, unborn: Unborn, key: Key, recorder: Recorder, living: dict[str, Living]) -> None:
        self._unborn = unborn
        self._key = key
        self._recorder = recorder
        self._living = living

    @property
    def leader_pid(self) -> int:
        """The host's."""
        return self._unborn.leader_pid

    @property
    def helper_pids(self) -> tuple[int, ...]:
        """The host's."""
        return self._unborn.helper_pids

    async def confirmed(self) -> None:
        """Wait for the host."""
        await self._unborn.confirmed()

    def finish(self) -> Living:
        """Let the host finish it."""
        label, number = self._key
        try:
            living = self._unborn.finish()
        except Exception as error:
            self._recorder.line("unborn", of=label, n=number, begun=True, error=error_line(error))
            raise
        self._living[label] = living
        one = living.incarnation
        pids = {"pid": one.pid, "leader": one.leader_pid, "ms": one.setup_ms, "started": one.started}
        self._recorder.line("born", of=label, n=number, **pids, losses=cache.encode(one.degradations))
        return living

    async def abort(self) -> None:
        """Let the host do it."""
        await self._unborn.abort()


class RecordedSocket:
    """A notify socket whose messages are written down, with what the kernel says of their senders."""

    def __init__(
        self, inner: NotifySocket, label: str, number: int, recorder: Recorder, living: dict[str, Living]
    ) -> None:
        self.path = inner.path
        self._inner = inner
        self._label = label
        self._number = number
        self._recorder = recorder
        self._living = living

    async def receive(self) -> Message:
        """Wait for the next one."""
        message = await self._inner.receive()
        self._heard(message, last=False)
        return message

    def waiting(self) -> Iterator[Message]:
        """Yield what has arrived already."""
        for message in self._inner.waiting():
            self._heard(message, last=True)
            yield message

    def _heard(self, message: Message, *, last: bool) -> None:
        living = self._living.get(self._label)
        ours = living is not None and message.pid > 0 and is_of(living, message)
        words = {"data": message.data.decode("latin-1"), "pid": message.pid, "uid": message.uid, "ours": ours}
        self._recorder.line("said", of=self._label, n=self._number, **words, last=last)
        if b"MAINPID=" in message.data and living and living.incarnation.pid != living.incarnation.leader_pid:
            self._recorder.without(self._label, "it names its main process by a number of its own pid namespace")

    def close(self) -> None:
        """Close it."""
        self._inner.close()
