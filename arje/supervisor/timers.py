"""The timers of all services: who is armed, and what one tells of it.

The rule, which every verb follows: *a timed service is armed where another would be started*. ``arjectl start``, the boot
for an enabled card, and ``apply`` for a new one or a new timer arm it and run nothing. ``arjectl stop`` disarms it, and
ends the run that there is. ``arjectl trigger`` runs it now, and so does whoever requires it; the timer feels that as a
start like any other (``every`` counts from it), and stays armed or not as it was. Who only wants it (``wants``, or its own
``wanted_by``) has it armed. ``arjectl restart`` restarts a run; when there is none it arms. A switch to a target disarms
what the target does not pull in.

A service that waits for its timer is in the state in which its last run left it, ``stopped`` before the first: nobody
waits for it, and its failure is to be seen. Whether it is armed, and when it is due, stands beside the state.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from arje import log
from arje.card.card import Card
from arje.service import timing
from arje.service.record import Service
from arje.supervisor.outermost import verb
from arje.supervisor.timekeeper import Timekeeper

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


class Timers:
    """Every timed service's timekeeper by label. ``directory`` is where persistent ones keep their last time."""

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        self.directory = directory
        self._supervisor = supervisor
        self._keepers: dict[str, Timekeeper] = {}
        self._began = supervisor.host.now()
        self._watched = False
        supervisor.table.subscribe(self._changed)

    def take(self, cards: list[Card]) -> None:
        """Make the timers those of these cards. Armed ones stay armed, with what their cards say now."""
        timed = {card.label: card.timer for card in cards if card.timer}
        for label in self._keepers.keys() - timed.keys():
            self._keepers.pop(label).disarm()
        for label, timers in timed.items():
            if label not in self._keepers:
                self._keepers[label] = Timekeeper(self._supervisor, label, timers, self._began)
            elif self._keepers[label].timers != timers:
                self._keepers[label].change(timers)

    @verb
    def arm(self, label: str, who: str) -> bool:
        """Arm a service's timer; False when it has none. One that is armed goes on."""
        keeper = self._keepers.get(label)
        if keeper is None or self._supervisor.stopping:
            return keeper is not None
        if keeper.armed is None:
            LOG.info("timer armed", service=label, who=who)
        keeper.arm(self._supervisor.cause(who))
        if not self._watched:
            self._watched = True
            self._supervisor.nursery.start_soon(self._watch_clock, name="watch of the clock")
        return True

    @verb
    def disarm(self, label: str, who: str) -> bool:
        """Disarm a service's timer; False when it was not armed."""
        keeper = self._keepers.get(label)
        if keeper is None or keeper.armed is None:
            return False
        LOG.info("timer disarmed", service=label, who=who)
        keeper.disarm()
        return True

    def stop(self) -> None:
        """Disarm all: the manager is stopping."""
        for keeper in self._keepers.values():
            keeper.disarm()

    def is_armed(self, label: str) -> bool:
        """Whether a service waits for its timer."""
        return label in self._keepers and self._keepers[label].armed is not None

    async def planned(self, label: str) -> None:
        """Wait until it is known when an armed timer is due."""
        if (keeper := self._keepers.get(label)) is not None:
            await keeper.planned()

    def _changed(self, old: Service, new: Service) -> None:
        if old.state is not new.state and (keeper := self._keepers.get(new.label)) is not None:
            keeper.heard(old, new)

    async def _watch_clock(self) -> None:
        try:
            while True:
                await self._supervisor.host.clock_changed()
                LOG.info("the clock was set, or the time zone changed")
                for keeper in self._keepers.values():
                    keeper.wake()
        except Exception:
            LOG.exception("it is not noticed any more when the clock is set")

    # -- told ----------------------------------------------------------------------------------------------------------

    def words(self, label: str) -> str:
        """Return in words that a timer is armed and when it is due, and its latest skip; empty without any."""
        keeper = self._keepers.get(label)
        if keeper is None:
            return ""
        told = [f"its timer is armed: {self.due(label)}" if keeper.armed else "its timer is not armed"]
        if keeper.skip is not None:
            told.append(f"last skipped {self._clock(keeper.skip.wall)} ({keeper.skip.what})")
        return "; ".join(told)

    def due(self, label: str) -> str:
        """Return in words when an armed timer is due next."""
        due = self._keepers[label].next if label in self._keepers else None
        return f"next {self._clock(due.wall)}, {due.rule}" if due else "no time comes any more"

    def _clock(self, wall: float) -> str:
        from datetime import datetime

        return f"{datetime.fromtimestamp(wall, self._supervisor.host.zone()):%a %Y-%m-%d %H:%M:%S}"

    def status(self, label: str) -> dict[str, Any] | None:
        """Return what is known of a service's timer (the type ``Timer`` of the interface); None when it has none."""
        keeper = self._keepers.get(label)
        if keeper is None:
            return None
        due, last, skip = keeper.next, keeper.last, keeper.skip
        return {
            "armed": keeper.armed is not None,
            "armed_by": keeper.armed.who if keeper.armed else "",
            "rules": [timing.describe(timer) for timer in keeper.timers],
            "next_wall": due.wall if due else None,
            "next_in_s": max(0.0, due.at - self._supervisor.host.now()) if due else None,
            "next_rule": due.rule if due else "",
            "last_wall": last.wall if last else None,
            "last_rule": last.what if last else "",
            "runs": keeper.runs,
            "skipped": keeper.skipped,
            "skip_wall": skip.wall if skip else None,
            "skip_reason": skip.what if skip else "",
            "queued": bool(keeper.queued),
            "problem": keeper.problem,
        }
