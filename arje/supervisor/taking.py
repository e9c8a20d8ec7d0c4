"""Taking a plan: its orders carried out, all of them or, when that fails in the middle, none.

A stop cannot be taken back, but what it stopped can be started again: whatever goes wrong after the first order, the way
back (``wayback.py``) is taken at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arje import log
from arje.service.record import Service
from arje.service.state import WITH_PROCESS
from arje.supervisor import starts
from arje.supervisor.cards import CardPlan, to_arm
from arje.supervisor.foresight import stopped, with_parts
from arje.supervisor.history import Step, Undone
from arje.supervisor.wayback import way_back

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


async def enact(supervisor: Supervisor, plan: CardPlan, who: str) -> list[Service] | None:
    """Do what a plan orders. Returns the records, from before, of those that are restarted (:func:`became`).

    Returns None, with the cards as they were, when the manager has begun to stop meanwhile.
    """
    await _stop_those_that_go(supervisor, [c.label for c in plan.changes if c.change == "remove"], who)
    if supervisor.stopping:
        return None
    supervisor.set_cards(list(plan.cards), who)
    supervisor.catalogue.take(plan.loaded)
    supervisor.problems = plan.problems
    for label in plan.ordered("disarms"):
        supervisor.timers.disarm(label, who)
    for label in supervisor.graph.stop_order(stopped(plan)):
        supervisor.unwant(label, who)
        await supervisor.at_rest(label)
    again = with_parts(supervisor, plan.ordered("restarts"))
    touched = [supervisor.table.get(label) for label in again]
    await supervisor.aside.restart(again, who)
    for label in supervisor.graph.start_order(plan.ordered("starts")):
        supervisor.want(label, who, gently=True)
    for label in to_arm(plan, supervisor.table):
        supervisor.timers.arm(label, who)
    return touched


async def became(supervisor: Supervisor, plan: CardPlan, touched: list[Service]) -> list[starts.Became]:
    """Wait until those whom a plan touches have settled, and return what became of them."""
    found: list[starts.Became] = [(await supervisor.settled_again(before), None, {}) for before in touched]
    timed = _timed(supervisor, plan)
    for label in (change.label for change in plan.changes if change.feels in ("starts", "arms")):
        if label in supervisor.table and label not in timed:  # it may have come up long ago: it is no next life
            found.append((await supervisor.settled(label), None, {}))
    return found + [
        await starts.armed(supervisor, supervisor.table.get(name)) for name in timed if name in supervisor.table
    ]


def _timed(supervisor: Supervisor, plan: CardPlan) -> list[str]:
    """Return those whose timers a plan arms; others wait for their sockets then."""
    labels = [change.label for change in plan.changes if change.feels == "arms" and change.label in supervisor.table]
    return [label for label in labels if supervisor.timers.is_armed(label)]


async def go_back(supervisor: Supervisor, step: Step, undone: Undone) -> tuple[CardPlan, list[Service]]:
    """Undo a step and what came after it, in whatever state its taking is. Returns how, and the records as ``enact`` does.

    What cannot be ordered any more is logged.
    """
    plan = way_back(supervisor, step)
    LOG.warning("going back to the cards before", why=undone.why, service=undone.label or None, who=undone.who)
    supervisor.history.pop(step, undone)
    try:
        return plan, await enact(supervisor, plan, undone.who) or []
    except Exception:
        LOG.exception("the way back was not gone to its end, but its cards are in force")
        supervisor.set_cards(list(plan.cards), undone.who)
        supervisor.catalogue.take(plan.loaded)
        return plan, []


async def _stop_those_that_go(supervisor: Supervisor, going: list[str], who: str) -> None:
    """Stop the services whose cards go, until none runs: somebody may start one while another one stops."""
    supervisor.aside.part_with(going)
    for label in going:
        supervisor.timers.disarm(label, who)
    try:
        while busy := [label for label in going if _can_stop(supervisor, label)]:
            for label in supervisor.graph.stop_order(busy):
                supervisor.unwant(label, who)
                await supervisor.at_rest(label)
    finally:
        supervisor.aside.parted(going)


def _can_stop(supervisor: Supervisor, label: str) -> bool:
    table = supervisor.table
    return label in table and table.get(label).state in WITH_PROCESS and not table.get(label).is_stuck
