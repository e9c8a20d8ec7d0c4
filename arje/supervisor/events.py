"""What happened: every change of a service's state, kept for a while and told to who watches. Bounded on both sides."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import trio

from arje.service.record import Service

KEPT: Final = 2000  # events of all services
_WAITING: Final = 1000  # events that a watcher has not taken yet


@dataclass(frozen=True, slots=True)
class StateChange:
    """A service went from one state to another. ``number`` counts the manager's events from 1; ``wall`` is in seconds.

    ``lost`` events before this one are not told: who watches was too slow, or they are not kept any more.
    """

    number: int
    label: str
    before: str
    after: str
    who: str
    detail: str
    wall: float
    lost: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return asdict(self)


class Watcher:
    """One who watches services, all of them when ``labels`` is None. Iterate over it; leave it when done."""

    def __init__(self, labels: frozenset[str] | None) -> None:
        self._labels = labels
        self._events: deque[StateChange] = deque()
        self._lost = 0
        self._bell = trio.Event()

    def tell(self, event: StateChange) -> None:
        """Take an event, or count it as lost when too many wait already."""
        if self._labels is not None and event.label not in self._labels:
            return
        if len(self._events) >= _WAITING:
            self._lost += 1
            return
        if self._lost:
            event, self._lost = _after(self._lost, event), 0
        self._events.append(event)
        self._bell.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StateChange:
        while not self._events:
            self._bell = trio.Event()
            await self._bell.wait()
        await trio.lowlevel.checkpoint()
        return self._events.popleft()


class Events:
    """The latest :data:`KEPT` changes of state, and who watches. Subscribe :meth:`changed` to the state table."""

    def __init__(self) -> None:
        self._kept: deque[StateChange] = deque(maxlen=KEPT)
        self._count = 0
        self._watchers: set[Watcher] = set()

    def changed(self, old: Service, new: Service) -> None:
        """Hear of a change of a record; only one of its state is an event."""
        if old.state is new.state:
            return
        self._count += 1
        why = new.cause
        event = StateChange(self._count, new.label, old.state.value, new.state.value, why.who, why.detail, why.wall)
        self._kept.append(event)
        for watcher in self._watchers:
            watcher.tell(event)

    def latest(self, labels: frozenset[str] | None, count: int, since: float | None = None) -> list[StateChange]:
        """Return the last so many events of these services, all when None, not before ``since`` (wall clock)."""
        found: list[StateChange] = []
        for event in self._picked(labels, since):
            if len(found) == count:
                return found[::-1]
            found.append(event)
        gone = self._count - len(self._kept)
        oldest = self._kept[0].wall if self._kept else 0.0
        if gone and found and len(found) < count and (since is None or since < oldest):
            found[-1] = _after(gone, found[-1])  # of whom they were is not known any more
        return found[::-1]

    def _picked(self, labels: frozenset[str] | None, since: float | None) -> Iterator[StateChange]:
        for event in reversed(self._kept):
            if (labels is None or event.label in labels) and (since is None or event.wall >= since):
                yield event

    def watch(self, labels: frozenset[str] | None) -> Watcher:
        """Return a watcher of every event from now on. Who does not read loses events, and hurts nobody."""
        watcher = Watcher(labels)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Tell a watcher nothing more."""
        self._watchers.discard(watcher)


def _after(lost: int, event: StateChange) -> StateChange:
    return StateChange(event.number, event.label, event.before, event.after, event.who, event.detail, event.wall, lost)
