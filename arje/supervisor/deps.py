"""Who depends on whom, as a tree for ``arjectl deps``: each edge with its kind and the state of what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from arje.card.card import Card
from arje.card.edges import KINDS, Reaction
from arje.service import pipeline

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_MOST: Final = 10_000  # lines of one answer: a tree can be exponentially larger than its graph
#: Kinds that the tree follows further; an order or a conflict says nothing about what stands behind it.
_FOLLOWED: Final = frozenset({"requires", "requisite", "wants", "waits_for", "contracts", "log.to"})


def terms(card: Card, kind: str, name: str) -> str:
    """Return on which terms a card has an edge, in words; empty for the usual ones."""
    term = next((term for term in card.terms if term.kind == kind and term.name == name), None)
    if term is None:
        return ""
    return ", ".join(
        ([f"on_restart = {term.on_restart}"] if term.on_restart is not Reaction.KEEP else [])
        + ([f"on_reload = {term.on_reload}"] if term.on_reload is not Reaction.KEEP else [])
        + (["recover = false"] if not term.recover else [])
        + (["undegraded"] if term.undegraded else [])
        + ([f"granted: {', '.join(term.granted)}"] if term.granted else [])
    )


def edges(supervisor: Supervisor, card: Card) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield what a card needs and names: the kind of edge, its name or a contract's words, and the labels that it means.

    What other cards hook into this one (``required_by``, ``wanted_by``) is among it, as the ``requires`` and ``wants``
    that it amounts to.
    """
    graph, label = supervisor.graph, card.label
    for requirement in graph.needs(label) if label in graph else ():
        kind = "requires" if requirement.field == "required_by" else requirement.field
        words = str(requirement) if requirement.field == "contracts" else requirement.names[0]
        yield kind, words, graph.providers(requirement, label)
    for kind in KINDS:
        if kind not in ("requires", "requisite"):
            for name in getattr(card, kind):
                yield kind, name, graph.resolve(name, label)
    for hooked in graph.pulled_softly(label) if label in graph else ():
        if hooked not in (*card.wants, *card.waits_for, card.log.to):
            yield "wants", hooked, (hooked,)
    if card.log.to:
        yield pipeline.FIELD, card.log.to, (card.log.to,) if card.log.to in graph else ()


def tree(supervisor: Supervisor, label: str, *, reverse: bool) -> list[dict[str, Any]]:
    """Return the tree below a service, depth first; ``reverse``: of those that need it. Raises NoSuchService.

    What stands in the tree already is not followed again, and says so (``seen``).
    """
    root = supervisor.table.get(label)
    found = [_node(supervisor, 0, "", label, label, seen=False)]
    followed = {label}
    backwards = _backwards(supervisor) if reverse else {}
    queue = list(reversed([(1, *edge) for edge in _below(supervisor, root.label, backwards, reverse=reverse)]))
    while queue and len(found) < _MOST:
        depth, kind, name, other = queue.pop()
        seen = other in followed or other is None or kind not in _FOLLOWED
        found.append(_node(supervisor, depth, kind, name, other, seen=other in followed))
        if not seen and other is not None:
            followed.add(other)
            below = _below(supervisor, other, backwards, reverse=reverse)
            queue += reversed([(depth + 1, *edge) for edge in below])
    return found


def graph(supervisor: Supervisor, labels: frozenset[str] | None) -> dict[str, Any]:
    """Return the services, and every edge between two of them: with ``labels`` only what these are connected with.

    An edge that means several services is there once for each; what names nobody leads to a node without a state.
    """
    nodes: dict[str, str | None] = {}
    found: list[dict[str, Any]] = []
    for service in supervisor.table:
        for kind, name, others in edges(supervisor, service.card):
            if kind in ("required_by", "wanted_by"):
                continue  # they are edges of those that they hook into
            for other in others or (name,):
                if labels is None or service.label in labels or other in labels:
                    found.append({"label": service.label, "kind": kind, "other": other})
    chosen = {each[end] for each in found for end in ("label", "other")} | (labels or set())
    for service in supervisor.table:
        if labels is None or service.label in chosen:
            nodes[service.label] = service.state.value
    for each in found:
        nodes.setdefault(each["other"], None)
    return {"nodes": [{"label": label, "state": state} for label, state in nodes.items()], "edges": found}


def _node(supervisor: Supervisor, depth: int, kind: str, name: str, label: str | None, *, seen: bool) -> dict[str, Any]:
    known = label is not None and label in supervisor.table
    state = supervisor.table.get(label).state.value if known and label is not None else None
    return {"depth": depth, "kind": kind, "name": name, "label": label, "state": state, "seen": seen}


def _below(
    supervisor: Supervisor, label: str, backwards: dict[str, list[tuple[str, str, str]]], *, reverse: bool
) -> Iterator[tuple[str, str, str | None]]:
    if reverse:
        yield from backwards.get(label, ())
        return
    for kind, name, labels in edges(supervisor, supervisor.table.get(label).card):
        if not labels:
            yield kind, name, None
        for other in labels:
            yield kind, name, other


def _backwards(supervisor: Supervisor) -> dict[str, list[tuple[str, str, str]]]:
    """Return for each service the edges that mean it, under the labels of those who have them."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for service in supervisor.table:
        for kind, name, labels in edges(supervisor, service.card):
            for other in labels if kind not in ("required_by", "wanted_by") else ():
                found.setdefault(other, []).append((kind, name, service.label))
    return found
