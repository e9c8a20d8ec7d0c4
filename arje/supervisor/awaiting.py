"""What one may wait for with ``arjectl wait --for``: a state of a service, for as long as it takes to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from arje.service.record import Service
from arje.service.state import State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_REST: Final = frozenset({State.STOPPED, State.DONE, State.FAILED})
#: What is waited for → whether a service is so.
GOALS: Final[dict[str, Callable[[Service], bool]]] = {
    "ready": lambda service: service.is_up and service.ready is not False,
    "running": lambda service: service.state in (State.RUNNING, State.RELOADING),
    "stopped": lambda service: service.state in _REST,
    "done": lambda service: service.state is State.DONE,
    "failed": lambda service: service.state is State.FAILED,
}


async def reached(supervisor: Supervisor, label: str, goal: str) -> tuple[Service, bool]:
    """Wait until a service is so, or has failed instead. Returns its record, and whether it is so.

    A service whose card goes away is stopped. Raises NoSuchService when there is none at the call.
    """
    service = supervisor.table.get(label)
    while label in supervisor.table:
        service = supervisor.table.get(label)
        if GOALS[goal](service):
            return service, True
        if service.state is State.FAILED and not service.lacks_dependency:
            return service, False
        await supervisor.bells.wait(label)
    return service, goal == "stopped"
