"""A recording played: the same supervisor in the world of then, in virtual time, and what becomes of its services now.

The clock stands still between two lines, so that what was due is late as it was late then: what a busy manager saw first
is seen first. Two things are in no recording. The order in which trio runs the tasks of one batch is a draw of lots: a
replay looks for one that leads to the same. And nothing happens between two lines here, so that causes
are compared without their seconds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import wait_all_tasks_blocked

from arje.card import cache
from arje.card.card import Card
from arje.errors import ArjeError
from arje.replay.recorder import without_unheard
from arje.replay.replaying import ReplayingHost
from arje.replay.tape import Line, NotARecording, Recording
from arje.service.record import Service, StateCause
from arje.service.state import Event
from arje.supervisor.logs import Logs
from arje.supervisor.supervisor import Supervisor

_TRIES: Final = 40  # orders of tasks
_NEAR: Final = 0.05  # seconds from a difference to the inputs that it may come from
_INPUTS: Final = frozenset({"verb", "exit", "clock"})
_LATE: Final = 0.25  # seconds that a busy manager may be late
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?(?= (?:ms|s)\b)")
_LONG: Final = 1e6  # seconds
_MEANINGLESS: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_EDGES: Final = (
    *("on_failure", "on_success", "requires", "requisite", "wants", "waits_for", "after", "before", "conflicts"),
    *("part_of", "required_by", "wanted_by"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a service's state: when (seconds from the start), from what to what, by whom and why."""

    t: float
    old: str
    new: str
    who: str
    why: str

    def is_as(self, other: Change) -> bool:
        """Whether it is the same change, at whatever time."""
        return (self.old, self.new, self.who) == (other.old, other.new, other.who) and (
            _SECONDS.sub("#", self.why) == _SECONDS.sub("#", other.why)
        )

    def __str__(self) -> str:
        return f"{self.t:.3f} s {self.old} → {self.new} ({self.who}{': ' if self.why else ''}{self.why})"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first change in which a service differs; None where one of the two has no further change."""

    label: str
    number: int
    expected: Change | None
    got: Change | None

    @property
    def t(self) -> float:
        """When it differs."""
        return min(change.t for change in (self.expected, self.got) if change is not None)

    def __str__(self) -> str:
        return f"{self.label}: change {self.number}: expected {self.expected or 'none'}, got {self.got or 'none'}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a replay has shown. ``left_out``: label → why a service was not compared."""

    differences: tuple[Difference, ...]
    services: int
    changes: int
    left_out: dict[str, str] = field(default_factory=dict)


def replay(recording: Recording) -> Result:
    """Play a recording, and compare. Raises NotARecording when something in it means nothing."""
    try:
        expected = _by_label((line["of"], _change(line)) for line in recording.of("became"))
        left_out = _left_out(recording)
    except _MEANINGLESS as error:
        raise NotARecording(f"a line of it means nothing: {error!r}") from error
    best = _Search(recording, expected, left_out).best()
    labels = expected.keys() - left_out.keys()
    return Result(best, len(labels), sum(len(expected[label]) for label in labels), left_out)


class _Search:
    """The search for an order of tasks that leads to the same. Inputs that came close together may have come before tasks
    had heard of the one before: near the first difference it is tried how many turns of the loop lie between them."""

    def __init__(self, recording: Recording, expected: dict[str, list[Change]], left_out: dict[str, str]) -> None:
        self._recording = recording
        self._expected = expected
        self._left_out = left_out
        self._tries = _TRIES

    def best(self) -> tuple[Difference, ...]:
        """Return the differences that no order avoids that was tried."""
        turns: dict[int, int] = {}
        found = self._play(turns)
        while found and (better := self._better(turns, found)) is not None:
            turns, found = better
        return found

    def _better(
        self, turns: dict[int, int], found: tuple[Difference, ...]
    ) -> tuple[dict[int, int], tuple[Difference, ...]] | None:
        """Return an order with which the first difference is later, or none."""
        for step in self._near(found[0].t):
            for count in (1, 2, 3, 0):
                if self._tries <= 0:
                    return None
                other = turns | {step: count}
                if other != turns and (not (got := self._play(other)) or got[0].t > found[0].t):
                    return other, got
        return None

    def _near(self, t: float) -> list[int]:
        """Return the steps of inputs near a time, the nearest first."""
        inputs = [line for line in self._recording.lines if line["is"] in _INPUTS and abs(line["t"] - t) < _NEAR]
        return list(dict.fromkeys(line["step"] for line in sorted(inputs, key=lambda line: abs(line["t"] - t))))

    def _play(self, turns: dict[int, int]) -> tuple[Difference, ...]:
        self._tries -= 1
        try:
            got = _play(self._recording, turns)
        except* _MEANINGLESS as group:
            raise NotARecording(f"a line of it means nothing: {_first(group)!r}") from None
        return tuple(_compare(self._recording, self._expected, got, self._left_out))


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _change(line: Line) -> Change:
    return Change(line["t"], line["old"], line["new"], line["who"], line["why"])


def _by_label(found: Iterator[tuple[str, Change]]) -> dict[str, list[Change]]:
    made: dict[str, list[Change]] = {}
    for label, change in found:
        made.setdefault(label, []).append(change)
    return made


def _compare(
    recording: Recording, expected: dict[str, list[Change]], got: dict[str, list[Change]], left_out: dict[str, str]
) -> Iterator[Difference]:
    """Yield the first difference of each service, the earliest first."""
    found = []
    for label in sorted(expected.keys() | got.keys()):
        if label in left_out:
            continue
        pairs = zip_longest(expected.get(label, ()), got.get(label, ()))
        for number, (one, other) in enumerate(pairs, 1):
            if one is None and other is not None and recording.end != "" and other.t > recording.length - _LATE:
                break  # it may have happened, and was not written any more
            if one is None or other is None or not one.is_as(other):
                found.append(Difference(label, number, one, other))
                break
    yield from sorted(found, key=lambda each: each.t)


# -- who is left out ---------------------------------------------------------------------------------------------------


def _left_out(recording: Recording) -> dict[str, str]:
    """Return the services of which not every input is known, and those that have to do with them."""
    found = {line["of"]: line["why"] for line in recording.of("without")}
    near: dict[str, set[str]] = {}
    owners: dict[str, set[str]] = {}
    for card in recording.cards.values():
        for name in (card.label, *card.provides):
            owners.setdefault(name, set()).add(card.label)
    for card in recording.cards.values():
        for other in (other for name in _named(card) for other in owners.get(name, ())):
            near.setdefault(card.label, set()).add(other)
            near.setdefault(other, set()).add(card.label)
    queue = sorted(found)
    for label in queue:  # it grows
        for other in sorted(near.get(label, ())):
            if other not in found:
                found[other] = f"it has to do with {label}"
                queue.append(other)
    return found


def _named(card: Card) -> set[str]:
    """Return whom a card names."""
    edges = {name for edge in _EDGES for name in getattr(card, edge)}
    contracts = {name for contract in card.contracts for name in contract.of}
    return {*edges, *contracts, *([card.log.to] if card.log.to else [])}


# -- playing -----------------------------------------------------------------------------------------------------------


class Standing(trio.abc.Clock):
    """A clock that stands still until somebody sets ``time``."""

    def __init__(self) -> None:
        self.time = 0.0

    def start_clock(self) -> None:
        """Begin at 0."""

    def current_time(self) -> float:
        """Return the time that was set."""
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Sleep until it is set to another one."""
        return 0.0 if deadline <= self.time else _LONG


def _play(recording: Recording, turns: dict[int, int]) -> dict[str, list[Change]]:
    """Play once. ``turns``: how many turns of the loop lie before a step, for those that come before all tasks wait."""
    clock = Standing()
    loop: Any = trio._core._run
    loop._r.seed(0)  # the order of tasks is a draw of lots (trio)
    before, loop._ALLOW_DETERMINISTIC_SCHEDULING = loop._ALLOW_DETERMINISTIC_SCHEDULING, True
    try:
        return trio.run(_world, recording, clock, turns, clock=clock)
    finally:
        loop._ALLOW_DETERMINISTIC_SCHEDULING = before


class _Unwritten(Logs):
    """Logs of services that say nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/"))  # it is there, and files are made by the first line only


async def _world(recording: Recording, clock: Standing, turns: dict[int, int]) -> dict[str, list[Change]]:
    host = ReplayingHost(recording)
    supervisor = Supervisor(host, _Unwritten(), Path("/replayed"))
    got: dict[str, list[Change]] = {}

    def changed(old: Service, new: Service) -> None:
        if old.state is not new.state and not host.over.is_set():
            cause = new.cause
            change = Change(trio.current_time(), old.state.value, new.state.value, cause.who, cause.detail)
            got.setdefault(new.label, []).append(change)

    supervisor.table.subscribe(changed)
    _be_late(recording, supervisor, got)
    async with trio.open_nursery() as outer:
        outer.start_soon(_end, host, clock)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for step, moment in groupby(recording.lines, key=lambda line: line["step"]):
                if step not in turns:
                    await wait_all_tasks_blocked()
                for _ in range(turns.get(step, 0)):
                    await trio.lowlevel.checkpoint()
                for line in moment:
                    clock.time = max(clock.time, line["t"])
                    _give(recording, supervisor, host, nursery, line)
            await wait_all_tasks_blocked()
            host.over.set()
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    return got


def _be_late(recording: Recording, supervisor: Supervisor, got: dict[str, list[Change]]) -> None:
    """Let changes have the times that they had then: a busy manager came to them a moment after it could have."""
    expected = _by_label((line["of"], _change(line)) for line in recording.of("became"))
    fire, base = supervisor.table.fire, float(recording.head["now"])

    def fire_late(label: str, event: Event, cause: StateCause, **changes: Any) -> Service:
        number = len(got.get(label, ()))
        if number < len(known := expected.get(label, [])):
            late = base + known[number].t - cause.at
            if 0 < late < _LATE and known[number].who == cause.who:
                cause = replace(cause, at=cause.at + late, wall=cause.wall + late)
        return fire(label, event, cause, **changes)

    supervisor.table.fire = fire_late  # type: ignore[method-assign] # of this table alone, and of no other


async def _end(host: ReplayingHost, clock: Standing) -> None:
    """Let what cannot be cancelled at once be over by its own time, at the end."""
    await host.over.wait()
    while True:
        await wait_all_tasks_blocked()
        clock.time += _LONG


def _give(recording: Recording, supervisor: Supervisor, host: ReplayingHost, nursery: trio.Nursery, line: Line) -> None:
    """Let one input arrive; what has been asked for comes by itself."""
    if line["is"] == "exit":
        host.exit(line)
    elif line["is"] == "clock":
        host.clock(line)
    elif line["is"] == "granted":
        with contextlib.suppress(ArjeError):
            supervisor.table.regrant(line["of"], cache.decode(line["grants"]), cache.decode(line["losses"]))
    elif line["is"] == "verb":
        _verb(recording, supervisor, nursery, line["verb"], line["args"], line["more"])


def _verb(
    recording: Recording,
    supervisor: Supervisor,
    nursery: trio.Nursery,
    verb: str,
    args: list[Any],
    more: dict[str, Any],
) -> None:
    """Ask what was asked then; what was refused then is refused now."""
    try:
        if verb == "set_cards":
            supervisor.set_cards([without_unheard(recording.cards[key]) for key in args[0]], *args[1:])
        elif verb == "replace_card":
            supervisor.replace_card(without_unheard(recording.cards[args[0]]))
        elif verb in ("arm", "disarm"):
            getattr(supervisor.timers, verb)(*args)
        elif verb == "stop_all":
            nursery.start_soon(supervisor.stop_all, *args)
        elif verb in ("reload", "hurry"):
            if (life := supervisor.life(args[0])) is None:
                return
            if verb == "hurry":
                life.hurry()
            else:
                nursery.start_soon(life.reload, *args[1:])
        elif verb in ("hold", "release", "part_with", "parted"):
            getattr(supervisor.aside, verb)(*args)
        elif verb in ("start", "want", "unwant", "again"):
            getattr(supervisor, verb)(*args, **more)
        else:
            raise KeyError(verb)
    except ArjeError:
        return
