"""A payload that runs, and all that a life keeps with it."""

from __future__ import annotations

from dataclasses import dataclass

from arje.card.card import Card
from arje.supervisor.host import Living
from arje.supervisor.readiness import Readier
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.vigil import Vigil
from arje.supervisor.voice import Voice


@dataclass(frozen=True, slots=True)
class Run:
    """One payload, from its first instruction to its last. Close it after that."""

    card: Card
    outcome: Living
    slot: ExitSlot
    voice: Voice
    readier: Readier
    vigil: Vigil

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to be done before the service's bell rings."""
        return self.vigil.is_quiet and not self.voice.is_listening

    def close(self) -> None:
        """Let go of what it was to say, and on what it was heard."""
        self.readier.close()
        self.voice.close()
