"""Live conditions: a service that waits while its conditions do not hold, and stops when they cease to (inotify(7)).

One task per service that is wanted, and none when none is. A file system tells of changes in bursts, so the conditions
are looked at once a burst is over; until then what was last seen stays in force. A path that is not there is watched for
through its nearest parent that is. What only changes with the machine (its kernel, its processors) needs no watching,
what may change and tells nobody is refused by the card (``card/conditions.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje import log, native
from arje.card.card import Card
from arje.card.conditions import WATCHED, Conditions, plain
from arje.service.state import Event, State
from arje.supervisor import conditions
from arje.supervisor.needs import UNSEEN

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
#: modify, attrib, close_write, moved_from, moved_to, create, delete, delete_self, move_self (linux/inotify.h)
_CHANGES: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_QUIET: Final = 0.02  # seconds without a further change: the burst is over
_RUNS: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING})
_AT_REST: Final = frozenset({State.STOPPED, State.FAILED, State.DONE})


class Watched:
    """The live conditions of one manager's services. What does not hold stands in ``Needs.unmet``."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._unmet = supervisor.needs.unmet
        self._rounds: dict[str, int] = {}  # who is watched, and how often that has begun

    def begin(self, label: str) -> None:
        """Watch a service's conditions from now until it is at rest; it may not start before they were looked at anew."""
        known = label in self._rounds
        self._rounds[label] = self._rounds.get(label, 0) + 1
        self._unmet[label] = UNSEEN
        if known:  # its task hears of the new round by the bell of the change that has begun it
            return
        self._supervisor.nursery.start_soon(self._watch, label, name=f"conditions of {label}")

    def is_watching(self, label: str) -> bool:
        """Whether what is in ``unmet``, or is not, is so: else the conditions are looked at before each start."""
        return label in self._rounds

    async def _watch(self, label: str) -> None:
        table = self._supervisor.table
        try:
            while self._is_wanted(label):
                tests, number = table.get(label).card.conditions, self._rounds[label]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._look_again_and_again, label)
                    while self._is_wanted(label) and self._rounds[label] == number:
                        if table.get(label).card.conditions != tests:
                            break
                        await self._supervisor.bells.wait(label)
                    nursery.cancel_scope.cancel()
        except Exception:
            LOG.exception("conditions cannot be watched", service=label)
        finally:
            del self._rounds[label]
            self._unmet.pop(label, None)
            self._supervisor.bells.ring(label)

    def _is_wanted(self, label: str) -> bool:
        table = self._supervisor.table
        if label not in table:
            return False
        service = table.get(label)
        between = service.state is State.STOPPED and service.wanted  # it stopped to start again
        return service.card.live_conditions and (between or service.state not in _AT_REST)

    async def _look_again_and_again(self, label: str) -> None:
        fd = native.inotify_init()
        try:
            while True:
                card = self._supervisor.table.get(label).card
                await self._supervisor.host.ask(f"watches of {label}", partial(_add, fd, card))
                found = await self._supervisor.host.ask(
                    f"conditions of {label}", partial(conditions.first_false, card.conditions)
                )
                self._tell(label, found)
                await burst(fd, _QUIET)
        finally:
            os.close(fd)

    def _tell(self, label: str, false: str) -> None:
        """Let a service start, or stop, for what was found."""
        if label not in self._supervisor.table:
            return
        if false:
            self._unmet[label] = false
            if self._supervisor.table.get(label).state in _RUNS:
                why = self._supervisor.cause("condition", false)
                self._supervisor.table.fire(label, Event.STOP, why, wanted=True)
        else:
            self._unmet.pop(label, None)
        self._supervisor.bells.ring(label)


def _paths(tests: Conditions) -> Iterator[Path]:
    """Yield every path in a table of tests; of a pattern the part before it."""
    for word in WATCHED:
        for test in getattr(tests, word):
            parts = Path(plain(test)[1]).parts
            fixed = next((place for place, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
            yield Path(*parts[:fixed])
    for group in tests.any_of:
        yield from _paths(group)


def _add(fd: int, card: Card) -> None:
    """Watch each path, and the parents by which it may come or go; watching one again changes nothing."""
    for path in _paths(card.conditions):
        there = [place for place in (path, *path.parents) if place.exists()]
        for place in there[:2]:
            try:
                native.inotify_add(fd, place, _CHANGES)
            except OSError as error:
                LOG.warning("changes are not noticed here", service=card.label, path=str(place), error=error.strerror)


async def burst(fd: int, quiet_for: float) -> None:
    """Wait for changes, and for so many seconds without a further one."""
    await trio.lowlevel.wait_readable(fd)
    quiet = False
    while not quiet:
        os.read(fd, 65536)
        with trio.move_on_after(quiet_for) as scope:
            await trio.lowlevel.wait_readable(fd)
        quiet = scope.cancelled_caught
