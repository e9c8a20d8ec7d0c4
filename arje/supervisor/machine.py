"""The part of the door (door.py) that a machine has: how it booted, how it ends, and a shell on its console."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from arje import log
from arje.errors import CannotEnd, NotPid1
from arje.service.record import Service
from arje.service.ways import MEANS, OF_PID1, Way

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
#: The services that are a shell on the console.
SHELLS: Final = ("rescue", "emergency")


class Pid1(Protocol):
    """What the first process can do (init/duties.py)."""

    def brief(self) -> dict[str, Any]: ...
    def facts(self) -> dict[str, Any]: ...
    def refusal(self, way: Way, words: tuple[str, ...] = ()) -> str: ...
    async def switch_to_shell(self, label: str, who: str) -> list[Service]: ...


class OfMachine:
    """Verbs of a machine; all but ``exit`` need a manager that is pid 1."""

    _supervisor: Supervisor
    pid1: Pid1 | None

    if TYPE_CHECKING:

        @staticmethod
        def _result(service: Service, result: str | None = None) -> dict[str, Any]: ...
        def _stopped(self, service: Service) -> dict[str, Any]: ...

    def boot(self) -> dict[str, Any] | None:
        """Return what became of each step of the boot; None when we are not pid 1."""
        return self.pid1.facts() if self.pid1 is not None else None

    def end(self, way: str, who: str, *, words: list[str], force: bool) -> dict[str, Any]:
        """Let arje, and what it is the first process of, end in this way. Raises NotPid1, CannotEnd.

        A second wish does not change the first; with ``force`` it kills what is still stopping.
        """
        wanted, farewell = Way(way), self._supervisor.farewell
        if wanted in OF_PID1:
            self._refuse(wanted, tuple(words))
        if farewell.say(wanted, who, words=tuple(words), force=force):
            LOG.info("the end is wanted", way=way, who=who, force=force)
        elif force:
            self._supervisor.kill_now()
        elif farewell.way is not wanted:
            told = f"it {MEANS[farewell.way]} already, as {farewell.who} wants it"
            raise CannotEnd(way, f"{told}; --force kills what holds it up")
        return {"way": farewell.way.value, "who": farewell.who, "services": len(self._supervisor.outcomes)}

    def _refuse(self, way: Way, words: tuple[str, ...]) -> None:
        if self.pid1 is None:
            raise NotPid1(way.value, os.getpid())
        if why := self.pid1.refusal(way, words):
            raise CannotEnd(way.value, why)

    async def console_shell(self, label: str, who: str) -> list[dict[str, Any]]:
        """Stop what a ``rescue`` or ``emergency`` shell does not need, and start it. Raises NotPid1, NoSuchService."""
        if self.pid1 is None:
            raise NotPid1(label, os.getpid())
        stopped = await self.pid1.switch_to_shell(label, who)
        return [self._result(await self._supervisor.settled(label)), *(self._stopped(other) for other in stopped)]
