"""What follows the end of a service for good: others that its card names, or the end of arje itself.

The latter (``supervision.ends_arje``) is what a container has its main process for.
"""

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
    """``said`` is set when a service has ended for good whose end is arje's: ``who``, and the ``status`` to exit with.

    The first one counts, and nothing follows an end once arje stops.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.said = trio.Event()
        self.who = ""
        self.status = 0

    def follow_up(self, ended: Service) -> None:
        """Begin what follows the state that a service has just come to."""
        card, table = ended.card, self._supervisor.table
        if ended.state not in (State.DONE, State.FAILED) or self._supervisor.stopping or self.said.is_set():
            return
        if card.supervision.ends_arje:
            self.who, self.status = ended.label, status_of(ended)
            self.said.set()
            return
        for label in card.on_failure if ended.state is State.FAILED else card.on_success:
            if label in table:
                self._supervisor.want(label, ended.label)
