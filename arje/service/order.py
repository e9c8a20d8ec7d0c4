"""The edges between cards: who needs whom, and in which order. Pure; made anew whenever the set of cards changes.

Four kinds of edges, two questions. *Pulling in* (what has to be started as well): ``requires`` and ``wants``. *Order*
(who first): ``requires``, ``wants``, ``after``, and ``before`` seen from the other side. A name is a label or, when no
card has that label, a capability that some cards provide; any one of them satisfies a requirement, all of them are
ordered first. ``requires`` is hard: one that nobody has is a problem. The other three are soft, and silent when missing.

``log.to`` (``pipeline.py``) is both, and soft: who reads is pulled in, and starts before who writes.

A cycle of any kind is a problem of the cards; ``ready`` stays defined with one, and its members wait for each other.
"""

from __future__ import annotations

import graphlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from arje.card.card import Card
from arje.errors import CardProblem, NoSuchService, OrderingError
from arje.service import pipeline
from arje.service.table import nearest


@dataclass(frozen=True, slots=True)
class Edge:
    """``first`` comes before ``then`` because of ``field`` in the card ``owner``."""

    first: str
    then: str
    field: str
    owner: str


def _nobody(_label: str) -> bool:
    return False


class Graph:
    """The cards and the edges between them."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self._cards = {card.label: card for card in cards}
        self._providers: dict[str, list[str]] = {}
        for card in self._cards.values():
            for name in card.provides:
                self._providers.setdefault(name, []).append(card.label)
        self._before: dict[str, dict[str, Edge]] = {label: {} for label in self._cards}
        self._requirers: dict[str, list[str]] = {label: [] for label in self._cards}
        for card in self._cards.values():
            self._add_edges(card)

    def _add_edges(self, card: Card) -> None:
        for field in ("requires", "wants", "after", "before"):
            for name in getattr(card, field):
                for other in self.resolve(name, card.label):
                    first, then = (card.label, other) if field == "before" else (other, card.label)
                    self._before[then].setdefault(first, Edge(first, then, field, card.label))
        if card.log.to in self._cards:
            self._before[card.label].setdefault(card.log.to, Edge(card.log.to, card.label, pipeline.FIELD, card.label))
        for name in card.requires:
            for other in self.resolve(name, card.label):
                if card.label not in self._requirers[other]:
                    self._requirers[other].append(card.label)

    def __contains__(self, label: object) -> bool:
        return label in self._cards

    def resolve(self, name: str, asker: str = "") -> tuple[str, ...]:
        """Return the labels that a name means: the card of that label, else its providers without ``asker`` itself."""
        if name in self._cards:
            return (name,)
        return tuple(label for label in self._providers.get(name, ()) if label != asker)

    def check(self) -> list[CardProblem]:
        """Return every problem of the edges: requirements that nobody has, and cycles with their whole path."""
        missing = [
            self._missing(card, name)
            for card in self._cards.values()
            for name in card.requires
            if not self.resolve(name, card.label)
        ]
        circles = [self._cycle_problem(cycle) for cycle in self.cycles()]
        return [*missing, *pipeline.problems(self._cards), *circles]

    def cycles(self) -> list[tuple[Edge, ...]]:
        """Return a shortest cycle of every knot of cards that depend on each other, as its edges, least label first."""
        found = []
        for knot in self._knots():
            start = min(knot)
            found.append(self._shortest_cycle(start, knot))
        return sorted(found, key=lambda cycle: cycle[0].first)

    def closure(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return what a start of ``labels`` pulls in, those included, in start order.

        A capability that something pulled in provides anyway pulls in nothing more; else its first enabled provider.
        What does not exist is left out: ``check`` and ``ready`` speak of it. Raise NoSuchService for unknown ``labels``.
        """
        pulled: dict[str, None] = {}
        plain = deque(labels)
        capabilities: deque[tuple[str, str]] = deque()
        for label in plain:
            self._card(label)
        while plain or capabilities:
            if not plain:
                name, asker = capabilities.popleft()
                providers = self.resolve(name, asker)
                if providers and not any(label in pulled for label in providers):
                    plain.append(min(providers, key=lambda label: not self._cards[label].enabled))
                continue
            label = plain.popleft()
            if label in pulled:
                continue
            pulled[label] = None
            card = self._cards[label]
            if card.log.to in self._cards:
                plain.append(card.log.to)
            for name in (*card.requires, *card.wants):
                if name in self._cards:
                    plain.append(name)
                else:
                    capabilities.append((name, label))
        return self.start_order(pulled)

    def start_order(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return ``labels`` so that each comes after what it is ordered after; otherwise as they came.

        Edges over cards that are not in ``labels`` do not count. Raise OrderingError with the path when a cycle is in the
        way, NoSuchService for a label that no card has.
        """
        chosen = dict.fromkeys(labels)
        sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
        for label in chosen:
            self._card(label)
            sorter.add(label, *(first for first in self._before[label] if first in chosen))
        try:
            return tuple(sorter.static_order())
        except graphlib.CycleError as error:
            path = error.args[1]
            raise OrderingError(f"the order of these services is a circle: {' → '.join(path)}", path) from None

    def stop_order(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return ``labels`` in the order in which they stop: the start order backwards. Raise as ``start_order``."""
        return self.start_order(labels)[::-1]

    def dependents(self, label: str, is_up: Callable[[str], bool] = _nobody) -> tuple[str, ...]:
        """Return who requires ``label`` directly, in the order of the cards. Raise NoSuchService.

        Who requires only a capability that another provider keeps up (``is_up``) does not feel the stop and is left out.
        """
        self._card(label)
        return tuple(other for other in self._requirers[label] if self._feels_stop(other, label, is_up))

    def stopped_with(self, labels: Iterable[str], is_up: Callable[[str], bool] = _nobody) -> tuple[str, ...]:
        """Return ``labels`` and everybody who requires them, directly or not, in stop order."""
        affected: dict[str, None] = {}
        queue = deque(labels)
        while queue:
            label = queue.popleft()
            if label not in affected:
                affected[label] = None
                queue.extend(self.dependents(label, is_up))
        return self.stop_order(affected)

    def ready(
        self, label: str, is_up: Callable[[str], bool], is_coming: Callable[[str], bool] = _nobody
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether a service may start now, and the names that it waits for. Raise NoSuchService.

        It waits for every requirement that is not up, and for a soft predecessor only as long as that ``is_coming`` (a
        start of it is under way) and is not itself held by a requirement that nobody is starting.
        """
        card = self._card(label)
        waits: dict[str, None] = {}
        for name in card.requires:
            if not any(is_up(other) for other in self.resolve(name, label)):
                waits[name] = None
        hard = {other for name in card.requires for other in self.resolve(name, label)}
        for first in self._before[label]:
            if first not in hard and first != label and not is_up(first) and self._can_come(first, is_up, is_coming):
                waits[first] = None
        return not waits, tuple(waits)

    def _can_come(self, label: str, is_up: Callable[[str], bool], is_coming: Callable[[str], bool]) -> bool:
        """Whether a start of ``label`` is under way and everything that it requires is up or under way as well."""
        if not is_coming(label):
            return False
        seen = {label}
        queue = [label]
        while queue:
            asker = queue.pop()
            for name in self._cards[asker].requires:
                providers = self.resolve(name, asker)
                if any(is_up(other) for other in providers):
                    continue
                coming = [other for other in providers if is_coming(other)]
                if not coming:
                    return False
                queue.extend(other for other in coming if other not in seen)
                seen.update(coming)
        return True

    def _feels_stop(self, dependent: str, stopped: str, is_up: Callable[[str], bool]) -> bool:
        """Whether a requirement of ``dependent`` is left without anybody when ``stopped`` goes."""
        for name in self._cards[dependent].requires:
            providers = self.resolve(name, dependent)
            if stopped in providers and not any(is_up(other) for other in providers if other != stopped):
                return True
        return False

    def _card(self, label: str) -> Card:
        try:
            return self._cards[label]
        except KeyError:
            raise NoSuchService(label, nearest(label, self._cards)) from None

    def _missing(self, card: Card, name: str) -> CardProblem:
        near = nearest(name, [other for other in (*self._cards, *self._providers) if other != card.label])
        return CardProblem(
            file=card.source.file or card.label,
            line=card.source.line_of("requires"),
            field="requires",
            message=f"no card has the label {name!r}, and none provides it",
            remedy=f"did you mean {near!r}?" if near else "add such a card, or name it in wants",
        )

    def _cycle_problem(self, cycle: tuple[Edge, ...]) -> CardProblem:
        path = " → ".join([*(edge.first for edge in cycle), cycle[0].first])
        rules = []
        for edge in cycle:
            source = self._cards[edge.owner].source
            line = source.line_of(edge.field)
            where = f"{source.file or edge.owner}:{line}" if line else source.file or edge.owner
            target = edge.first if edge.owner == edge.then else edge.then
            rules.append(f"{edge.owner} {edge.field} {target} ({where})")
        owner = self._cards[cycle[0].owner]
        return CardProblem(
            file=owner.source.file or owner.label,
            line=owner.source.line_of(cycle[0].field),
            field=cycle[0].field,
            message=f"a circle: {path}: {'; '.join(rules)}",
            remedy="take one of these edges away",
        )

    def _knots(self) -> list[set[str]]:
        """Return the sets of cards that come before themselves: what is left of each set after peeling off its ends."""
        after: dict[str, list[str]] = {label: [] for label in self._cards}
        for then, firsts in self._before.items():
            for first in firsts:
                after[first].append(then)
        before = {label: list(firsts) for label, firsts in self._before.items()}
        left = _peel(_peel(set(self._cards), before, after), after, before)
        knots = []
        while left:
            start = min(left)
            knot = _reach(start, after, left) & _reach(start, before, left)
            if knot:
                knots.append(knot)
            left -= knot | {start}
        return knots

    def _shortest_cycle(self, start: str, knot: set[str]) -> tuple[Edge, ...]:
        """Return the shortest way from ``start`` back to itself inside its knot."""
        paths: deque[tuple[Edge, ...]] = deque([()])
        seen: set[str] = set()
        while True:
            path = paths.popleft()
            here = path[0].first if path else start
            for first, edge in self._before[here].items():
                if first == start:
                    return (edge, *path)
                if first in knot and first not in seen:
                    seen.add(first)
                    paths.append((edge, *path))


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
