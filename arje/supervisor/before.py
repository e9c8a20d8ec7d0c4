"""What is looked at before a start, beside other services: paths, conditions, asserts. A thread asks, as files may hang."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from arje.card.card import Card
from arje.card.conditions import Conditions
from arje.supervisor import conditions
from arje.supervisor.conditions import Finding

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


async def look(supervisor: Supervisor, card: Card) -> Finding:
    """Look at what the card's start depends on beside other services; conditions go before asserts."""
    host, path = supervisor.host, card.only_if_exists
    if path and not await host.ask(f"only_if_exists {path}", partial(conditions.exists, path)):
        return Finding(f"only_if_exists = {path}: there is no such path")
    if supervisor.watched.is_watching(card.label):
        card = replace(card, conditions=Conditions())  # it would not be here if they did not hold
    if card.conditions or card.asserts:
        return await host.ask(f"conditions of {card.label}", partial(conditions.look, card))
    return Finding()
