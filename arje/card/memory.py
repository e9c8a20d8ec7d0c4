"""What does not go together with a service that starts again when it uses too much memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from arje.card.payload import Virtual
from arje.card.supervision import Kind
from arje.card.unreadable import Unreadable

if TYPE_CHECKING:
    from arje.card.card import Card


def contradictions(card: Card) -> Iterator[Unreadable]:
    """Yield what makes a card's ``max_memory`` mean nothing: it would never be reached, or nothing would follow."""
    asked, limits = card.supervision, card.soma.cgroup
    if not asked.max_memory:
        return
    field = "supervision.max_memory"
    if isinstance(card.payload, Virtual):
        yield Unreadable(field, "it has no process", "remove it")
    elif asked.kind is not Kind.DAEMON:
        yield Unreadable(field, f"what is {asked.kind.value} does not start again", "remove it")
    most = limits.memory_max if limits else None
    if isinstance(most, int) and most <= asked.max_memory:
        remedy = "write a smaller max_memory, or a larger soma.cgroup.memory_max"
        yield Unreadable(field, "the kernel kills it before, at soma.cgroup.memory_max", remedy)
    high = limits.memory_high if limits else None
    if isinstance(high, int) and high > asked.max_memory:
        remedy = f"leave soma.cgroup.memory_high out, or write at most {asked.max_memory}"
        yield Unreadable(field, "the kernel would tell too late, at soma.cgroup.memory_high", remedy)
