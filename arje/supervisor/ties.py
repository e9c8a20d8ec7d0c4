"""What becomes of others when a service changes: they stop, start again, fail, recover, or make room.

Everything here follows from the edges of the cards and is done by firing events; nothing waits but the grace of a quorum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from arje import log
from arje.card.edges import Reaction, Term
from arje.service.faults import circle
from arje.service.record import Service
from arje.service.state import STOP_WITH, WITH_PROCESS, Event, State
from arje.supervisor.needs import Loss

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_RUNS = frozenset({State.STARTING, State.RUNNING, State.RELOADING})


class Ties:
    """The consequences of one manager's services for each other. ``_owed``: by service, who was up beside it when it
    went and starts again when it is back, each with the time of its own start. ``_borne``: who runs on a grace."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self._needs = supervisor.needs
        self._owed: dict[str, dict[str, tuple[float, ...]]] = {}
        self._borne: dict[str, trio.CancelScope] = {}

    # -- changes -------------------------------------------------------------------------------------------------------

    def changed(self, old: Service, new: Service) -> None:
        """Let all who have an edge to a service feel that its state, or what it is granted, has changed."""
        for asker in self._needs.askers(new.label):
            self._feel(asker, new)
        if old.is_up and not new.is_up:
            self._owe(new.label)
        elif new.is_up and not old.is_up:
            self._pay(new.label)
        elif old.state is State.RELOADING and new.state is State.RUNNING:
            for asker, term in self._supervisor.graph.felt_by(new.label).items():
                self._react(asker, new.label, term, "on_reload")

    def _feel(self, label: str, change: Service) -> None:
        """Let one who requires a service feel what became of it."""
        if label not in self._table:
            return
        service = self._table.get(label)
        if service.state is State.WAITING:
            if not self.fails_at_once(label):
                self.pull_spares(label)
        elif service.state in _RUNS:
            if (change.is_up and not change.degradations) or (not change.is_up and change.state in WITH_PROCESS):
                lost = None if label not in self._borne else self._needs.loss(label)
            else:
                lost = self._needs.loss(label)
            if lost is None:
                self._bear_no_more(label)
            elif lost.requirement.grace:
                self._bear(label, lost)
            else:
                self._lose(lost)
        elif service.lacks_dependency and service.wanted and self._needs.loss(label) is None:
            self._table.fire(
                label, Event.RECOVERED, self._supervisor.cause(change.label, f"{change.label} is {change.state.value}")
            )

    def _lose(self, lost: Loss) -> None:
        self._bear_no_more(lost.asker)
        if self._table.get(lost.asker).card.pinned == "started":
            return
        why = self._supervisor.cause(lost.provider.label, str(lost))
        if lost.requirement.recovers:
            self._table.fire(lost.asker, Event.STOP, why, wanted=True)
        else:
            self._table.fire(lost.asker, Event.STOP, why, wanted=False, failure=lost.failure)

    def fails_at_once(self, label: str) -> bool:
        """Let a waiting service fail when what it requires has failed for good. Returns whether it does not wait."""
        if label not in self._table or self._table.get(label).state is not State.WAITING:
            return True
        lost = None if self._supervisor.stopping else self._needs.final_loss(label)
        if lost is None:
            return False
        why = self._supervisor.cause(lost.provider.label, str(lost))
        if cycle := self._needs.circle(label):
            why = self._supervisor.cause("cards.d", circle(self._supervisor.graph, cycle))
        changes = {} if lost.requirement.recovers else {"wanted": False}
        self._table.fire(label, Event.DEPENDENCY_FAILED, why, failure=lost.failure, **changes)
        return True

    def pull_spares(self, label: str) -> None:
        """Start further providers for a waiting service when too few of those that it could have are left.

        Only one that has never been started is a spare: what failed, was skipped or stopped by hand stays as it is.
        """
        graph = self._supervisor.graph
        for requirement in graph.needs(label) if label in graph else ():
            providers = [other for other in graph.providers(requirement, label) if other in self._table]
            missing = requirement.at_least - sum(self._may_come(other) for other in providers)
            spares = [other for other in providers if self._is_spare(other)]
            for spare in sorted(spares, key=lambda other: not graph.cards[other].enabled)[: max(0, missing)]:
                if requirement.pulls:
                    self._supervisor.want(spare, label, gently=True)

    def _may_come(self, label: str) -> bool:
        service = self._table.get(label)
        return service.is_up or (service.wanted and service.state is not State.FAILED) or service.state in WITH_PROCESS

    def _is_spare(self, label: str) -> bool:
        service = self._table.get(label)
        return service.state is State.STOPPED and len(service.history) == 1

    # -- the grace of a quorum -----------------------------------------------------------------------------------------

    def _bear(self, label: str, lost: Loss) -> None:
        if label in self._borne:
            return
        scope = self._borne[label] = trio.CancelScope()
        LOG.warning("too few are up", service=label, why=str(lost), grace=lost.requirement.grace)
        self._supervisor.nursery.start_soon(self._after_grace, label, lost.requirement.grace, scope)

    def _bear_no_more(self, label: str) -> None:
        if (scope := self._borne.pop(label, None)) is not None:
            scope.cancel()

    async def _after_grace(self, label: str, grace: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.sleep(grace)
            if scope.cancelled_caught or self._supervisor.stopping or label not in self._table:
                return
            lost = self._needs.loss(label)
            if lost is not None and self._table.get(label).state in _RUNS:
                self._lose(lost)
        except Exception:
            LOG.exception("the end of a grace could not be told", service=label)
        finally:
            if self._borne.get(label) is scope:
                del self._borne[label]

    # -- restarts ------------------------------------------------------------------------------------------------------

    def _owe(self, label: str) -> None:
        for asker in self._supervisor.graph.felt_by(label):
            if asker in self._table and (service := self._table.get(asker)).state in _RUNS:
                self._owed.setdefault(label, {})[asker] = service.starts

    def _pay(self, label: str) -> None:
        terms = self._supervisor.graph.felt_by(label)
        for asker, starts in self._owed.pop(label, {}).items():
            if asker in self._table and asker in terms and self._table.get(asker).starts == starts:
                self._react(asker, label, terms[asker], "on_restart")

    def _react(self, asker: str, label: str, term: Term, word: str) -> None:
        """Let a service do what its edge says, when it runs."""
        reaction: Reaction = getattr(term, word)
        if asker not in self._table or self._table.get(asker).state not in _RUNS or reaction is Reaction.KEEP:
            return
        if reaction is not Reaction.RELOAD and self._table.get(asker).card.pinned == "started":
            return
        did = "has started again" if word == "on_restart" else "has reloaded"
        rule = f"{label} {did} ({term.kind}.{term.name}.{word} = {reaction})"
        if reaction is Reaction.RELOAD:
            self._supervisor.nursery.start_soon(self._reload, asker, label, rule)
        else:
            self._table.fire(asker, Event.STOP, self._supervisor.cause(label, rule), wanted=True)

    async def _reload(self, asker: str, label: str, rule: str) -> None:
        try:
            life = self._supervisor.life(asker)
            trouble = await life.reload(label) if life is not None else "it does not run"
            LOG.info("reloaded", service=asker, why=rule, trouble=trouble)
        except Exception:
            LOG.exception("a service could not be reloaded", service=asker)

    # -- conflicts -----------------------------------------------------------------------------------------------------

    def yields(self, label: str, taken: set[str], *, gently: bool) -> bool:
        """Skip a service that conflicts with one that is started with it, or ``gently`` with any that is wanted.

        One that stops already, as it does for such a rival, goes on to do so."""
        for rival in self._supervisor.graph.rivals(label):
            if rival not in self._table:
                continue
            service = self._table.get(rival)
            if rival in taken or (gently and service.wanted and service.state is not State.STOPPED):
                if self._table.get(label).state is State.STOPPING:
                    return True
                self._table.fire(label, Event.WANTED, self._supervisor.cause(rival, "conflict"))
                why = f"{label} conflicts with {rival}, which is wanted already"
                self._table.fire(label, Event.SKIPPED, self._supervisor.cause(rival, f"skipped: {why}"))
                return True
        return False

    def stop_rivals(self, label: str) -> None:
        """Take the wish back for everything that must not run while a service does."""
        for rival in self._supervisor.graph.rivals(label):
            if rival in self._table and (event := STOP_WITH.get(self._table.get(rival).state)) is not None:
                self._table.fire(rival, event, self._supervisor.cause(label, f"{label} conflicts with it"))
