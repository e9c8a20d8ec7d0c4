"""Changing the set of cards, as clients see it: plan, apply, with a confirmation when it is asked for, and rollback.

One change is made at a time. While a step is on trial (``trial.py``) no other is taken: ``apply`` and ``scale`` are
refused with the reason, ``rollback`` breaks the trial off. The trial is the manager's: a client that goes away changes
nothing. A manager that stops ends it without a verdict; the next one reads the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from arje import log
from arje.errors import CardError, CardProblem
from arje.incarnation import as_json
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import compiled, heal, starts, stick, taking, wayback
from arje.supervisor.cards import CardPlan, make_plan
from arje.supervisor.foresight import foresee
from arje.supervisor.history import Step, Undone
from arje.supervisor.inputs import changed_inputs
from arje.supervisor.trial import Blame, Trial
from arje.supervisor.written import as_plan

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_BUG = "arje itself failed in the middle of it; its log has the traceback"


class Changing:
    """The part of the door (door.py) where the set of cards is changed."""

    _supervisor: Supervisor
    _changing: trio.Lock
    _trial: Trial | None = None
    changed_on_disk: bool
    _applied: float | None

    if TYPE_CHECKING:

        @staticmethod
        def _result(service: Service, result: str | None = None) -> dict[str, Any]: ...
        def _results(self, found: list[starts.Became]) -> list[dict[str, Any]]: ...

    async def plan(self) -> dict[str, Any]:
        """Return what the cards on disk would change. Nothing is changed."""
        plan = foresee(self._supervisor, await self._make_plan())
        return as_plan(plan) | {"undone": as_json(self._supervisor.history.undone)}

    async def _make_plan(self) -> CardPlan:
        inputs = await changed_inputs(self._supervisor)
        return make_plan(self._supervisor.catalogue, self._supervisor.table, inputs)

    async def apply(self, token: str, who: str, confirm: float | None = None) -> dict[str, Any]:
        """Make the cards on disk the ones in force: all, or with a problem among them none.

        ``token`` is that of the plan that was looked at, or empty; ``stale`` in the answer says that the disk has moved on,
        ``stopping`` that the manager takes no cards any more, ``busy`` that another apply is on trial. With ``confirm``
        the set is on trial for so many seconds, and given up when it is not good; ``undone`` tells that.
        """
        async with self._changing:
            heal.recheck(self._supervisor)
            plan = await self._make_plan()
            stale = bool(token) and token != plan.token
            if not stale and self._trial is None and stick.forget_idle(self._supervisor):
                plan = await self._make_plan()
            plan = foresee(self._supervisor, plan)
            if plan.problems or stale or self._supervisor.stopping or self._trial is not None:
                return self._refused(plan, stale=stale)
            return await self._take(plan, who, confirm)

    async def _take(self, plan: CardPlan, who: str, confirm: float | None = None) -> dict[str, Any]:
        """Make a plan true, and answer. The caller holds the lock; it is let go for the time of a trial."""
        supervisor = self._supervisor
        step = wayback.step_of(supervisor, plan)
        if is_step := wayback.is_step(supervisor, plan):
            supervisor.history.push(step, plan, supervisor.cause(who))
        self._applied = supervisor.host.now()
        try:
            touched = await taking.enact(supervisor, plan, who)
        except Exception:
            LOG.exception("the cards could not be taken")
            if not is_step:
                raise
            return await self._give_up(plan, step, who, Blame("", _BUG))
        if touched is None:
            return self._refused(plan, stale=False)
        self.changed_on_disk = False
        supervisor.history.undone = None
        catalogue = supervisor.catalogue
        supervisor.nursery.start_soon(compiled.keep, catalogue.cache, catalogue.memory)
        if confirm is not None and is_step:
            trial = self._trial = Trial(supervisor, plan, step, confirm, who)
            if (blame := await self._judge(trial)) is not None:
                trial.answer = await self._give_up(plan, step, who, blame)
                return trial.answer
        found = self._results(await taking.became(supervisor, plan, touched))
        return self._answer(plan, found, applied=True, confirmed=confirm is not None and not supervisor.stopping)

    async def _judge(self, trial: Trial) -> Blame | None:
        """Wait for the verdict on a step; others may do meanwhile what is none."""
        self._changing.release()
        try:
            return await trial.run()
        finally:
            with trio.CancelScope(shield=True):  # who holds the lock lets go of it, at the latest at the manager's end
                await self._changing.acquire()
            self._trial = None
            trial.over.set()

    async def _give_up(self, plan: CardPlan, step: Step, who: str, blame: Blame) -> dict[str, Any]:
        """Go back to the set before a step that was no good."""
        told = f"rollback ({blame.why}; apply by {who})"
        return await self._go_back(plan, step, told, blame)

    async def _go_back(self, plan: CardPlan | None, step: Step, who: str, blame: Blame) -> dict[str, Any]:
        """Go back to the set before a step, and answer for ``plan``, or for the way back itself."""
        supervisor = self._supervisor
        left = supervisor.history.now.token
        undone = Undone(supervisor.host.wall(), who, blame.why, blame.label, step.before.token, left)
        back, touched = await taking.go_back(supervisor, step, undone)
        self.changed_on_disk = True
        found = self._results(await taking.became(supervisor, back, touched))
        return self._answer(plan or back, found, applied=plan is None, undone=undone, back=back)

    async def rollback(self, token: str, who: str) -> dict[str, Any]:
        """Go back to the set before the latest step, or to that of a token. Raises CardError when there is none.

        A step that is on trial is given up for it, and that is all.
        """
        supervisor = self._supervisor
        await supervisor.history.recall()
        trial = self._trial
        if trial is not None and token in ("", trial.step.before.token):
            trial.break_off(who)
            await trial.over.wait()
        async with self._changing:
            if trial is not None and trial.answer is not None:
                return trial.answer | {"applied": True}
            step = supervisor.history.find(token)
            if step is None:
                raise CardError([_no_such(token)])
            plan = wayback.way_back(supervisor, step)
            if plan.problems or supervisor.stopping or self._trial is not None:
                return self._refused(plan, stale=False)
            return await self._go_back(None, step, f"rollback by {who}", Blame("", f"{who} wanted it"))

    async def sets(self) -> list[dict[str, Any]]:
        """Return the sets that a rollback can go to, the one in force first."""
        await self._supervisor.history.recall()
        return self._supervisor.history.told()

    # -- answers -------------------------------------------------------------------------------------------------------

    def _refused(self, plan: CardPlan, *, stale: bool) -> dict[str, Any]:
        """The answer when nothing was changed. A manager that stops says so of every service that would have changed."""
        stopping, results = self._supervisor.stopping, []
        for change in plan.changes if stopping else ():
            known = change.label in self._supervisor.table
            state = self._supervisor.table.get(change.label).state if known else State.STOPPED
            told = {"label": change.label, "result": "failed", "state": state.value}
            results.append(told | {"detail": "arje is stopping: no cards are taken any more", "degraded": 0})
        busy = str(self._trial) if self._trial is not None else ""
        return self._answer(plan, results, stale=stale, stopping=stopping, busy=busy)

    def _answer(
        self,
        plan: CardPlan,
        results: list[dict[str, Any]],
        *,
        applied: bool = False,
        stale: bool = False,
        stopping: bool = False,
        busy: str = "",
        confirmed: bool = False,
        undone: Undone | None = None,
        back: CardPlan | None = None,
    ) -> dict[str, Any]:
        told = {"applied": applied, "stale": stale, "stopping": stopping, "busy": busy, "confirmed": confirmed}
        undoing = {"undone": as_json(undone), "back": [as_json(change) for change in back.changes] if back else []}
        return as_plan(plan) | told | {"results": results} | undoing


def _no_such(token: str) -> CardProblem:
    message = f"there is no set {token!r}" if token else "there is no set before this one"
    return CardProblem("", 0, "token", message, "arjectl rollback --list tells which there are")
