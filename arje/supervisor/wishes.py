"""Why a service is wanted: who started it, or needs it, and why that one is wanted in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from arje.service.record import Service
from arje.supervisor.timekeeper import WHO as TIMER

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_WORDS: Final = {"enabled": "enabled in", "started": "started by", "restarted": "restarted by", "due": "started by"}


def activation(supervisor: Supervisor, service: Service) -> Iterator[dict[str, Any]]:
    """Yield why a service is wanted, then why the one that needs it is, and so on to a hand or to cards.d."""
    table, seen = supervisor.table, set[str]()
    while service.wanted and service.label not in seen and (why := service.activation):
        seen.add(service.label)
        how = "restarted" if why.detail == "restart" else "enabled" if why.who == "cards.d" else "started"
        if why.who in table:
            how = "needed"
        if why.who == TIMER:
            how = "due"
        yield {"label": service.label, "how": how, "who": why.who, "wall": why.wall}
        if why.who not in table:
            return
        service = table.get(why.who)


def words(supervisor: Supervisor, service: Service) -> str:
    """Return the same in words: ``needed by web, which is enabled in cards.d``; empty for one that nobody wants."""
    wishes = activation(supervisor, service)
    return ", which is ".join(f"{_WORDS.get(wish['how'], 'needed by')} {wish['who']}" for wish in wishes)
