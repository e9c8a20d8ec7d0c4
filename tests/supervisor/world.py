"""A small world to be explored: a supervisor in a play whose every move is made by hand, and what must hold after each.

A move is a verb of the supervisor, what a process does, or ``tick``: the next thing that time brings. Two moves may be
made *together*: before any task has heard of the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from arje.card.card import Card
from arje.card.hooks import Hooks
from arje.card.payload import Virtual
from arje.card.supervision import Kind, RateLimit, RestartWhen, Supervision
from arje.errors import SetupFailed
from arje.incarnation import Exit, Step
from arje.service.record import FailureReason, Service
from arje.service.state import WITH_PROCESS, State
from arje.supervisor.birth import DYING
from arje.supervisor.logs import Logs
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import BAD, GOOD, KILL, Actor, Play, PlayedHost

Move = tuple[str, str]  # verb, label
HAND = Play(setup=inf, heeds=inf)
HARD = Play(setup=inf, heeds=inf, dies=inf)
#: Any wait of a world is over within this many seconds: set-up 30, stop 10, dying 5, back-off 8, and chains of those.
LONG = 1000.0
KEPT = Supervision(restart=RestartWhen.ALWAYS, initial=1, max=8, rate_limit=RateLimit(starts=0))


class Wrong(AssertionError):
    """Something that must hold does not."""


class World:
    """The supervisor, its play, and the moves."""

    def __init__(self, found: Supervisor, host: PlayedHost, clock: MockClock) -> None:
        self.found = found
        self.host = host
        self.clock = clock

    @property
    def labels(self) -> list[str]:
        return [service.label for service in self.found.table]

    # -- moves ---------------------------------------------------------------------------------------------------------

    def moves(self) -> list[Move]:
        """Return the moves that mean something now."""
        found: list[Move] = [(verb, label) for label in self.labels for verb in ("want", "unwant", "again")]
        for actor in self._alive():
            found += [(verb, actor.label) for verb in (("good", "bad") if actor.born else ("confirm", "break"))]
            if KILL in actor.heard:
                found.append(("die", actor.label))
        if self._next() < inf:
            found.append(("tick", ""))
        return found

    def _alive(self) -> list[Actor]:
        """Return every process, those of commands as well."""
        return [actor for actor in self.host.actors if not actor.ended.is_set()]

    @staticmethod
    def _next() -> float:
        return trio.lowlevel.current_statistics().seconds_to_next_deadline

    def move(self, move: Move) -> None:
        """Make a move. One that means nothing by now is none."""
        verb, label = move
        if verb == "tick":
            if (seconds := self._next()) < inf:
                self.clock.jump(max(seconds, 0.0))
        elif verb in ("want", "unwant", "again"):
            if label in self.found.table:
                getattr(self.found, verb)(label, "hand")
        else:
            for actor in self.host.alive(label):
                if verb == "die":
                    self.host.ended(actor, Exit("killed", KILL))
                elif verb == "confirm":
                    actor.confirm()
                elif verb == "break":
                    actor.confirm(SetupFailed(label, Step.EXEC, 2, "payload.exec"))
                elif actor.born:
                    self.host.ended(actor, GOOD if verb == "good" else BAD)

    async def quiet(self) -> None:
        """Let every task do what it can without time going on."""
        await wait_all_tasks_blocked()
        while self._next() <= 0:
            await wait_all_tasks_blocked()

    # -- what must hold ------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Raise Wrong when something does not hold in a quiet moment."""
        if self.host.wrong:
            raise Wrong(self.host.wrong)
        if self.host.lost:
            raise Wrong(f"an exit that nobody heard of: {self.host.lost}")
        for service in self.found.table:
            if why := self._wrong(service):
                raise Wrong(f"{service.label} is {service.state.value}: {why}")

    def _wrong(self, service: Service) -> str:
        label, state = service.label, service.state
        alive = [actor for actor in self.host.alive(label) if actor.born]
        virtual = isinstance(service.card.payload, Virtual)
        if service.failure is not None and service.failure.reason is FailureReason.INTERNAL:
            return "arje itself failed"
        if alive and state not in WITH_PROCESS:
            return "its process still runs"
        bodiless = virtual or service.card.supervision.kind is Kind.SCRIPTED
        if state is State.RUNNING and not alive and not bodiless:
            return "it has no process"
        if state is State.RUNNING and service.incarnation is None and not bodiless:
            return "its record has no incarnation"
        if (service.backoff_until is not None) is not (state is State.BACKOFF):
            return f"back-off until {service.backoff_until}"
        # Twice: a set-up is given as long before it is killed, and what had executed by then is stopped in its turn.
        stop = 2 * (service.card.supervision.stop_timeout + DYING)
        hooked = service.card.hooks != Hooks()
        if state is State.STOPPING and not hooked and not service.is_stuck and self.host.now() > service.since + stop:
            return f"for more than {stop:g} s"
        for rival in service.card.conflicts:
            if alive and any(actor.born for actor in self.host.alive(rival)):
                return f"it runs beside {rival}"
        requires = (*service.card.requires, *service.card.requisite)
        over = [name for name in requires if self._is_over(name, label)]
        if over and state is State.WAITING:
            return f"nothing more comes of {over}"
        lost = [name for name in requires if self._is_lost(name, label)]
        if lost and state in (State.STARTING, State.RUNNING):
            return f"it has lost {lost}"
        missing = [name for name in requires if not self._is_up(name, label)]
        if service.lacks_dependency and service.wanted and not missing and not self._breaks(service):
            return "what it had failed for is up again"
        return ""

    def _providers(self, name: str, asker: str) -> list[Service]:
        return [self.found.table.get(label) for label in self.found.graph.resolve(name, asker)]

    def _is_up(self, name: str, asker: str) -> bool:
        return any(
            provider.state in (State.RUNNING, State.RELOADING)
            or (provider.state is State.DONE and provider.card.supervision.kind is Kind.ONE_SHOT)
            for provider in self._providers(name, asker)
        )

    def _is_lost(self, name: str, asker: str) -> bool:
        """Whether nobody provides it, and nobody is on the way to: what is at rest is not."""
        rests = (State.FAILED, State.STOPPED, State.DONE)
        return not self._is_up(name, asker) and all(one.state in rests for one in self._providers(name, asker))

    def _is_over(self, name: str, asker: str) -> bool:
        ends = (State.FAILED, State.DONE)
        providers = self._providers(name, asker)
        return bool(providers) and not self._is_up(name, asker) and all(one.state in ends for one in providers)

    async def calm(self) -> None:
        """Let the world be kind for a long time: set-ups succeed, who is told to go goes. Then nothing is on its way."""
        end = trio.current_time() + LONG
        while True:
            for actor in self._alive():
                if not actor.born and KILL not in actor.heard:
                    actor.confirm()
                elif actor.heard or self._is_once(actor):
                    self.host.ended(actor, GOOD)
            await self.quiet()
            self.hold()
            if any(self._waits_for_us(actor) for actor in self._alive()):
                continue
            seconds = self._next()
            if trio.current_time() + seconds > end:
                break
            self.clock.jump(seconds)
        for service in self.found.table:
            if service.state in (State.STARTING, State.STOPPING, State.BACKOFF, State.RELOADING):
                raise Wrong(f"{service.label} is {service.state.value} for ever")
            if service.state is State.RUNNING and (broken := self._breaks(service)):
                raise Wrong(f"{service.label} runs for ever although too few are up: {broken}")
            if service.state is State.WAITING and self._could_start(service):
                raise Wrong(f"{service.label} waits for nothing")

    def _breaks(self, service: Service) -> list[str]:
        """Return the contracts of which too few are up."""
        return [
            str(contract)
            for contract in service.card.contracts
            if sum(self._is_up(name, service.label) for name in contract.of) < contract.at_least
        ]

    def _waits_for_us(self, actor: Actor) -> bool:
        return not actor.born or bool(actor.heard) or self._is_once(actor)

    def _is_once(self, actor: Actor) -> bool:
        """Whether it ends by itself, and well: a command does, and what has its work done then."""
        if ":" in actor.label:
            return True
        return self.found.table.get(actor.label).card.supervision.kind in (Kind.ONE_SHOT, Kind.SCRIPTED)

    def _could_start(self, service: Service) -> bool:
        """Whether all that a service requires is up, and nothing that it comes after is on its way."""
        needed = all(
            self._is_up(name, service.label)
            for name in (*service.card.requires, *service.card.requisite, *service.card.waits_for)
        )
        needed = needed and not self._breaks(service)
        coming = any(other.state in (State.STARTING, State.BACKOFF, State.STOPPING) for other in self.found.table)
        waits = any(other.state is State.WAITING and other is not service for other in self.found.table)
        return needed and not coming and not waits

    async def end(self) -> None:
        """Let all be stopped, by a kind world; nothing may be left."""
        done = trio.Event()

        async def stop() -> None:
            await self.found.stop_all("hand")
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await self.quiet()
            await self.calm()
            if not done.is_set():
                raise Wrong("the stop of all does not end")
        for service in self.found.table:
            if service.state not in (State.STOPPED, State.FAILED, State.DONE):
                raise Wrong(f"{service.label} is {service.state.value} after the end")
        if left := self._alive():
            raise Wrong(f"a process of {left[0].label} is left")

    def key(self) -> tuple[object, ...]:
        """Return what tells this moment from others: what may happen from here depends on nothing else."""
        found = []
        for service in self.found.table:
            actors = [(actor.born, KILL in actor.heard, bool(actor.heard)) for actor in self.host.alive(service.label)]
            reason = service.failure.reason.value if service.failure else ""
            found.append((service.state, service.wanted, service.is_stuck, reason, tuple(actors)))
        commands = tuple(
            (actor.label, actor.born, KILL in actor.heard) for actor in self._alive() if ":" in actor.label
        )
        return (*found, commands)


@asynccontextmanager
async def world(directory: Path, cards: Sequence[Card], clock: MockClock, play: Play = HAND) -> AsyncIterator[World]:
    """Make a world. What is left of it at the end is thrown away."""
    host = PlayedHost(default=play)
    found = Supervisor(host, Logs(directory), directory / "state")
    async with trio.open_nursery() as nursery, host.running():
        await nursery.start(found.run)
        found.set_cards(list(cards), "test")
        yield World(found, host, clock)
        nursery.cancel_scope.cancel()
        host.nursery.cancel_scope.cancel()


def run(
    directory: Path, cards: Sequence[Card], path: Sequence[tuple[Move, ...]], does: Play = HAND
) -> tuple[tuple[object, ...], list[Move]]:
    """Make these moves, those of one tuple together; return the moment that they lead to and the moves from there.

    Raises Wrong, with the moves, when something does not hold there, in a kind world that goes on from there, or after
    the end of it.
    """

    async def play() -> tuple[tuple[object, ...], list[Move]]:
        async with world(directory, cards, clock, does) as here:
            for moves in path:
                for move in moves:
                    here.move(move)
                await here.quiet()
            here.hold()
            result = here.key(), here.moves()
            await here.calm()
            await here.end()
        return result

    clock = MockClock()
    trio._core._run._r.seed(len(path))  # type: ignore[attr-defined] # the order of tasks is a draw of lots (trio)
    try:
        return trio.run(play, clock=clock)
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        raise Wrong(f"{inner}: after {' '.join('+'.join(':'.join(m) for m in moves) for moves in path)}") from group
