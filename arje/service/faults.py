"""What is wrong with the edges of a set of cards: names that nobody has, circles, conflicts that cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from arje.card.card import Card
from arje.card.consequence import What
from arje.card.payload import Virtual
from arje.card.supervision import consequences
from arje.errors import CardProblem
from arje.service import budget, pipeline
from arje.service.cycles import Edge, path
from arje.service.requirement import Requirement
from arje.service.table import nearest

if TYPE_CHECKING:
    from arje.service.order import Graph


def problems(graph: Graph) -> list[CardProblem]:
    """Return every problem of the edges: what cannot be met, cycles with their whole path, and impossible conflicts."""
    return [
        *_missing(graph),
        *_unfollowed(graph),
        *pipeline.problems(graph.cards),
        *budget.problems(graph.cards.values()),
        *(_circle(graph, cycle) for cycle in graph.cycles()),
        *_rivals(graph),
    ]


def circle(graph: Graph, cycle: tuple[Edge, ...]) -> str:
    """Return a circle in words: the whole path, and each of its edges with its place."""
    return f"a circle: {path(cycle)}: {'; '.join(_rule(graph.cards[edge.owner], edge) for edge in cycle)}"


def _rule(owner: Card, edge: Edge) -> str:
    line = owner.source.line_of(edge.field)
    where = f"{owner.source.file or owner.label}:{line}" if line else owner.source.file or owner.label
    return f"{edge} ({where})"


def _problem(card: Card, field: str, message: str, remedy: str) -> CardProblem:
    return CardProblem(card.source.file or card.label, card.source.line_of(field), field, message, remedy)


def _missing(graph: Graph) -> Iterator[CardProblem]:
    for card in graph.cards.values():
        for requirement in graph.needs(card.label):
            if requirement.owner == card.label:
                yield from _unmet(graph, card, requirement)


def _unmet(graph: Graph, card: Card, requirement: Requirement) -> Iterator[CardProblem]:
    found = graph.providers(requirement, card.label)
    if len(found) >= requirement.at_least:
        return
    if requirement.field == "contracts":
        some = f"only {', '.join(found)} can be had of them" if found else "no card has or provides any of these names"
        index = next(n for n, each in enumerate(card.contracts) if (each.of, each.at_least) == _key(requirement))
        yield _problem(card, f"contracts.{index}", f"{requirement}: {some}", "add such cards, or ask for fewer")
        return
    name = requirement.names[0]
    near = nearest(name, [other for other in graph.names() if other != card.label])
    remedy = f"did you mean {near!r}?" if near else "add such a card, or name it in wants"
    message = f"no card has the label {name!r}, and none provides it"
    yield _problem(card, requirement.field, message, remedy)


def _unfollowed(graph: Graph) -> Iterator[CardProblem]:
    """Yield what is to be started at the end of a service, and is no card's label."""
    for card in graph.cards.values():
        for field in ("on_failure", "on_success"):
            for index, name in enumerate(getattr(card, field)):
                if name not in graph.cards:
                    near = nearest(name, [other for other in graph.cards if other != card.label])
                    remedy = f"did you mean {near!r}?" if near else "add such a card, or take it out"
                    yield _problem(card, f"{field}.{index}", f"no card has the label {name!r}", remedy)
        for place, then in consequences(card.supervision):
            if not then.label:
                continue
            if (other := graph.cards.get(then.label)) is None:
                near = nearest(then.label, [name for name in graph.cards if name != card.label])
                remedy = f"did you mean {near!r}?" if near else "add such a card, or take it out"
                yield _problem(card, f"supervision.{place}", f"no card has the label {then.label!r}", remedy)
            elif then.what is What.TARGET and not isinstance(other.payload, Virtual):
                remedy = f'write "start:{then.label}", or make it a group: payload = "virtual"'
                yield _problem(card, f"supervision.{place}", f"{then.label} is no target: it has a process", remedy)
            elif card.label in graph.closure([then.label]):
                message = f"{then.label} pulls {card.label} in, and that would go on for ever"
                yield _problem(card, f"supervision.{place}", message, "name one that does without it")


def _key(requirement: Requirement) -> tuple[tuple[str, ...], int]:
    return requirement.names, requirement.at_least


def _circle(graph: Graph, cycle: tuple[Edge, ...]) -> CardProblem:
    edge = cycle[0]
    return _problem(graph.cards[edge.owner], edge.field, circle(graph, cycle), "take one of these edges away")


def _rivals(graph: Graph) -> Iterator[CardProblem]:
    """Yield the conflicts that the cards themselves break: with a requirement, or between two that start by themselves."""
    place = {label: number for number, label in enumerate(graph.cards)}
    pairs = [
        (owner, label, rival)
        for label in graph.cards
        for rival, owner in graph.rivals(label).items()
        if place[label] < place[rival]
    ]
    for owner, one, other in pairs:
        card = graph.cards[owner]
        if broken := _pulling_both(graph, one, other):
            message = f"{one} and {other} conflict, and {broken}"
            yield _problem(card, "conflicts", message, "take the conflict away, or one of those edges")
        elif all(graph.cards[label].enabled and not graph.cards[label].hooked_to for label in (one, other)):
            message = f"{one} and {other} conflict, and both are enabled"
            yield _problem(card, "conflicts", message, f"write enabled = false into one of them: at boot {one} wins")


def _pulling_both(graph: Graph, one: str, other: str) -> str:
    """Return who cannot be without both of two services, in words; empty when nobody is."""
    both = sorted(_requirers(graph, one) & _requirers(graph, other))
    if not both:
        return ""
    if one in both:
        return f"{one} requires {other}"
    return f"{other} requires {one}" if other in both else f"{both[0]} requires both"


def _requirers(graph: Graph, label: str) -> set[str]:
    """Return a service and all who cannot be without it."""
    found = {label}
    queue = [label]
    while queue:
        new = [other for other in graph.dependents(queue.pop()) if other not in found and _only(graph, other, found)]
        found.update(new)
        queue += new
    return found


def _only(graph: Graph, label: str, found: set[str]) -> bool:
    """Whether a requirement of a service can be met by nobody but those in ``found``."""
    return any(
        len([other for other in graph.providers(each, label) if other not in found]) < each.at_least
        and set(graph.providers(each, label)) & found
        for each in graph.needs(label)
    )
