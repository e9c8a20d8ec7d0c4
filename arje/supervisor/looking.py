"""What a person looks at beside single services: edges, times, figures, what is on its way; and the manager's own log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import deps, entering, figures, pace, snapshot, would
from arje.supervisor.columns import Columns

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_AT_ONCE: Final = 20  # services: a few milliseconds
_MOVES: Final = frozenset({State.WAITING, State.STARTING, State.RELOADING, State.STOPPING, State.BACKOFF})


class Looking:
    """The part of the door (door.py) that shows how services stand to each other and in time."""

    _supervisor: Supervisor
    _began: float
    _applied: float | None
    _columns: Columns

    if TYPE_CHECKING:

        def _named(self, labels: list[str]) -> list[Service]: ...
        def _chosen(self, labels: list[str]) -> frozenset[str] | None: ...
        @staticmethod
        def _result(service: Service, result: str | None = None) -> dict[str, Any]: ...

    def table(self) -> dict[str, Any]:
        """Return all services in columns (columns.py)."""
        return self._columns.told()

    def graph(self, labels: list[str]) -> dict[str, Any]:
        """Return services and the edges between them (deps.py). Raises NoSuchService."""
        return deps.graph(self._supervisor, self._chosen(labels))

    def analyze(self, *, apply: bool) -> dict[str, Any]:
        """Return where the time of the manager's start went, or of its latest apply (pace.py); no span: there was none."""
        host = self._supervisor.host
        began = self._applied if apply else self._began
        if began is None:
            return {"span": None, "starts": []}
        passed = host.now() - began
        span = {
            "what": "apply" if apply else "start",
            "wall": host.wall() - passed,
            "passed_s": passed,
            "loading_s": None if apply else max(0.0, pace.process_age() - passed),
        }
        return {"span": span, "starts": pace.starts(self._supervisor, began)}

    def moving(self, labels: list[str]) -> list[dict[str, Any]]:
        """Return, in brief, who is on its way, of these services and of all that they wait for. Raises NoSuchService.

        Of all services, those that wait out a back-off are left out: nobody waits for them.
        """
        moves = {
            service.label: service
            for service in self._supervisor.table
            if service.state in _MOVES and not service.is_armed and (labels or service.state is not State.BACKOFF)
        }
        chosen = [service.label for service in self._named(labels)]
        found: dict[str, Service] = {}
        seen: set[str] = set()
        while chosen:
            label = chosen.pop(0)
            if label in seen or label not in self._supervisor.table:
                continue
            seen.add(label)
            if (mover := moves.get(label)) is not None:
                found[label] = mover
            if mover is not None and mover.state is State.WAITING:
                chosen += (other for wait in self._supervisor.needs.waits(label) for other in wait.providers)
            else:  # its stop waits for that of those who come after it
                followers = self._supervisor.graph.followers(label)
                chosen += (each for each in followers if each in moves and moves[each].state is State.STOPPING)
        return [snapshot.brief(self._supervisor, service) for service in found.values()]

    async def figures(self, labels: list[str]) -> list[dict[str, Any]]:
        """Return what services use now; between some and the next others have their turn. Raises NoSuchService."""
        found = []
        for number, service in enumerate(self._named(labels)):
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            found.append(figures.now(self._supervisor, service))
        return found

    def would(self, verb: str, labels: list[str]) -> list[dict[str, Any]]:
        """Return what a verb would do to services, and do nothing (would.py). Raises NoSuchService."""
        return list(would.would(self._supervisor, verb, self._named(labels)))

    def log_level(self, level: str | None) -> str:
        """Return the least level that the manager's own log has, after it was set to ``level``, if that is one."""
        if level is not None:
            log.set_level(level)
        return log.level()

    async def enter(self, label: str, words: list[str], who: str, **more: Any) -> dict[str, Any]:
        """Run a command inside a running service (entering.py). Raises NoSuchService, NotRunning."""
        return await entering.enter(self._supervisor, label, words, who, **more)

    def _let_go(self, labels: list[str], who: str) -> list[str]:
        """Take back the wish of hands for services; return those that nothing which runs needs. Raises NoSuchService."""
        idle = []
        for service in self._named(labels):
            needed = [
                other for other in self._supervisor.needs.askers(service.label) if self._supervisor.needs.is_up(other)
            ]
            if needed and service.is_up:
                cause = self._supervisor.cause(needed[0], f"released by {who}; {needed[0]} needs it")
                self._supervisor.table.hand_over(service.label, cause)
            else:
                idle.append(service.label)
        return idle

    def _wakers(self, label: str) -> list[str]:
        """Return who runs and pulls a service in, hard or soft. Raises NoSuchService."""
        supervisor, found = self._supervisor, list[str]()
        for service in supervisor.table:
            if not service.is_up or service.label not in supervisor.graph:
                continue
            graph = supervisor.graph
            pulled = {
                other for name in graph.pulled_softly(service.label) for other in graph.resolve(name, service.label)
            }
            for requirement in graph.needs(service.label):
                pulled.update(graph.providers(requirement, service.label) if requirement.pulls else ())
            if label in pulled and service.label != label:
                found.append(service.label)
        return found
