"""What a start would do, here or on another host: of a service's card, or of one that nobody has yet. Starts nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from arje.card.loader import load_text
from arje.card.shelf import pulled
from arje.errors import CardError
from arje.incarnation import as_json
from arje.kernel.report import from_report
from arje.service.order import Graph
from arje.supervisor.cards import make_plan
from arje.supervisor.foresight import foresee
from arje.supervisor.predictions import predictions

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


async def forecast(supervisor: Supervisor, label: str, on: Any = None) -> dict[str, Any]:
    """Return what a start of a service's card, as it is on disk now, would do here, or ``on`` another host.

    Raises NoSuchService; BadReport for a report of that host that is none.
    """
    elsewhere = from_report(on) if on is not None else None
    plan, table = foresee(supervisor, make_plan(supervisor.catalogue, supervisor.table)), supervisor.table
    card = next((card for card in plan.cards if card.label == label), None) or table.get(label).card
    file = (table.get(label).card if label in table else card).source.file
    files = (file, card.source.file, *supervisor.catalogue.dropins(label))
    problems = [problem for problem in plan.problems if problem.file in files]
    forecasts, more = await predictions(supervisor, [] if problems else [card], elsewhere)
    return {
        "forecasts": forecasts,
        "changes": [as_json(change) for change in plan.changes if change.label == label],
        "problems": [as_json(problem) for problem in (*problems, *more)],
    }


async def check(supervisor: Supervisor, name: str, text: str, on: Any = None) -> dict[str, Any]:
    """Return what a start of the cards in a file's text would do here, or ``on`` another host; ``name`` is the file's.

    Raises BadReport.
    """
    elsewhere = from_report(on) if on is not None else None
    loaded = await trio.to_thread.run_sync(load_text, Path(name), text)
    cards = {service.label: service.card for service in supervisor.table}
    cards |= {card.label: card for card in loaded.cards}
    for wanted in [name for card in loaded.cards for name in pulled(card)]:
        with contextlib.suppress(CardError):  # what is wrong with an instance is its template's
            cards |= {card.label: card for card in supervisor.catalogue.make(wanted, cards)}
    edges = [problem for problem in Graph(cards.values()).check() if problem.file == str(Path(name))]
    forecasts, more = await predictions(supervisor, loaded.cards, elsewhere)
    problems = (*loaded.problems, *edges, *more)
    return {"forecasts": forecasts, "problems": [as_json(problem) for problem in problems]}
