"""The commands at the turns of a service's life, one after the other, told in its record while they run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arje import log
from arje.card.card import Card
from arje.card.hooks import DECISIVE
from arje.service.record import Failure, FailureReason
from arje.supervisor import command
from arje.supervisor.command import Ended
from arje.supervisor.host import Living

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_REASONS = {"killed": FailureReason.SIGNAL, "dumped": FailureReason.CORE_DUMP}


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A hook without which the start is none, and how it ended."""

    hook: str
    ended: Ended

    @property
    def reason(self) -> FailureReason:
        """Why the start has failed."""
        if self.ended.late:
            return FailureReason.TIMEOUT
        if self.ended.exit is None:
            return FailureReason.SETUP
        return _REASONS.get(self.ended.exit.kind, FailureReason.EXIT_CODE)

    @property
    def failure(self) -> Failure:
        """The record of it."""
        return Failure(reason=self.reason, step=f"hook {self.hook}", field=f"hooks.{self.hook}", detail=str(self.ended))


async def run(
    supervisor: Supervisor,
    card: Card,
    hook: str,
    *,
    running: Living | None = None,
    seconds: float = math.inf,
    env: tuple[tuple[str, str], ...] = (),
) -> HookFailed | None:
    """Run the commands of a hook; each has ``seconds``. Returns the first failure of a hook that decides."""
    for number, one in enumerate(getattr(card.hooks, hook)):
        if card.label in supervisor.table:
            supervisor.table.note(card.label, doing=f"hook {hook}: {one}")
        ended = await command.run(supervisor, card, one, f"{hook}.{number}", running=running, seconds=seconds, env=env)
        if card.label in supervisor.table:
            supervisor.table.note(card.label, doing="")
        if ended.ok:
            continue
        LOG.warning("a hook has failed", service=card.label, hook=hook, ended=str(ended))
        if hook in DECISIVE:
            return HookFailed(hook, ended)
    return None
