"""What is done for a payload after its exec, because before it our memory was its own (isolation.md §3, 4)."""

from __future__ import annotations

import errno
from typing import Final

from arje.errors import SetupFailed
from arje.incarnate import idmap
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.families import FAMILIES
from arje.incarnate.family import Answer, Finisher, drifted, loss_by
from arje.incarnate.policy import is_required
from arje.incarnation import Degradation, Grant, Step

FINISHERS: Final[dict[str, Finisher]] = {name: finish for family in FAMILIES for name, finish in family.AFTER.items()}

#: It has ended already: then there is nothing left that could be worse off.
GONE: Final = (errno.ESRCH, errno.ENOENT)

Settled = tuple[tuple[Grant, ...], tuple[Degradation, ...]]


def settle(plan: Blueprint, settled: Settled, pid: int, *, leader: int) -> Settled:
    """Do it for a payload that has begun; return its grants and losses with these features' own.

    Raises SetupFailed when the kernel refuses what the card requires. Whatever can be known before was refused before.
    """
    grants, losses = {grant.feature: grant for grant in settled[0]}, list(settled[1])
    lost = {loss.feature for loss in losses}
    for wish in plan.wishes:
        if wish.feature not in FINISHERS or wish.feature in lost:
            continue
        try:
            answer = _finish(plan, wish, pid, leader)
        except OSError as error:
            answer, loss = Answer("", False), loss_by(wish, error, f"write {wish.feature}")
        else:
            loss = drifted(wish, answer.granted)
        grants[wish.feature] = Grant(wish.feature, wish.requested, *answer)
        if not answer.ok:
            if is_required(plan.soma, wish.feature) and loss.errno not in GONE:
                raise SetupFailed(plan.card.label, Step.REPORT, loss.errno, wish.field, str(loss))
            losses.append(loss)
    return tuple(grants.values()), tuple(losses)


def _finish(plan: Blueprint, wish: Wish, pid: int, leader: int) -> Answer:
    with idmap.target(pid, parent=leader if pid != leader else None) as directory:
        return FINISHERS[wish.feature](plan, wish, directory)
