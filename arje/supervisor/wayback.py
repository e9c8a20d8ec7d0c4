"""The way to an earlier set, and what has to be known before a step for it. Reads only; ``taking.py`` goes it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from arje.card.loader import Loaded
from arje.service.order import Graph
from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State
from arje.supervisor.cards import CardPlan, Change, compare, token_of
from arje.supervisor.catalogue import is_hand
from arje.supervisor.foresight import foresee
from arje.supervisor.history import Step

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

FAILED: Final = "it has failed since"


def step_of(supervisor: Supervisor, plan: CardPlan) -> Step:
    """Return the step that a plan is, before it is made."""
    table = supervisor.table
    own = [change for change in plan.changes if change.change != "keep"]
    before = {change.label: table.get(change.label).card for change in own if change.change != "add"}
    running = (service for service in table if service.incarnation is not None)
    return Step(
        supervisor.history.now,
        MappingProxyType(before),
        frozenset(change.label for change in own if change.change == "remove"),
        frozenset(change.label for change in own if change.change == "add"),
        supervisor.catalogue.templates,
        supervisor.problems,
        frozenset(service.label for service in table if service.wanted and service.state is not State.FAILED),
        frozenset(service.label for service in table if supervisor.timers.is_armed(service.label)),
        {service.label: service.incarnation.id for service in running if service.incarnation},
        frozenset(c.label for c in plan.changes if c.change == "keep" and c.feels in ("starts", "arms", "waits")),
    )


def is_step(supervisor: Supervisor, plan: CardPlan) -> bool:
    """Whether a plan changes anything."""
    old = {label: template.documents for label, template in supervisor.catalogue.templates.items()}
    return bool(plan.changes) or old != {template.label: template.documents for template in plan.loaded.templates}


def way_back(supervisor: Supervisor, first: Step) -> CardPlan:
    """Return the plan that undoes a step of the history and all that came after it.

    Only what runs with a card that goes is restarted. What was up before and is not now, by a failure or as its card had
    gone, is started; what the step pulled in is stopped. What hands have started or stopped since stays so.
    """
    table, steps = supervisor.table, list(supervisor.history.steps)
    steps = steps[next(place for place, step in enumerate(steps) if step is first) :]
    cards = {service.label: service.card for service in table}
    for step in reversed(steps):
        for label in step.added:
            cards.pop(label, None)
        cards |= {label: card for label, card in step.cards.items() if label in cards or label in step.gone}
    changes = {change.label: change for change in compare(table, cards.values())}
    changes = {label: _back(supervisor, change, first) for label, change in changes.items()}
    changes |= {change.label: change for change in _beside(supervisor, first, steps, cards.keys() - changes.keys())}
    loaded = Loaded(tuple(cards.values()), first.problems, tuple(first.templates.values()))
    told = {str(problem) for problem in first.problems}
    problems = tuple(problem for problem in Graph(loaded.cards).check() if str(problem) not in told)
    arm = frozenset(change.label for change in changes.values() if change.feels == "arms")
    plan = CardPlan(token_of(loaded.cards), loaded.cards, tuple(changes.values()), problems, loaded, arm=arm)
    return foresee(supervisor, plan)


def _back(supervisor: Supervisor, change: Change, first: Step) -> Change:
    """What is done to a service whose card becomes an earlier one, comes back or goes."""
    label = change.label
    if change.change == "add":
        return replace(change, feels="arms" if label in first.armed else "starts" if label in first.up else "nothing")
    service, armed = supervisor.table.get(label), supervisor.timers.is_armed(label)
    if change.change == "remove" or change.feels == "rebinds":
        return change
    if change.feels == "restarts":
        running = service.incarnation
        same = running is not None and first.lives.get(label) == running.id
        return replace(change, feels="nothing") if same else change  # it has run with that card all the time
    if label in first.up and _is_broken(service, first):
        return replace(change, feels="starts", why=FAILED)
    if armed != (label in first.armed):
        return replace(change, feels="disarms" if armed else "arms")
    return replace(change, feels="nothing")


def _beside(supervisor: Supervisor, first: Step, steps: list[Step], labels: AbstractSet[str]) -> Iterator[Change]:
    """Yield what is done to services whose cards stay."""
    pulled, gone = frozenset[str]().union(*(step.pulled for step in steps)), steps[-1].gone
    for label in sorted(label for label in labels if label in supervisor.table):
        service = supervisor.table.get(label)
        by_hand = service.activation is not None and is_hand(service.activation.who)
        if (
            label in gone and service.state is State.STOPPED and not service.wanted
        ):  # it stopped, and then all went wrong
            yield Change(
                label, "keep", "arms" if label in first.armed else "starts" if label in first.up else "nothing"
            )
        elif label in first.up and _has_failed(service):
            yield Change(label, "keep", "starts", why=FAILED)
        elif label in pulled - first.up and service.state in WITH_PROCESS and service.wanted and not by_hand:
            yield Change(label, "keep", "stops", why="it was not up before")
        elif label in pulled - first.armed and supervisor.timers.is_armed(label):
            yield Change(label, "keep", "disarms", why="it was not armed before")


def _has_failed(service: Service) -> bool:
    """Whether a service has failed, or is about to, and will not recover by itself."""
    fails = service.state is State.FAILED or (service.state is State.STOPPING and service.lost_dependency)
    return fails and not (service.lost_dependency and service.wanted)


def _is_broken(service: Service, first: Step) -> bool:
    """Whether a service has come to an end by itself since a step."""
    ended = service.state is State.DONE and service.label in first.lives
    return ended or service.state in (State.FAILED, State.BACKOFF)
