"""The plan of one incarnation as data: what was wished, what is lost already, and all that a spawn needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from arje.card.card import Card
from arje.card.soma import IdMap, Soma
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.setup import PlannedOp
from arje.incarnation import Degradation


@lru_cache(maxsize=256)
def _one(features: frozenset[str]) -> frozenset[str]:
    """Return the same set for equal ones: most services ask for the same, and each keeps its plan."""
    return features


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing a card asks for: the feature's name, the value for people, and the field it stands in."""

    feature: str
    requested: str
    field: str


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed: candidates for execve in order, argv and environment."""

    paths: tuple[bytes, ...]
    argv: tuple[bytes, ...]
    envp: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Ids as the payload itself sees them; ``groups`` None: those of the manager stay. ``field`` asked for them."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """All that a spawn needs, decided. ``kinds`` are the namespaces of the clone call, by card name.

    ``credentials`` None: the payload keeps the manager's. ``judged``: the child waits until what it has was read back.
    """

    card: Card
    soma: Soma
    program: Program
    wishes: tuple[Wish, ...]
    losses: tuple[Degradation, ...]
    kinds: tuple[str, ...]
    ops: tuple[PlannedOp, ...]
    uid_map: tuple[IdMap, ...]
    gid_map: tuple[IdMap, ...]
    late_user: bool
    credentials: Credentials | None
    judged: bool
    required: frozenset[str] = frozenset()
    """The features without which the card refuses to live."""
    apart: bool = False
    """The child has memory of its own."""
    watcher: Callable[[int, int], None] | None = None
    """Who takes the listener of the op ``observe``: is called with the payload's pid and its descriptor there."""
    given: Given = NOTHING
    joined: tuple[tuple[str, str], ...] = ()
    """The namespaces that are entered, by kind: ``("net", "net:[…]")``. Known once they are opened."""
    has: frozenset[str] = field(init=False)
    """The features that are still asked of the kernel, those that are lost in part among them."""

    def __post_init__(self) -> None:
        lost = {loss.feature for loss in self.losses if not loss.partial}
        has = frozenset(wish.feature for wish in self.wishes if wish.feature not in lost)
        object.__setattr__(self, "has", _one(has))
        object.__setattr__(self, "required", _one(self.required))

    def stands_on(self, index: int) -> str:
        """Return the feature on whose mount an op depends; empty when there is none."""
        needs = self.ops[index].op.needs
        return next((planned.feature for planned in self.ops if needs and planned.op.slot == needs), "")

    def describe(self) -> Iterator[str]:
        """Yield the lines that a plan shows, in the order in which they happen."""
        if self.kinds:
            yield "clone: " + " ".join(self.kinds)
        for wish in self.wishes:  # what held.py makes meanwhile
            if wish.feature in ("network.veth", "network.pasta") and wish.feature in self.has:
                yield f"outside: {wish.requested}"
        yield from (planned.describe() for planned in self.ops)
        yield f"exec: {os.fsdecode(self.program.paths[0])}"
