"""The service whose end is arje's own (``supervision.ends_arje``): what a container has its main process for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from arje.service.record import FailureReason, Service
from arje.service.state import State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

#: The failures of something that ran: its last exit belongs to them.
_RAN: Final = frozenset(
    {
        FailureReason.EXIT_CODE,
        FailureReason.SIGNAL,
        FailureReason.CORE_DUMP,
        FailureReason.OOM_KILL,
        FailureReason.TIMEOUT,
        FailureReason.WATCHDOG,
        FailureReason.HEALTH,
        FailureReason.START_LIMIT,
        FailureReason.PROTOCOL,
    }
)


def status_of(service: Service) -> int:
    """Return the exit status that tells of a service's end: its own; 1 for a failure that has none, or a good one."""
    exit = service.last_exit
    if service.state is State.DONE:
        return exit.shell_status if exit else 0
    ran = service.failure is not None and service.failure.reason in _RAN
    return (exit.shell_status if exit and ran else 0) or 1


class Farewell:
    """``said`` is set when a service has ended for good whose end is arje's: ``who`` it is, and the ``status`` to exit with.

    The first one counts, and none once arje stops for another reason.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.said = trio.Event()
        self.who = ""
        self.status = 0

    def changed(self, old: Service, new: Service) -> None:
        """Hear of a change in the table."""
        over = new.state in (State.DONE, State.FAILED) and old.state is not new.state
        if not over or not new.card.supervision.ends_arje or self._supervisor.stopping or self.said.is_set():
            return
        self.who, self.status = new.label, status_of(new)
        self.said.set()
