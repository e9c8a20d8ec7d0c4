"""What may be asked of the manager: the whole surface that the control socket shows. Plain data in and out.

Verbs wait until the service is at rest again and answer a result per service: done, failed, refused (isolation),
dependents (others run on it), already, not-running.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import arje
from arje import log
from arje.card import signals
from arje.card.layers import concerns
from arje.card.schema import card_schema
from arje.incarnation import as_json
from arje.kernel.report import as_report
from arje.service.record import FailureReason, Service
from arje.service.state import WITH_PROCESS, State
from arje.service.tally import Tally
from arje.supervisor import awaiting, forecasts, harden, heal, live, snapshot, starts, stick, target
from arje.supervisor.changing import Changing
from arje.supervisor.columns import Columns
from arje.supervisor.listening import Listening
from arje.supervisor.looking import Looking
from arje.supervisor.machine import OfMachine, Pid1
from arje.supervisor.supervisor import Supervisor
from arje.supervisor.written import Written

if TYPE_CHECKING:
    from arje.supervisor.metrics import Family

LOG = log.logger()


class Door(Listening, Looking, Written, Changing, OfMachine):
    """One manager, as its clients see it."""

    def __init__(self, supervisor: Supervisor, directories: tuple[Path, ...], runtime_dir: Path, mode: str) -> None:
        super().__init__(supervisor)
        self._directories = directories
        self._runtime_dir = runtime_dir
        self._mode = mode
        self._began = supervisor.host.now()
        self._applied: float | None = None
        self._columns = Columns(supervisor)
        self._changing = trio.Lock()
        self.changed_on_disk = False
        self.pid1: Pid1 | None = None
        self._tally = Tally()
        supervisor.table.subscribe(self._tally.heard)

    # -- look ----------------------------------------------------------------------------------------------------------

    def manager(self) -> dict[str, Any]:
        """Return facts of the manager itself; uptime in seconds."""
        table = self._supervisor.table
        return {
            "version": arje.__version__,
            "pid": os.getpid(),
            "mode": self._mode,
            "state": "stopping" if self._supervisor.stopping else "running",
            "uptime": self._supervisor.host.now() - self._began,
            "runtime_dir": str(self._runtime_dir),
            "cards": [str(directory) for directory in self._directories],
            "orphans_reaped": self._supervisor.host.orphans,
            "degraded": sum(bool(service.degradations) for service in table),
            "counts": dict(Counter(service.state.value for service in table)),
            "changed_on_disk": self.changed_on_disk,
            "problems": len({problem.file for problem in self._supervisor.problems}),
            "templates": sorted(self._supervisor.catalogue.templates),
            "boot": self.pid1.brief() if self.pid1 is not None else None,
        }

    async def metrics(self) -> list[Family]:
        """Return the figures of the manager and of every service (metrics.py)."""
        from arje.supervisor.metrics import families  # who is never asked does without

        return await families(self._supervisor, self._tally, self.manager())

    def problems_of(self, label: str) -> list[dict[str, Any]]:
        """Return what is wrong with the card that would have this label, as when it was last loaded."""
        return [as_json(problem) for problem in self._supervisor.problems if concerns(Path(problem.file), label)]

    def services(self, labels: list[str], *, full: bool) -> list[dict[str, Any]]:
        """Return the services of these labels and patterns; all for none. Raises NoSuchService."""
        show = snapshot.full if full else snapshot.brief
        return [show(self._supervisor, service) for service in self._named(labels)]

    async def look(self, labels: list[str]) -> None:
        """Let the records of these services say what is so now (heal.py). Raises NoSuchService."""
        await heal.look(self._supervisor, [service.label for service in self._named(labels)])

    async def wait(self, labels: list[str], goal: str = "") -> list[dict[str, Any]]:
        """Wait until services are not on their way any more, or have reached a goal (awaiting.py). Raises NoSuchService."""
        chosen = [service.label for service in self._named(labels)]
        if not goal:
            return [self._result(await self._supervisor.settled(label)) for label in chosen]
        ends = [await awaiting.reached(self._supervisor, label, goal) for label in chosen]
        return [self._result(service, "done" if so else "failed") for service, so in ends]

    def doctor(self) -> dict[str, Any]:
        """Return what this machine can isolate, and how to mend what it cannot: a host report."""
        incarnator = self._supervisor.incarnator
        return as_report(incarnator.capabilities, incarnator.looked)

    async def forecast(self, label: str, on: Any = None) -> dict[str, Any]:
        """Return what a start of a service would do here, or ``on`` another host (forecasts.py).

        Raises NoSuchService, BadReport.
        """
        return await forecasts.forecast(self._supervisor, label, on)

    async def check(self, name: str, text: str, on: Any = None) -> dict[str, Any]:
        """Return what a start of the cards in a file's text would do (forecasts.py). Raises BadReport."""
        return await forecasts.check(self._supervisor, name, text, on)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a card."""
        return card_schema()

    # -- run -----------------------------------------------------------------------------------------------------------

    async def start(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Start services and what they need; arm timed ones. Raises NoSuchService before anything has changed."""
        stick.summon(self._supervisor, labels, who)
        return self._results(await starts.start(self._supervisor, self._named(labels), who))

    async def trigger(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Run services now, timed or not. Raises NoSuchService before anything has changed."""
        stick.summon(self._supervisor, labels, who)
        return self._results(await starts.trigger(self._supervisor, self._named(labels), who))

    async def stop(self, labels: list[str], who: str, *, force: bool) -> list[dict[str, Any]]:
        """Stop services; refused for one that running services require, unless forced: then those stop first."""
        return [await self._stop(service.label, who, force=force) for service in self._named(labels)]

    async def release(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Stop services unless something that runs needs them: those run on as theirs. Raises NoSuchService."""
        idle = self._let_go(labels, who)
        found = []
        for service in self._named(labels):
            if service.label in idle:
                found.append(await self._stop(service.label, who, force=False))
            else:
                keeper = service.activation.who if service.activation else ""
                found.append(self._result(service, "kept") | {"detail": keeper})
        return found

    async def wake(self, labels: list[str]) -> list[dict[str, Any]]:
        """Start services that something which runs pulls in, as that would have. Raises NoSuchService."""
        found = []
        for service in self._named(labels):
            wakers = self._wakers(service.label)
            if service.is_up:
                found.append(self._result(service, "already"))
            elif wakers:
                found += self._results(await starts.start(self._supervisor, [service], wakers[0]))
            else:
                hint = f"nothing that runs needs it: arjectl start {service.label}"
                found.append(self._result(service, "failed") | {"detail": hint})
        return found

    async def _stop(self, label: str, who: str, *, force: bool) -> dict[str, Any]:
        service = self._supervisor.table.get(label)
        if service.state in (State.STOPPED, State.DONE) or (
            service.state is State.FAILED and not service.lacks_dependency  # that one would start again by itself
        ):
            disarmed = self._supervisor.timers.disarm(label, who)
            return self._result(service, "disarmed" if disarmed else "not-running")
        life = self._supervisor.life(label)
        if service.state is State.STOPPING and not service.wanted and life is not None:
            life.hurry()  # who asks a second time does not want to wait
        parts = [other for other in self._supervisor.graph.with_parts([label]) if other == label or self._runs(other)]
        needed = [other for other in self._dependents(label) if other not in parts]
        if needed and not force:
            return self._result(service, "dependents") | {"detail": ", ".join(needed)}
        self._supervisor.timers.disarm(label, who)
        ended = None
        for other in [*needed, *parts]:
            self._supervisor.unwant(other, who if other not in parts or other == label else label)
            ended = await self._supervisor.at_rest(other)
        if label in self._supervisor.table:
            ended = self._supervisor.table.get(label)
        if ended is None:
            return self._result(service, "done") | {"state": State.STOPPED.value, "detail": "its card is gone"}
        return self._stopped(ended)

    def _stopped(self, service: Service) -> dict[str, Any]:
        """What became of a stop: it is done when nothing runs, and nobody has started it again meanwhile."""
        if service.state is State.STOPPED:
            return self._result(service, "done")
        why = service.kill_method if service.is_stuck else f"started again by {service.activation}"
        if service.state is State.FAILED and service.failure:
            why = snapshot.failure_text(service.failure)
        return self._result(service, "failed") | {"detail": why}

    def _dependents(self, label: str) -> list[str]:
        """The running services that would lose what they require, in the order in which they stop."""
        graph, table = self._supervisor.graph, self._supervisor.table
        affected = graph.stopped_with(
            graph.with_parts([label]), lambda other: other != label and table.get(other).is_up
        )
        return [other for other in affected if table.get(other).state in WITH_PROCESS]

    def _runs(self, label: str) -> bool:
        """Whether a stop of a service would be felt: it has a process, or is on its way to one."""
        table = self._supervisor.table
        return label in table and table.get(label).state in {*WITH_PROCESS, State.WAITING, State.BACKOFF}

    async def target(self, label: str, who: str) -> list[dict[str, Any]]:
        """Start a target and stop all that it does not pull in (target.py). Raises NoSuchService."""
        if not target.is_target(service := self._supervisor.table.get(label)):
            return [self._result(service, "failed") | {"detail": "it is no target: it has a process of its own"}]
        stopped = await target.switch(self._supervisor, label, who)
        return [self._result(await self._supervisor.settled(label)), *(self._stopped(other) for other in stopped)]

    async def restart(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Stop and start services, and what is part of them; what depends on them keeps running. Raises NoSuchService."""
        stick.summon(self._supervisor, labels, who)
        chosen = self._named(labels)
        named = {service.label for service in chosen}
        for other in self._supervisor.graph.with_parts(named):
            if other not in named and self._runs(other):
                self._supervisor.again(other, who)
        return self._results(await starts.restart(self._supervisor, chosen, who))

    def _results(self, found: list[starts.Became]) -> list[dict[str, Any]]:
        return [self._result(service, word) | more for service, word, more in found]

    async def try_restart(self, labels: list[str], who: str) -> list[dict[str, Any]]:
        """Restart those of the services that run. Raises NoSuchService."""
        chosen = self._named(labels)
        running = [service.label for service in chosen if service.state in WITH_PROCESS]
        done = {each["label"]: each for each in await self.restart(running, who)} if running else {}
        return [done.get(service.label) or self._result(service, "not-running") for service in chosen]

    async def reload(self, labels: list[str], who: str, *, or_restart: bool) -> list[dict[str, Any]]:
        """Let services read their configuration again. ``or_restart``: who cannot is restarted. Raises NoSuchService."""
        return [await self._reload(service, who, or_restart=or_restart) for service in self._named(labels)]

    async def _reload(self, service: Service, who: str, *, or_restart: bool) -> dict[str, Any]:
        label, life = service.label, self._supervisor.life(service.label)
        can = service.card.supervision.reload is not None
        runs = service.state in (State.RUNNING, State.RELOADING) and life is not None
        if or_restart and not (can and runs):
            return (await self.restart([label], who))[0]
        if not runs or life is None:
            return self._result(service, "not-running")
        if not can:
            hint = 'its card does not say how: supervision.reload = "HUP", or a command'
            return self._result(service, "failed") | {"detail": hint}
        trouble = await life.reload(who)
        now = self._supervisor.table.get(label) if label in self._supervisor.table else service
        return self._result(now, "failed" if trouble else "done") | {"detail": trouble}

    def kill(self, labels: list[str], signal: str, whom: str, who: str) -> list[dict[str, Any]]:
        """Send services a signal by its name, to ``main`` or to ``all``. Raises NoSuchService, Unreadable."""
        number = signals.number(signal)
        return [self._kill(service, number, whom, who) for service in self._named(labels)]

    def _kill(self, service: Service, number: int, whom: str, who: str) -> dict[str, Any]:
        outcome = self._supervisor.outcome(service.label)
        if outcome is None:
            return self._result(service, "not-running")
        LOG.info("signal", service=service.label, signal=signals.name_of(number), whom=whom, who=who)
        trouble = outcome.signal_main(number) if whom == "main" else outcome.signal_all(number)
        return self._result(service, "failed" if trouble else "done") | {"detail": trouble}

    @staticmethod
    def _result(service: Service, result: str | None = None) -> dict[str, Any]:
        refused = service.failure is not None and service.failure.reason is FailureReason.ISOLATION_REFUSED
        good = service.is_up or service.state is State.DONE
        bad = snapshot.failure_text(service.failure) if service.failure else str(service.cause)
        verdict = "refused" if refused else "done" if good else "failed"
        return {
            "label": service.label,
            "result": result or verdict,
            "state": service.state.value,
            "detail": "" if good else bad,
            "degraded": len(service.degradations),
        }

    def set(self, label: str, changes: dict[str, str], who: str) -> dict[str, Any]:
        """Change limits of a running service (live.py)."""
        return live.set_limits(self._supervisor, label, changes, who)

    async def heal(self, labels: list[str], who: str) -> dict[str, Any]:
        """Mend what can be mended in place, and mark the rest (heal.py). Raises NoSuchService."""
        return await heal.heal(self._supervisor, [service.label for service in self._named(labels)], who)

    async def observe(self, label: str, who: str) -> dict[str, Any]:
        """Start a service again, watched (harden.py)."""
        return self._result(await harden.observe(self._supervisor, label, who))

    async def await_end(self, label: str, seconds: float) -> dict[str, Any]:
        """Wait until a service is at its end, or for some seconds (harden.py). Raises NoSuchService."""
        return self._result(await harden.await_end(self._supervisor, label, seconds))

    async def harden(
        self, label: str, who: str, *, slack: float, attempt: bool, stay: float, write: bool
    ) -> dict[str, Any]:
        """Propose a tighter card for a watched service, and try it (harden.py)."""
        return await harden.harden(self._supervisor, label, who, slack=slack, attempt=attempt, stay=stay, write=write)

    async def freeze(self, labels: list[str], who: str, *, frozen: bool) -> list[dict[str, Any]]:
        """Freeze or thaw services (live.py). Raises NoSuchService."""
        self._columns.froze.update(service.label for service in self._named(labels))
        return [
            self._result(service) | await live.freeze(self._supervisor, service, who, frozen=frozen)
            for service in self._named(labels)
        ]
