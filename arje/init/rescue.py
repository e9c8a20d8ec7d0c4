"""A shell on the console as a service: what a boot that comes to nothing ends in, and what ``arjectl rescue`` gives.

Its card is written at boot (consoles.py). When it ends, by ``exit`` or because it could not begin, the boot goes on, with
the cards as they are by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.init import console
from arje.init.kernel_line import EMERGENCY
from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State
from arje.supervisor import target
from arje.supervisor.machine import SHELLS

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_QUICK: Final = 2.0  # seconds; what follows a shell that ends sooner does not follow at once


class Rescue:
    """The shells of one manager; ``go_on`` is what follows their end."""

    def __init__(self, supervisor: Supervisor, nursery: trio.Nursery, go_on: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._nursery = nursery
        self._go_on = go_on
        self._began = -math.inf
        supervisor.table.subscribe(self._changed)

    def start(self, label: str, who: str) -> None:
        """Give a shell; where there is none, say so."""
        if label not in self._supervisor.table:
            console.say("arje: there is no shell either; what is left is a signal, or arjectl")
            return
        console.say(f"arje: a {label} shell; its end goes on with the boot")
        self._supervisor.want(label, who)

    async def switch_to(self, label: str, who: str) -> list[Service]:
        """Stop everything, then give a shell; return what was stopped. Raises NoSuchService when there is none."""
        self._supervisor.table.get(label)
        stopped = await target.clear(self._supervisor, label, who, everything=label == EMERGENCY)
        self._supervisor.want(label, who)
        return stopped

    async def attempt(self, label: str, who: str) -> None:
        """Do the same, for who does not wait for an answer. Never raises."""
        try:
            await self.switch_to(label, who)
        except Exception:  # nobody waits for the answer, and pid 1 goes on
            LOG.exception("no shell", label=label, who=who)

    def _changed(self, old: Service, new: Service) -> None:
        if new.label not in SHELLS or self._supervisor.stopping:
            return
        if new.state is State.STARTING and old.state is not State.STARTING:
            self._began = self._supervisor.host.now()
        if old.state in WITH_PROCESS and new.state in (State.DONE, State.FAILED):
            self._nursery.start_soon(self._after)

    async def _after(self) -> None:
        if self._supervisor.host.now() - self._began < _QUICK:
            await trio.sleep(_QUICK)
        if not self._supervisor.stopping:
            self._go_on()
