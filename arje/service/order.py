"""The edges between cards: who needs whom, and in which order. Pure; made anew whenever the set of cards changes.

Three questions. *Pulling in* (what has to be started as well): ``requires``, ``wants``, ``waits_for``, contracts, and
``required_by`` and ``wanted_by`` seen from the other side while that card is enabled. *Order* (who first): all of these,
``requisite``, ``after``, and ``before`` seen from the other side. *Together or not*: ``conflicts`` and ``part_of``.

A name is a label or, when no card has that label, a capability that some cards provide; any one of them satisfies a
requirement, all of them are ordered first. Hard are ``requires``, ``requisite``, ``required_by`` and contracts: one that
cannot be met by any cards is a problem. The others are soft, and silent when missing.

``log.to`` (``pipeline.py``) is soft as well: who reads is pulled in, and starts before who writes.

A cycle of any kind is a problem of the cards (``check``). For those who have to live with one there is ``for_boot``.
"""

from __future__ import annotations

import graphlib
from collections import deque
from collections.abc import Callable, Iterable

from arje.card.card import Card
from arje.card.edges import WITH_TERMS, Term
from arje.errors import CardProblem, NoSuchService, OrderingError
from arje.service import cycles, pipeline
from arje.service.cycles import Edge, Mended
from arje.service.faults import problems
from arje.service.requirement import Requirement, View, Wait
from arje.service.table import nearest

__all__ = ["Edge", "Graph"]

#: Edges that make no more than an order, or a soft pull.
_SOFT = ("wants", "waits_for", "after", "before")


_NONE: frozenset[str] = frozenset()


def _nobody(_label: str) -> bool:
    return False


class Graph:
    """The cards and the edges between them. ``mended`` says which circles ``for_boot`` has broken, and how."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self.cards = {card.label: card for card in cards}
        self.mended = Mended()
        self._providers: dict[str, list[str]] = {}
        for card in self.cards.values():
            for name in card.provides:
                self._providers.setdefault(name, []).append(card.label)
        self._needs: dict[str, list[Requirement]] = {label: [] for label in self.cards}
        self._before: dict[str, dict[str, Edge]] = {label: {} for label in self.cards}
        self._requirers: dict[str, dict[str, None]] = {label: {} for label in self.cards}
        self._pulls: dict[str, list[str]] = {label: [] for label in self.cards}
        self._conflicts: dict[str, dict[str, str]] = {}
        self._parts: dict[str, dict[str, None]] = {}
        self._told: dict[str, set[str]] = {}  # by label: whom it is told to come after, whatever else it has with them
        self._felt: dict[str, dict[str, Term]] = {}
        for card in self.cards.values():
            self._add(card)
        self._after: dict[str, list[str]] = {}
        self._order_backwards()

    @classmethod
    def for_boot(cls, cards: Iterable[Card]) -> Graph:
        """Return a graph without circles: a soft edge of each is dropped, and who is in a hard one cannot start."""
        graph = cls(cards)
        if graph.cycles():
            graph._before, graph.mended = cycles.mend(graph._before)
            graph._order_backwards()
        return graph

    # -- making --------------------------------------------------------------------------------------------------------

    def _add(self, card: Card) -> None:
        label = card.label
        terms = {(term.kind, term.name): term for term in card.terms}
        for field, names in (("requires", card.requires), ("requisite", card.requisite)):
            for name in names:
                term = terms.get((field, name))
                self._require(label, Requirement(field, label, (name,), pulls=field == "requires", term=term))
        for contract in card.contracts:
            self._require(label, Requirement("contracts", label, contract.of, contract.at_least, grace=contract.grace))
        if card.enabled and card.hooked_to:
            for other in self._all(card.required_by, label):
                self._require(other, Requirement("required_by", label, (label,)))
            for other in self._all(card.wanted_by, label):
                self._pulls[other].append(label)
                self._order(Edge(label, other, "wanted_by", label))
        for field in _SOFT if card.wants or card.waits_for or card.after or card.before else ():
            for other in self._all(getattr(card, field), label):
                first, then = (label, other) if field == "before" else (other, label)
                self._order(Edge(first, then, field, label))
                if field in ("after", "before"):
                    self._told.setdefault(then, set()).add(first)
        self._pulls[label] += (*card.wants, *card.waits_for)
        if card.log.to != label and card.log.to in self.cards:
            self._pulls[label].append(card.log.to)
            self._order(Edge(card.log.to, label, pipeline.FIELD, label))
        for other in self._all(card.conflicts, label):
            self._conflicts.setdefault(label, {}).setdefault(other, label)
            self._conflicts.setdefault(other, {}).setdefault(label, label)
        for other in self._all(card.part_of, label):
            self._parts.setdefault(other, {})[label] = None
        for kind in WITH_TERMS if card.terms else ():
            for name in getattr(card, kind):
                term = terms.get((kind, name))
                if term is not None and term.reacts:
                    for other in self.resolve(name, label):
                        self._felt.setdefault(other, {})[label] = term

    def _all(self, names: tuple[str, ...], asker: str) -> Iterable[str]:
        if not names:
            return ()
        return dict.fromkeys(other for name in names for other in self.resolve(name, asker))

    def _require(self, label: str, requirement: Requirement) -> None:
        self._needs[label].append(requirement)
        for other in self.providers(requirement, label):
            self._requirers[other][label] = None
            self._order(Edge(other, label, requirement.field, requirement.owner))

    def _order(self, edge: Edge) -> None:
        """Keep the strongest of the edges between two services."""
        known = self._before[edge.then].get(edge.first)
        if known is None or known.strength < edge.strength:
            self._before[edge.then][edge.first] = edge

    def _order_backwards(self) -> None:
        self._after = {label: [] for label in self.cards}
        for then, firsts in self._before.items():
            for first in firsts:
                self._after[first].append(then)

    # -- looking -------------------------------------------------------------------------------------------------------

    def __contains__(self, label: object) -> bool:
        return label in self.cards

    def resolve(self, name: str, asker: str = "") -> tuple[str, ...]:
        """Return the labels that a name means: the card of that label, else its providers without ``asker`` itself."""
        if name in self.cards:
            return (name,)
        return tuple(label for label in self._providers.get(name, ()) if label != asker)

    def names(self) -> tuple[str, ...]:
        """Return everything that a card may name: labels, and what is provided."""
        return (*self.cards, *self._providers)

    def providers(self, requirement: Requirement, label: str) -> tuple[str, ...]:
        """Return the services any of which counts for a requirement of ``label``."""
        names = requirement.names
        if len(names) == 1 and (names[0] != label or requirement.field != "contracts"):
            return self.resolve(names[0], label)
        found = dict.fromkeys(other for name in names for other in self.resolve(name, label))
        return tuple(other for other in found if other != label or requirement.field != "contracts")

    def needs(self, label: str) -> tuple[Requirement, ...]:
        """Return everything that a service requires, whoever's card says so. Raises NoSuchService."""
        self._card(label)
        return tuple(self._needs[label])

    def pulled_softly(self, label: str) -> tuple[str, ...]:
        """Return the names that a service pulls in without requiring them."""
        return tuple(dict.fromkeys(self._pulls[label]))

    def edges_before(self, label: str) -> tuple[Edge, ...]:
        """Return the edges to those that come before a service, at most one for each. Raises NoSuchService."""
        self._card(label)
        return tuple(self._before[label].values())

    def followers(self, label: str) -> tuple[str, ...]:
        """Return those who come after a service, directly: they stop before it."""
        return tuple(self._after.get(label, ()))

    def rivals(self, label: str) -> dict[str, str]:
        """Return who must not run while a service does, each with the label of the card that says so."""
        return dict(self._conflicts.get(label, {}))

    def felt_by(self, label: str) -> dict[str, Term]:
        """Return who does something when a service has started again or reloaded, and on which terms."""
        return dict(self._felt.get(label, {}))

    def with_parts(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return ``labels`` and everything that is part of them, directly or not, in stop order."""
        found: dict[str, None] = {}
        queue = deque(labels)
        while queue:
            label = queue.popleft()
            if label not in found:
                found[label] = None
                queue.extend(self._parts.get(label, ()))
        return self.stop_order(found)

    def check(self) -> list[CardProblem]:
        """Return every problem of the edges (``faults.py``), cycles with their whole path among them."""
        return problems(self)

    def cycles(self) -> list[tuple[Edge, ...]]:
        """Return a shortest cycle of every knot of cards that depend on each other, as its edges, least label first."""
        return cycles.cycles(self._before)

    # -- starting ------------------------------------------------------------------------------------------------------

    def closure(self, labels: Iterable[str], is_up: Callable[[str], bool] = _nobody) -> tuple[str, ...]:
        """Return what a start of ``labels`` pulls in, those included, in start order.

        A capability that something pulled in provides anyway pulls in nothing more; else a provider that ``is_up``, or
        the first enabled one. What does not exist is left out: ``check`` and ``waits`` speak of it. Raise NoSuchService
        for unknown ``labels``.
        """
        pulled: dict[str, None] = {}
        plain = deque(labels)
        choices: deque[tuple[tuple[str, ...], int]] = deque()
        for label in plain:
            self._card(label)
        while plain or choices:
            if not plain:
                providers, count = choices.popleft()
                left = [other for other in providers if other not in pulled]
                left.sort(key=lambda other: (not is_up(other), not self.cards[other].enabled))
                plain.extend(left[: max(0, count - (len(providers) - len(left)))])
                continue
            label = plain.popleft()
            if label in pulled:
                continue
            pulled[label] = None
            for providers, count in self._pulled_by(label):
                if len(providers) <= count:
                    plain.extend(providers)
                else:
                    choices.append((providers, count))
        return self.start_order(pulled)

    def _pulled_by(self, label: str) -> Iterable[tuple[tuple[str, ...], int]]:
        """Yield services, and how many of them are pulled in."""
        for requirement in self._needs[label]:
            if requirement.pulls:
                yield self.providers(requirement, label), requirement.at_least
        for name in self._pulls[label]:
            yield self.resolve(name, label), 1

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

    def ready(
        self, label: str, is_up: Callable[[str], bool], is_coming: Callable[[str], bool] = _nobody
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether a service may start now, and the names that it waits for (:meth:`waits`)."""
        names = tuple(dict.fromkeys(wait.name for wait in self.waits(label, View(is_up, is_coming))))
        return not names, names

    def waits(self, label: str, view: View) -> tuple[Wait, ...]:
        """Return what a service waits for before it may start. Raise NoSuchService.

        It waits for every requirement that is not met, for a milestone until that has been up once, for the end of those
        it conflicts with, and for another predecessor only as long as a start of that is under way and is not itself
        held by a requirement that nobody is starting. Such a predecessor is also one of several providers, the others of
        which are enough, when a card says ``after`` or ``before`` as well.
        """
        card = self._card(label)
        found, told = list[Wait](), {label}
        for requirement in self._needs[label]:
            providers = self.providers(requirement, label)
            good = sum(view.is_good(other, requirement) for other in providers)
            unmet = good < requirement.at_least
            told.update(providers if unmet else set(providers) - self._told.get(label, _NONE))
            if unmet:
                left = tuple(other for other in providers if not view.is_good(other, requirement))
                found.append(Wait(requirement.field, str(requirement), left, requirement.at_least - good))
        for name in card.waits_for:
            providers = tuple(other for other in self.resolve(name, label) if other in self._before[label])
            told.update(providers)
            if providers and not any(view.is_up(other) or view.has_been_up(other) for other in providers):
                found.append(Wait("waits_for", name, providers))
        for first, edge in self._before[label].items():
            if first not in told and not view.is_up(first) and self._can_come(first, view):
                found.append(Wait(edge.field, first, (first,)))
        for rival in self._conflicts.get(label, ()):
            if view.runs(rival):
                found.append(Wait("conflicts", f"the end of {rival}", (rival,)))
        return tuple(found)

    def _can_come(self, label: str, view: View) -> bool:
        """Whether a start of ``label`` is under way and everything that it requires is up or under way as well."""
        if not view.is_coming(label):
            return False
        seen = {label}
        queue = [label]
        while queue:
            asker = queue.pop()
            for requirement in self._needs[asker]:
                providers = self.providers(requirement, asker)
                good = sum(view.is_good(other, requirement) for other in providers)
                if good >= requirement.at_least:
                    continue
                coming = [other for other in providers if view.is_coming(other)]
                if good + len(coming) < requirement.at_least:
                    return False
                queue.extend(other for other in coming if other not in seen)
                seen.update(coming)
        return True

    # -- stopping ------------------------------------------------------------------------------------------------------

    def stop_order(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return ``labels`` in the order in which they stop: the start order backwards. Raise as ``start_order``."""
        return self.start_order(labels)[::-1]

    def dependents(self, label: str, is_up: Callable[[str], bool] = _nobody) -> tuple[str, ...]:
        """Return who requires ``label`` directly, in the order of the cards. Raise NoSuchService.

        Who requires only what enough others keep up (``is_up``) does not feel the stop and is left out.
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
                queue.extend(self.dependents(label, lambda other: is_up(other) and other not in affected))
        return self.stop_order(affected)

    def _feels_stop(self, dependent: str, stopped: str, is_up: Callable[[str], bool]) -> bool:
        """Whether too few are left for a requirement of ``dependent`` when ``stopped`` goes."""
        for requirement in self._needs[dependent]:
            providers = self.providers(requirement, dependent)
            if stopped in providers:
                left = sum(is_up(other) for other in providers if other != stopped)
                if left < requirement.at_least:
                    return True
        return False

    def _card(self, label: str) -> Card:
        try:
            return self.cards[label]
        except KeyError:
            raise NoSuchService(label, nearest(label, self.cards)) from None
