"""A socket as descriptors 0, 1 and 2 of an incarnation, as inetd has it: ``stdio`` of the word ``socket``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from arje.card.card import Card

_STREAMS: Final = ("stdin", "stdout", "stderr")


def is_meant(card: Card) -> bool:
    """Whether the stdio of a card is its socket, which is not passed on from 3 on then."""
    return any(getattr(card.soma.stdio, name) == "socket" for name in _STREAMS)


def dressed(card: Card, fd: int) -> Card:
    """Return the card with a descriptor of ours where it says ``socket``; stdio.py knows the word ``fd:N``."""
    stdio = card.soma.stdio
    names: dict[str, Any] = {name: f"fd:{fd}" for name in _STREAMS if getattr(stdio, name) == "socket"}
    return replace(card, soma=replace(card.soma, stdio=replace(stdio, **names))) if names else card
