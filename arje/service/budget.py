"""Budgets of groups: what their members have spent of the restarts that they have in common. Pure.

A budget is a window, as a start limit is: the restarts of all members in the latest ``interval`` seconds. When they are as
many as the budget allows, the next failure of any member is for good, whatever its own limit says. A start by hand goes
through and begins the whole group's budget anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from arje.card import consequence
from arje.card.budget import Budget
from arje.card.card import Card
from arje.errors import CardProblem
from arje.service.record import FailureReason
from arje.service.restart import Decision, Verdict

#: Who spent, and when (CLOCK_MONOTONIC, seconds).
Spent = tuple[tuple[str, float], ...]
_SAME: Final = ("restarts", "interval")


def recent(spent: Spent, interval: float, now: float) -> Spent:
    """Return what still counts of what was spent."""
    return tuple(entry for entry in spent if entry[1] > now - interval)


def judge(decision: Decision, budget: Budget, spent: Spent, now: float) -> Decision:
    """Return what becomes of a service whose own rule has decided: failed, when it is to restart and its group may not."""
    if decision.kind is not Verdict.AGAIN:
        return decision
    counted = recent(spent, budget.interval, now + decision.delay)
    if len(counted) < budget.restarts:
        return decision
    then = consequence.read(budget.action).told
    words = f"group-limit: {told(budget, counted)}, last: {decision.ending}"
    return replace(
        decision,
        kind=Verdict.FAILED,
        reason=FailureReason.GROUP_LIMIT,
        delay=0.0,
        detail=f"{words}; {then}" if then else words,
    )


def told(budget: Budget, counted: Spent) -> str:
    """Return in words what a group has spent and who did: ``web has spent 3 of 3 restarts in 60 s: a 2, b``."""
    number = Counter(label for label, _ in counted)
    who = ", ".join(label if times == 1 else f"{label} {times}" for label, times in sorted(number.items()))
    words = f"{budget.group} has spent {len(counted)} of {budget.restarts} restarts in {budget.interval:g} s"
    return f"{words}: {who}" if who else words


@dataclass(slots=True)
class Budgets:
    """What every group has spent."""

    spent: dict[str, Spent] = field(default_factory=dict)

    def words(self, card: Card, now: float) -> str:
        """Return what the group of a card has spent of late, in words; empty when it has no group."""
        if (budget := card.supervision.budget) is None:
            return ""
        return told(budget, recent(self.spent.get(budget.group, ()), budget.interval, now))

    def judge(self, card: Card, decision: Decision, now: float) -> Decision:
        """Return what becomes of a service, and write down the restart that it has."""
        if (budget := card.supervision.budget) is None:
            return decision
        judged = judge(decision, budget, self.spent.get(budget.group, ()), now)
        if judged.kind is Verdict.AGAIN:
            kept = recent(self.spent.get(budget.group, ()), budget.interval, now)
            self.spent[budget.group] = (*kept, (card.label, now + judged.delay))
        return judged

    def begin_anew(self, card: Card) -> None:
        """Forget what the group of a card has spent."""
        if card.supervision.budget is not None:
            self.spent.pop(card.supervision.budget.group, None)


def problems(cards: Iterable[Card]) -> Iterator[CardProblem]:
    """Yield where members of a group do not agree about its budget: the later card against the first."""
    first: dict[str, Card] = {}
    for card in cards:
        if (budget := card.supervision.budget) is None:
            continue
        other = first.setdefault(budget.group, card)
        theirs = other.supervision.budget
        assert theirs is not None
        for name in _SAME:
            if getattr(budget, name) != getattr(theirs, name):
                field = f"supervision.budget.{name}"
                message = f"the group {budget.group} has {getattr(theirs, name):g} in {other.label}"
                line = card.source.line_of(field)
                yield CardProblem(
                    card.source.file_of(field) or card.label, line, field, message, "write the same in all its cards"
                )
