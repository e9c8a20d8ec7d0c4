"""What follows the end of a service for good: others that its card names, or the end of arje itself.

The latter (``supervision.ends_arje``) is what a container has its main process for. A hand, a signal or the machine itself
may want arje's end as well, and one of several ways in which it goes (service/ways.py). A limit that is hit may have more
in store (``rate_limit.action``): a target that takes over, an exit of arje, the machine's reboot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.consequence import Consequence, What, read
from arje.service.record import FailureReason, Service
from arje.service.state import State
from arje.service.ways import Way
from arje.supervisor.outermost import inside
from arje.supervisor.target import switch

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
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
        FailureReason.GROUP_LIMIT,
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
    """``said`` is set when arje is to end: ``who`` wants it, the ``way`` it goes and the ``status`` to exit with; ``words``
    are what the way needs further (a root, and its init).

    The first one counts, and nothing follows an end once arje stops. ``force``: no service is stopped in order.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.said = trio.Event()
        self.who = ""
        self.status = 0
        self.way = Way.EXIT
        self.words: tuple[str, ...] = ()
        self.force = False
        self.heard: Callable[[], None] = lambda: None  # called before anything else follows

    def say(self, way: Way, who: str, *, status: int = 0, words: tuple[str, ...] = (), force: bool = False) -> bool:
        """Let arje end in this way; return whether it does: once it is on its way out, the first word counts."""
        if self.said.is_set() or self._supervisor.stopping:
            return False
        self.way, self.who, self.status, self.words, self.force = way, who, status, words, force
        self.heard()
        self.said.set()
        return True

    def follow_up(self, ended: Service) -> None:
        """Begin what follows the state that a service has just come to."""
        card, table = ended.card, self._supervisor.table
        if ended.state not in (State.DONE, State.FAILED) or self._supervisor.stopping or self.said.is_set():
            return
        if card.supervision.ends_arje:
            self.say(Way.EXIT, ended.label, status=status_of(ended))
            return
        for label in card.on_failure if ended.state is State.FAILED else card.on_success:
            if label in table:
                self._supervisor.want(label, ended.label)
        if ended.failure is not None and (then := consequence_of(ended)).what is not What.NONE:
            self._do(then, ended)

    def _do(self, then: Consequence, ended: Service) -> None:
        """Let that follow which the card wants when its limit is hit."""
        LOG.error("a limit is hit", service=ended.label, then=then.told)
        match then.what:
            case What.EXIT:
                self.say(Way.EXIT, ended.label, status=then.status)
            case What.REBOOT | What.POWEROFF:
                self.say(Way(then.what.value), ended.label, status=status_of(ended))
            case What.START if then.label in self._supervisor.table:
                self._supervisor.want(then.label, ended.label)
            case What.TARGET if then.label in self._supervisor.table:
                self._supervisor.nursery.start_soon(self._take_over, then.label, ended.label)

    async def _take_over(self, target: str, who: str) -> None:
        try:
            with inside():
                await switch(self._supervisor, target, who)
        except Exception:
            LOG.exception("a target could not take over", target=target, service=who)


def consequence_of(ended: Service) -> Consequence:
    """Return what the card of a service that has failed wants to follow."""
    asked, reason = ended.card.supervision, ended.failure.reason if ended.failure else None
    if reason is FailureReason.START_LIMIT:
        return read(asked.rate_limit.action)
    if reason is FailureReason.GROUP_LIMIT and asked.budget is not None:
        return read(asked.budget.action)
    return Consequence(What.NONE)
