"""What services say and become, and what runs in them: the part of the control surface that only listens."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator
from typing import Any

from arje.errors import NoSuchService
from arje.service.record import Service
from arje.supervisor import deps, figures, why
from arje.supervisor.logread import Query
from arje.supervisor.supervisor import Supervisor


class Listening:
    """The ears of a door (door.py); plain data out."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def _named(self, labels: list[str]) -> list[Service]:
        table = self._supervisor.table
        found: dict[str, Service] = {}
        for label in labels or ["*"]:
            if any(mark in label for mark in "*?[") or label == "all":
                pattern = "*" if label == "all" else label
                matching = {s.label: s for s in table if fnmatch.fnmatchcase(s.label, pattern)}
                if not matching and labels:
                    raise NoSuchService(label)
                found |= matching
            else:
                found[label] = table.get(label)
        return list(found.values())

    def why(self, label: str) -> list[dict[str, Any]]:
        """Return the causal chain of a service's state, nearest cause first, across services. Raises NoSuchService."""
        return why.chain(self._supervisor, label)

    def deps(self, label: str, *, reverse: bool) -> list[dict[str, Any]]:
        """Return the tree of what a service depends on, or of what depends on it (deps.py). Raises NoSuchService."""
        return deps.tree(self._supervisor, label, reverse=reverse)

    async def logs(self, labels: list[str], picks: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the last lines of services that ``picks`` (a Query) wants, in the order of time. Raises NoSuchService."""
        chosen = [service.label for service in self._named(labels)]
        return [line.as_dict() for line in await self._supervisor.logs.read(chosen, Query(**picks))]

    async def follow(self, labels: list[str], picks: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the last lines that ``picks`` wants of these services, then every new one; none falls between, none comes
        twice. Raises NoSuchService."""
        chosen = self._chosen(labels)
        query, logs = Query(**picks), self._supervisor.logs
        known = await logs.read([service.label for service in self._named(labels)], query) if query.lines else []
        follower = logs.follow(chosen)
        try:
            for line in known:
                yield line.as_dict()
            async for line in follower:
                if query.picks(line):
                    yield line.as_dict()
        finally:
            logs.leave(follower)

    def processes(self, labels: list[str]) -> list[dict[str, Any]]:
        """Return the processes of services, and what they use. Raises NoSuchService."""
        return [figures.processes(self._supervisor, service) for service in self._named(labels)]

    def events(self, labels: list[str], count: int, since: float | None) -> list[dict[str, Any]]:
        """Return the last changes of state of services, oldest first. Raises NoSuchService."""
        return [event.as_dict() for event in self._supervisor.events.latest(self._chosen(labels), count, since)]

    async def monitor(self, labels: list[str], count: int, since: float | None) -> AsyncIterator[dict[str, Any]]:
        """Yield the last changes of state, then every new one; none falls between. Raises NoSuchService."""
        events, chosen = self._supervisor.events, self._chosen(labels)
        watcher = events.watch(chosen)
        try:
            for known in events.latest(chosen, count, since):
                yield known.as_dict()
            async for event in watcher:
                yield event.as_dict()
        finally:
            events.leave(watcher)

    def _chosen(self, labels: list[str]) -> frozenset[str] | None:
        return frozenset(service.label for service in self._named(labels)) if labels else None
