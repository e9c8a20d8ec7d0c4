"""A service that its sockets have started, and that nobody has come to for a while: it stops, and they listen again.

What "nobody" means, as arje sees only its own ends of the sockets: at no look was there a connection, accepted or waiting
to be, and no connection was seen to come between the looks. The kernel tells nobody when a connection ends, so somebody
has to look: ten times in an ``idle_timeout``, which is the card's wish to be woken up for. A connection that comes and
goes between two looks before arje has run is not seen; at worst the next one starts the service again, and waits for that
in the queue, which is never closed. What comes while the service stops is the next life's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.card import Card
from arje.kernel import established

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_LOOKS: Final = 10  # in one idle_timeout
_LEAST: Final = 0.02  # seconds between two looks


async def over(supervisor: Supervisor, card: Card) -> str | None:
    """Wait until a service is idle for as long as its card says, and say so. None: it cannot be known here."""
    asked = card.activation.idle_timeout
    fds = [held.fd for held in supervisor.activations.descriptors.sockets(card.label)]
    try:
        await supervisor.host.heed(f"idleness of {card.label}", partial(_idle, supervisor, card.label, fds, asked))
    except OSError as error:
        LOG.error("nobody can tell whether it is idle", service=card.label, error=str(error))
        return None
    return f"idle: no connection for {asked:g} s"


async def _idle(supervisor: Supervisor, label: str, fds: list[int], asked: float) -> None:
    since, step = trio.current_time(), max(asked / _LOOKS, _LEAST)
    while trio.current_time() - since < asked:
        next_look = trio.current_time() + step
        came = await _comes(fds, next_look)
        await trio.sleep_until(next_look)
        count = await supervisor.host.ask(f"connections of {label}", partial(established.count, fds))
        if came or count:
            since = trio.current_time()


async def _comes(fds: list[int], until: float) -> bool:
    """Whether a connection comes before so late."""
    came = False

    async def one(fd: int, scope: trio.CancelScope) -> None:
        nonlocal came
        await trio.lowlevel.wait_readable(fd)
        came = True
        scope.cancel()

    with trio.move_on_at(until):
        async with trio.open_nursery() as nursery:
            for fd in fds:
                nursery.start_soon(one, fd, nursery.cancel_scope)
    return came
