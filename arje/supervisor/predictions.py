"""What cards would get if they were started: forecasts as clients see them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arje.card.card import Card
from arje.card.payload import Virtual
from arje.errors import CardProblem, SetupFailed
from arje.incarnate.forecast import Forecast
from arje.incarnate.spawn import Incarnator
from arje.incarnation import as_json
from arje.kernel.capabilities import CapabilitySet
from arje.supervisor import snapshot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

Predictions = tuple[list[dict[str, Any]], list[CardProblem]]


async def predictions(supervisor: Supervisor, cards: Iterable[Card], elsewhere: CapabilitySet | None) -> Predictions:
    """Return what each card would get; what cannot be planned anywhere is a problem of its card.

    A thread plans, as a plan reads what may lie on a dead mount (furnishing.py).
    """
    question = functools.partial(_predict, supervisor.incarnator, cards, elsewhere)
    return await supervisor.host.ask("a forecast", question)


def _predict(incarnator: Incarnator, cards: Iterable[Card], elsewhere: CapabilitySet | None) -> Predictions:
    found, problems = [], []
    for card in cards:
        try:
            found.append(_prediction(incarnator, card, elsewhere))
        except SetupFailed as error:
            line = error.line or card.source.line_of(error.field)
            problems.append(CardProblem(card.source.file, line, error.field, error.detail, error.hint))
    return found, problems


def _prediction(incarnator: Incarnator, card: Card, elsewhere: CapabilitySet | None) -> dict[str, Any]:
    forecast = Forecast((), (), "")
    if not isinstance(card.payload, Virtual):
        forecast = incarnator.forecast(card, elsewhere)
    lost = {loss.feature for loss in forecast.degradations}
    asks = [as_json(wish) | {"foreseen": wish.feature not in lost} for wish in forecast.wishes]
    return {
        "label": card.label,
        "operations": list(forecast.operations),
        "requested": len(asks),
        "granted": sum(ask["foreseen"] for ask in asks),
        "asks": asks,
        "degradations": [snapshot.degradation(loss, card) for loss in forecast.degradations],
        "refusal": forecast.refusal,
    }
