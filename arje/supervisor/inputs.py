"""Files that are no card and yet decide how a service starts: env files, injected files, secrets. Read in threads only.

A card names them, and every start reads them anew. What was in them then is remembered, so that a plan can tell that a
restart would feel something else.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje.card.card import Card
from arje.card.payload import Native
from arje.service.state import WITH_PROCESS

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_MOST: Final = 4 * 2**20  # bytes of a file that is compared by its content
_PATIENCE: Final = 5.0  # seconds for all of them: one may lie on a mount that is dead

#: The card's field, and the path of a file that it names.
Place = tuple[str, str]


def inputs(card: Card) -> tuple[Place, ...]:
    """Return the files that are read at every start."""
    found: list[Place] = []
    if isinstance(card.payload, Native):
        found += [("payload.env_file", word.removeprefix("-")) for word in card.payload.env_file]
    found += [("soma.files", file.source) for file in card.soma.files if file.source]
    found += [("soma.credentials", secret.source) for secret in card.soma.credentials if secret.source]
    return tuple(place for place in found if "$" not in place[1])  # a path that only the start knows


def contents(places: Iterable[Place]) -> dict[Place, str]:
    """Return what is in each file, as a text that tells it from any other content. May hang."""
    return {place: _content(place[1]) for place in places}


def _content(path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        found = Path(path).stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= _MOST:
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"  # large, or strange
    return "none"


async def changed_inputs(supervisor: Supervisor) -> dict[str, tuple[str, ...]]:
    """Return label → the fields whose files say something else than when the service started.

    Of services that run now; without an answer in time nothing is known of any.
    """
    before = supervisor.catalogue.read_at_start
    running = [service.card for service in supervisor.table if service.state in WITH_PROCESS]
    asked = {card.label: inputs(card) for card in running if card.label in before}
    places = {place for each in asked.values() for place in each}
    if not places:
        return {}
    with trio.move_on_after(_PATIENCE):
        now = await supervisor.host.ask("files of services", partial(contents, places))
        found = {
            label: tuple(dict.fromkeys(place[0] for place in each if now[place] != before.get(label, {}).get(place)))
            for label, each in asked.items()
        }
        return {label: fields for label, fields in found.items() if fields}
    return {}
