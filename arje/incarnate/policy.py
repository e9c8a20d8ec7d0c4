"""Refuse or degrade: which losses a card can live with. Pure.

By default what only hides or forbids may degrade, and what changes the world that the service sees must succeed; a
card's ``require`` and ``prefer`` override that feature by feature, or family by family (``cgroup``, ``rlimit``), and
``strict_caps`` makes everything a must.
"""

from __future__ import annotations

from typing import Final

from arje.card.soma import Soma
from arje.incarnate.families import FAMILIES
from arje.incarnation import Degradation

#: Features whose loss would show the service another world, or run it as somebody else.
MUST: Final = frozenset().union(*(family.MUST for family in FAMILIES))


def is_required(soma: Soma, feature: str) -> bool:
    """Return whether a card refuses to live without a feature. The more exact name wins, then ``require``."""
    if soma.strict_caps:
        return True
    for name in (feature, feature.partition(".")[0]):
        if name in soma.require:
            return True
        if name in soma.prefer:
            return False
    return feature in MUST or feature.partition(".")[0] in MUST


def refusals(soma: Soma, degradations: tuple[Degradation, ...]) -> tuple[Degradation, ...]:
    """Return the losses that a card does not accept."""
    return tuple(loss for loss in degradations if is_required(soma, loss.feature))
