"""Circles in the order of services: found with their whole path, and broken where that hurts least.

The cards in a circle contradict each other, which is a problem of theirs. A machine has to boot all the same: one soft
edge of each circle gives way, always the same one, and both its services say so. In a circle of hard edges alone nobody
can be first: its members fail, and who requires them feels that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: How much it hurts to drop the order that a kind of edge makes; what is not here is hard, and is never dropped.
SOFTNESS: Final = {"after": 0, "before": 0, "wants": 1, "wanted_by": 1, "waits_for": 2, "log.to": 2}
_HARD: Final = 9


@dataclass(frozen=True, slots=True)
class Edge:
    """``first`` comes before ``then`` because of ``field`` in the card ``owner``."""

    first: str
    then: str
    field: str
    owner: str

    @property
    def strength(self) -> int:
        """How much it hurts to drop it."""
        return SOFTNESS.get(self.field, _HARD)

    @property
    def is_hard(self) -> bool:
        """Whether it must not be dropped."""
        return self.field not in SOFTNESS

    def __str__(self) -> str:
        return f"{self.owner} {self.field} {self.first if self.owner == self.then else self.then}"


Before = Mapping[str, Mapping[str, Edge]]


def path(cycle: tuple[Edge, ...]) -> str:
    """Return a circle as ``a → b → a``."""
    return " → ".join([*(edge.first for edge in cycle), cycle[0].first])


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of the circles: ``broken`` edges with the circle of each, and by label the circle of who cannot start."""

    broken: tuple[tuple[Edge, tuple[Edge, ...]], ...] = ()
    circles: Mapping[str, tuple[Edge, ...]] | None = None


def cycles(before: Before) -> list[tuple[Edge, ...]]:
    """Return a shortest cycle of every knot of services that depend on each other, as its edges, least label first.

    ``before`` is for each service the edges to those that come before it.
    """
    found = [_shortest(before, min(knot), knot) for knot in _knots(before)]
    return sorted(found, key=lambda cycle: cycle[0].first)


def mend(before: Before) -> tuple[dict[str, dict[str, Edge]], Mended]:
    """Return the edges without circles, and what that took."""
    left = {then: dict(firsts) for then, firsts in before.items()}
    broken: list[tuple[Edge, tuple[Edge, ...]]] = []
    circles: dict[str, tuple[Edge, ...]] = {}
    for knot in _knots(left):
        within = set(knot)
        for start in sorted(knot):
            while cycle := _shortest(left, start, within):
                soft = [edge for edge in cycle if not edge.is_hard]
                gone = [min(soft, key=lambda edge: (edge.strength, edge.then, edge.first))] if soft else list(cycle)
                broken += [(edge, cycle) for edge in gone if soft]
                for edge in gone:
                    del left[edge.then][edge.first]
                    if not soft:
                        circles.setdefault(edge.then, cycle)
            within.discard(start)  # no circle leads through it any more
    return left, Mended(tuple(broken), circles)


def _knots(before: Before) -> list[set[str]]:
    """Return the sets of services that come before themselves: what is left after peeling off the ends."""
    after: dict[str, list[str]] = {label: [] for label in before}
    for then, firsts in before.items():
        for first in firsts:
            after[first].append(then)
    back = {label: list(firsts) for label, firsts in before.items()}
    left = _peel(_peel(set(before), back, after), after, back)
    knots = []
    for start in sorted(left):
        if start not in left:
            continue
        knot = _reach(start, after, left) & _reach(start, back, left)
        if knot:
            knots.append(knot)
        left -= knot | {start}
    return knots


def _shortest(before: Before, start: str, within: set[str]) -> tuple[Edge, ...]:
    """Return the shortest way from ``start`` back to itself inside a set; empty when there is none."""
    queue = deque([start])
    came: dict[str, Edge] = {}
    while queue:
        here = queue.popleft()
        for first, edge in before[here].items():
            if first == start:
                way = [edge]
                while way[-1].then != start:
                    way.append(came[way[-1].then])
                return tuple(way)
            if first in within and first not in came:
                came[first] = edge
                queue.append(first)
    return ()


def _peel(labels: set[str], inward: dict[str, list[str]], outward: dict[str, list[str]]) -> set[str]:
    """Return ``labels`` without those that only acyclic paths lead to (Kahn's algorithm)."""
    left = set(labels)
    counts = {label: sum(other in left for other in inward[label]) for label in left}
    free = [label for label, count in counts.items() if not count]
    while free:
        label = free.pop()
        left.discard(label)
        for other in outward[label]:
            if other in left:
                counts[other] -= 1
                if not counts[other]:
                    free.append(other)
    return left


def _reach(start: str, edges: dict[str, list[str]], within: set[str]) -> set[str]:
    """Return what a path of at least one edge leads to from ``start``."""
    seen: set[str] = set()
    queue = [start]
    while queue:
        for other in edges[queue.pop()]:
            if other in within and other not in seen:
                seen.add(other)
                queue.append(other)
    return seen
