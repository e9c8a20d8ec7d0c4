"""Services that are set aside for a while: those that do not start yet, and those whose end nobody feels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from arje.supervisor.outermost import verb

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


class Aside:
    """The verbs that write ``paused`` and ``going`` of a supervisor, and what is made of them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @verb
    def hold(self, labels: list[str]) -> None:
        """Let services not start until they are released."""
        self._supervisor.paused.update(labels)

    @verb
    def release(self, labels: list[str]) -> None:
        """Let services start again."""
        self._supervisor.paused.difference_update(labels)
        self._supervisor.bells.all_changed()

    @verb
    def part_with(self, labels: list[str]) -> None:
        """Let nobody feel the end of services that are going."""
        self._supervisor.going.update(labels)

    @verb
    def parted(self, labels: list[str]) -> None:
        """Let the end of services be felt again."""
        self._supervisor.going.difference_update(labels)

    async def restart(self, labels: list[str], who: str) -> None:
        """Stop services in their order, then start all of them in theirs; those who are not named feel nothing."""
        supervisor = self._supervisor
        self.hold(labels)
        try:
            for label in supervisor.graph.stop_order(labels):
                if label in supervisor.table:
                    supervisor.again(label, who)
                    await supervisor.at_rest(label)
        finally:
            self.release(labels)

    @asynccontextmanager
    async def between_lives(self, label: str, who: str) -> AsyncIterator[None]:
        """Hold a service between its end and its next start. Raises NoSuchService."""
        self.hold([label])
        try:
            self._supervisor.again(label, who)
            await self._supervisor.at_rest(label)
            yield
        finally:
            self.release([label])
