"""The verbs that write files, as clients see them: what sticks, how many copies there are, and commands with a card."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from arje.incarnation import as_json
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import stick, transient
from arje.supervisor.cards import CardPlan
from arje.supervisor.foresight import foresee

if TYPE_CHECKING:
    import trio

    from arje.supervisor.supervisor import Supervisor
    from arje.supervisor.trial import Trial


class Written:
    """The part of the door (door.py) where something is written down."""

    _supervisor: Supervisor
    _changing: trio.Lock
    _trial: Trial | None

    if TYPE_CHECKING:

        def _named(self, labels: list[str]) -> list[Service]: ...
        @staticmethod
        def _result(service: Service, result: str | None = None) -> dict[str, Any]: ...
        async def _make_plan(self) -> CardPlan: ...
        def _refused(self, plan: CardPlan, *, stale: bool) -> dict[str, Any]: ...
        async def _take(self, plan: CardPlan, who: str, confirm: float | None = None) -> dict[str, Any]: ...

    async def stick(self, labels: list[str], who: str, field: str, value: Any) -> list[dict[str, Any]]:
        """Write ``enabled``, ``masked`` or ``pinned`` of services down, and let it be so from now on (stick.py).

        Raises NoSuchService before anything has changed.
        """
        async with self._changing:
            stick.summon(self._supervisor, labels, who)
            return [
                self._result(service) | await stick.stick(self._supervisor, service.label, who, field, value)
                for service in self._named(labels)
            ]

    async def scale(self, template: str, copies: int, who: str) -> dict[str, Any]:
        """Let a template have so many copies from now on; answers as ``apply``. Raises NoSuchService, CardError."""
        async with self._changing:
            if self._trial is not None:  # before anything is written
                return self._refused(foresee(self._supervisor, await self._make_plan()), stale=False) | {"file": ""}
            plan, path = await stick.scale(self._supervisor, template, copies, who)
            if plan.problems or self._supervisor.stopping:
                return self._refused(plan, stale=False) | {"file": path}
            problems, undone = self._supervisor.problems, self._supervisor.history.undone  # what is so of other cards
            answer = await self._take(plan, who)
            self._supervisor.problems, self._supervisor.history.undone = problems, undone
            return answer | {"file": path}

    def reset_failed(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Let failed services be stopped ones, and forget their failure. Raises NoSuchService."""
        failed = [service for service in self._named(labels) if service.state is State.FAILED]
        for service in failed:
            self._supervisor.unwant(service.label, who)
        return [
            self._result(self._supervisor.table.get(service.label), "done") | {"detail": "reset"} for service in failed
        ]

    def cat(self, label: str) -> list[str]:
        """Return every file that made a card, or a template: who may read them does so. Raises NoSuchService."""
        return stick.files_of(self._supervisor, label)

    async def run(self, label: str, command: list[str], text: str, who: str, *, remain: bool) -> dict[str, Any]:
        """Make a card for one command and start it (transient.py). Raises CardError."""
        async with self._changing:
            made = await transient.make(self._supervisor, label, command, text, remain=remain)
        service = await transient.start(self._supervisor, made, who)
        return self._result(service) | {"file": made.card.source.file, "exit_code": None}

    async def run_and_follow(
        self, label: str, command: list[str], text: str, who: str, *, remain: bool
    ) -> AsyncIterator[dict[str, Any]]:
        """Run a command as :meth:`run` does; yields its lines, then what became of it. Raises CardError."""
        async with self._changing:
            made = await transient.make(self._supervisor, label, command, text, remain=remain)
        async with contextlib.aclosing(transient.follow(self._supervisor, made, who)) as follow:  # type: ignore[type-var]
            async for found in follow:
                if not isinstance(found, Service):
                    yield {"line": found, "result": None}
                    continue
                code = found.last_exit.shell_status if found.last_exit else None
                yield {"line": None, "result": self._result(found) | {"file": made.card.source.file, "exit_code": code}}


def as_plan(plan: CardPlan) -> dict[str, Any]:
    """Return a plan fit for JSON."""
    return {
        "token": plan.token,
        "changes": [as_json(change) for change in plan.changes],
        "problems": [as_json(problem) for problem in plan.problems],
    }
