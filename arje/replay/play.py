"""A recording played: the same supervisor in the world of then, in virtual time, and what becomes of its services now.

Two things of a run are in no recording. The order in which trio runs the tasks of one batch is a draw of lots: a replay
tries a few, and one that leads to the same is enough. And the loop is never as punctual as a virtual clock: a time that is
over here was over a moment later there, so that causes are compared without their seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from arje.card.card import Card
from arje.errors import ArjeError
from arje.replay.recorder import without_unheard
from arje.replay.replaying import ReplayingHost
from arje.replay.tape import Line, NotARecording, Recording
from arje.service.record import Service
from arje.supervisor.logs import Logs
from arje.supervisor.supervisor import Supervisor

_TRIES: Final = 5  # orders of tasks
_LATE: Final = 0.25  # seconds before the end of a manager that was killed whose changes may not have been written
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?(?= (?:ms|s)\b)")
_INPUTS: Final = frozenset({"verb", "exit", "clock"})
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
    expected = _by_label((line["of"], _change(line)) for line in recording.of("became"))
    left_out = _left_out(recording)
    best: tuple[Difference, ...] | None = None
    for seed in range(_TRIES):
        got = _play(recording, seed)
        found = tuple(_compare(recording, expected, got, left_out))
        if best is None or len(found) < len(best):
            best = found
        if not best:
            break
    labels = expected.keys() - left_out.keys()
    return Result(best or (), len(labels), sum(len(expected[label]) for label in labels), left_out)


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


def _play(recording: Recording, seed: int) -> dict[str, list[Change]]:
    trio._core._run._r.seed(seed)  # the order of tasks is a draw of lots (trio)
    return trio.run(_world, recording, clock=MockClock(autojump_threshold=0))


class _Unwritten(Logs):
    """Logs of services that say nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/"))  # it is there, and files are made by the first line only


async def _world(recording: Recording) -> dict[str, list[Change]]:
    host = ReplayingHost(recording)
    supervisor = Supervisor(host, _Unwritten(), Path("/replayed"))
    got: dict[str, list[Change]] = {}

    def changed(old: Service, new: Service) -> None:
        if old.state is not new.state and not host.over.is_set():
            cause = new.cause
            change = Change(trio.current_time(), old.state.value, new.state.value, cause.who, cause.detail)
            got.setdefault(new.label, []).append(change)

    supervisor.table.subscribe(changed)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        inputs = [line for line in recording.lines if line["is"] in _INPUTS]
        for _, together in groupby(inputs, key=lambda line: line["step"]):
            for number, line in enumerate(together):
                if not number:
                    await trio.sleep_until(line["t"])
                try:
                    _give(recording, supervisor, host, nursery, line)
                except (KeyError, TypeError, AttributeError, IndexError) as error:
                    raise NotARecording(f"at {line['t']} s: {line['is']} means nothing: {error!r}") from error
        await trio.sleep_until(recording.length)
        await wait_all_tasks_blocked()
        host.over.set()
        nursery.cancel_scope.cancel()
    return got


def _give(recording: Recording, supervisor: Supervisor, host: ReplayingHost, nursery: trio.Nursery, line: Line) -> None:
    """Let one input arrive."""
    if line["is"] == "exit":
        host.exit(line)
    elif line["is"] == "clock":
        host.clock(line)
    else:
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
        elif verb in ("start", "want", "unwant", "again", "hold", "release", "part_with"):
            getattr(supervisor, verb)(*args, **more)
        else:
            raise KeyError(verb)
    except ArjeError:
        return
