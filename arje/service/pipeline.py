"""Pipelines: the stdout of a producer is the stdin of a consumer, because the producer's card says so (``log.to``). Pure.

Several producers may have one consumer, and a consumer may be a producer in its turn. That a chain does not bite its own
tail is for ``order.py`` to find, to which these edges are edges like the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from arje.card.card import Card
from arje.card.payload import Virtual
from arje.errors import CardProblem
from arje.service.table import nearest

FIELD = "log.to"


def consumers(cards: Iterable[Card]) -> frozenset[str]:
    """Return the labels of the services that read what others write."""
    return frozenset(card.log.to for card in cards if card.log.to)


def problems(cards: Mapping[str, Card]) -> Iterator[CardProblem]:
    """Yield what is wrong with the pipelines of these cards: nobody, or nobody who could, at an end of one."""
    for card in cards.values():
        if card.log.to:
            yield from _problems(card, cards)


def _problems(card: Card, cards: Mapping[str, Card]) -> Iterator[CardProblem]:
    if card.log.to == card.label:
        yield _problem(card, FIELD, f"{card.label!r} is this card itself", "name another service")
        return
    consumer = cards.get(card.log.to)
    if consumer is None:
        near = nearest(card.log.to, [label for label in cards if label != card.label])
        remedy = (
            f"did you mean {near!r}?" if near else "add such a card: a pipe leads to a service, not to a capability"
        )
        yield _problem(card, FIELD, f"no card has the label {card.log.to!r}", remedy)
        return
    if isinstance(card.payload, Virtual):
        yield _problem(card, FIELD, "a group has no process, and so nothing to say", "take it out")
    elif card.soma.stdio.stdout != "log":
        message = f"{card.soma.stdio.stdout!r}, but log.to leads stdout to {card.log.to!r}"
        yield _problem(card, "soma.stdio.stdout", message, "take one of them out")
    if isinstance(consumer.payload, Virtual):
        yield _problem(
            card, FIELD, f"{consumer.label!r} is a group, which reads nothing", "name a service with a process"
        )
    elif consumer.soma.stdio.stdin != "null":
        message = f"{consumer.label!r} reads {consumer.soma.stdio.stdin!r} ({_place(consumer, 'soma.stdio.stdin')})"
        yield _problem(card, FIELD, message, "take its stdin out, or name another service")


def _place(card: Card, field: str) -> str:
    return f"{card.source.file or card.label}:{card.source.line_of(field)}"


def _problem(card: Card, field: str, message: str, remedy: str) -> CardProblem:
    return CardProblem(card.source.file or card.label, card.source.line_of(field), field, message, remedy)
