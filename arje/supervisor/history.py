"""The steps from set to set that this manager has made, so that they can be undone: the latest :data:`MOST`.

A step remembers what it changed, not the whole set: the cards that it replaced or took away, and the labels that it
brought. What hands have done beside it (a command of ``arjectl run``, an instance on demand, ``arjectl enable``) is no
part of any step, and stays when steps are undone. ``kept_history.py`` writes them down and reads them at the next start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import trio

from arje.card.card import Card
from arje.card.template import Template
from arje.errors import CardProblem
from arje.service.record import StateCause
from arje.supervisor.cards import CardPlan, token_of

#: How many steps can be undone.
MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Mark:
    """A set, and how it came to be in force: ``token`` names it, ``why`` is empty when it was read from disk."""

    token: str
    wall: float
    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step from a set to the next. ``cards`` are as they were before it, of those labels that it changed or took away;
    ``gone`` are the labels that it took away, ``added`` those that it brought. ``up`` were wanted and had not failed,
    ``armed`` were armed then; ``lives`` are the incarnations of those that ran. ``pulled`` are those whose cards stayed,
    and which it started or armed."""

    before: Mark
    cards: Mapping[str, Card]
    gone: frozenset[str]
    added: frozenset[str]
    templates: Mapping[str, Template]
    problems: tuple[CardProblem, ...]
    up: frozenset[str]
    armed: frozenset[str]
    lives: Mapping[str, int]
    pulled: frozenset[str]


@dataclass(frozen=True, slots=True)
class Undone:
    """What is told of a set that is in force because of a rollback: the ``token`` of it, and of the set that was ``left``.
    ``label`` is the service that was to blame, empty for a hand."""

    wall: float
    who: str
    why: str
    label: str
    token: str
    left: str


async def _nothing() -> None:
    """There is no earlier manager."""


class History:
    """The steps of one manager. ``undone`` is set while the set in force is that of a rollback; ``recall`` waits until
    the steps of an earlier manager are known, if they can be."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque(maxlen=MOST)
        self.now = Mark("", 0.0, "cards.d")
        self.undone: Undone | None = None
        self._unsaved = trio.Event()
        self.recall: Callable[[], Awaitable[None]] = _nothing

    @property
    def is_unsaved(self) -> bool:
        """Whether something has changed that nobody has taken to write it down."""
        return self._unsaved.is_set()

    async def wait_changed(self) -> None:
        """Wait until there is something to be written down."""
        await self._unsaved.wait()

    def take_unsaved(self) -> tuple[tuple[Step, ...], Mark, Undone | None]:
        """Return what is to be written down, and is taken for written from now on."""
        self._unsaved = trio.Event()
        return tuple(self.steps), self.now, self.undone

    def go_on(self, steps: Iterable[Step], now: Mark, undone: Undone | None) -> None:
        """Put the steps of an earlier manager before those of this one; ``now`` is the set that it left in force."""
        known = list(self.steps)
        if known:
            known[0] = replace(known[0], before=now)
        else:
            self.now, self.undone = now, undone
        self.steps.clear()
        self.steps.extend([*steps, *known])

    def begin(self, cards: Iterable[Card], wall: float) -> None:
        """Let the set that was read at the start be the first one."""
        self.now = Mark(token_of(cards), wall, "cards.d")

    def push(self, step: Step, plan: CardPlan, cause: StateCause) -> None:
        """A step is being made."""
        self.steps.append(step)
        self.now = Mark(token_of(plan.cards), cause.wall, cause.who)
        self.undone = None
        self._unsaved.set()

    def pop(self, first: Step, undone: Undone) -> None:
        """A step and those after it are being undone."""
        while self.steps and self.steps.pop() is not first:
            pass
        self.now = Mark(first.before.token, undone.wall, undone.who, undone.why)
        self.undone = undone
        self._unsaved.set()

    def stuck(self, label: str, field: str, value: Any) -> None:
        """A hand has written down what is to be so from now on: whatever is undone."""
        for place, step in enumerate(self.steps):
            if label in step.cards:
                cards = {**step.cards, label: replace(step.cards[label], **{field: value})}
                self.steps[place] = replace(step, cards=MappingProxyType(cards))
                self._unsaved.set()

    def find(self, token: str) -> Step | None:
        """Return the latest step away from the set of a token, of the set before the latest step for an empty one."""
        steps = reversed(self.steps)
        return next((step for step in steps if not token or step.before.token == token), None)

    def told(self) -> list[dict[str, Any]]:
        """Return the sets that can be had, the one in force first (the type ``CardSet`` of the interface)."""
        marks = [self.now, *(step.before for step in reversed(self.steps))]
        steps = [None, *reversed(self.steps)]
        return [
            {"token": mark.token, "in_force": step is None, "wall": mark.wall, "who": mark.who, "why": mark.why}
            | {"changed": sorted({*step.cards, *step.added}) if step else []}
            for mark, step in zip(marks, steps, strict=True)
        ]
