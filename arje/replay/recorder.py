"""The recorder: a host around another one that writes down what that one answers, and an ear for the verbs from outside.

What it does costs a line each, and nothing of it may fail: whoever is recorded does not notice. Inputs that have no name
here (connections that are served one by one) are told by a line ``without`` for the service that has them. Stored
descriptors are no inputs: they come back to their service, and nothing else follows from them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

import arje
from arje import log
from arje.card import cache
from arje.card.activation import Activation, When
from arje.card.card import Card
from arje.kernel.clock import LOCALTIME
from arje.replay.tape import FORMAT
from arje.replay.writer import LARGEST, Writer
from arje.service.record import Service
from arje.supervisor.host import Host
from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks: what happens in one step happens at once. ``tick`` is called after a turn of the loop
    in which something was due, with trio's time of its beginning."""

    def __init__(self, tick: Callable[[float], None]) -> None:
        self.count = 0
        self.began = 1  # the first step of this turn
        self._tick = tick
        self._due = math.inf
        self._turned = 0.0
        self._was_due = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Hear of a step."""
        self.count += 1

    def before_io_wait(self, timeout: float) -> None:
        """Hear of the end of a turn."""
        if self._was_due:
            self._tick(self._turned)
        self._due = trio.current_time() + trio.lowlevel.current_statistics().seconds_to_next_deadline

    def after_io_wait(self, timeout: float) -> None:
        """Hear of the beginning of a turn."""
        self._turned = trio.current_time()
        self._was_due = self._turned >= self._due
        self.began = self.count + 1


class Recorder:
    """What is written down of one run. ``steps`` is an instrument for :func:`trio.run`. Raises OSError at first."""

    def __init__(self, file: Path, largest: int = LARGEST) -> None:
        self.steps = Steps(self._turned)
        self._last = 0  # the step of the latest line
        self._writer = Writer(file, largest)
        self._host: Host | None = None
        self._began = 0.0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._cards: dict[str, tuple[Card, str]] = {}
        self._known: set[str] = set()
        self._without: set[str] = set()

    def begin(self, host: Host) -> None:
        """Write the head: the recording is of this host from now on."""
        self._host, self._began = host, host.now()
        self.line("head", format=FORMAT, arje=arje.__version__, now=self._began, wall=host.wall())

    def listen(self, supervisor: Supervisor) -> None:
        """Hear what is asked of a supervisor, and what becomes of its services."""
        supervisor.ear = self._verb
        supervisor.table.subscribe(self._changed)

    def close(self) -> None:
        """Write what there is, and close the file."""
        self._writer.close(self._now())

    def number(self, kind: str, name: str) -> int:
        """Return the next number of something of this name, from 0."""
        self._counts[kind, name] += 1
        return self._counts[kind, name] - 1

    def line(self, kind: str, **words: Any) -> None:
        """Write a line of now. Never raises."""
        self.line_of(self._now(), kind, **words)

    def line_of(self, t: float, kind: str, **words: Any) -> None:
        """Write a line of a time since the start. Never raises."""
        self._last = self.steps.count
        try:
            self._writer.put({"t": round(t, 9), "step": self.steps.count, "is": kind} | words)
        except Exception:
            LOG.exception("something is not recorded", kind=kind)

    def without(self, label: str, why: str) -> None:
        """Say once that something that a service feels cannot be recorded."""
        if label not in self._without:
            self._without.add(label)
            self.line("without", of=label, why=why)

    def _turned(self, began: float) -> None:
        """Something was due: without a line of it, and of nothing since, the replay must know when."""
        if self._last < self.steps.began:
            self.line_of(self._now() - (trio.current_time() - began), "tick")

    def _now(self) -> float:
        return self._host.now() - self._began if self._host else 0.0

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def _verb(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> None:
        try:
            self.line("verb", verb=name, args=[self._word(arg) for arg in args], more=more)
        except Exception:
            LOG.exception("something is not recorded", verb=name)

    def _word(self, arg: Any) -> Any:
        if isinstance(arg, Card):
            return self._card(arg)
        return [self._word(item) for item in arg] if isinstance(arg, list) else arg

    def _card(self, card: Card) -> str:
        """Return the key of a card, which is written when it is new."""
        before, key = self._cards.get(card.label, (None, ""))
        if before is card:
            return key
        encoded = cache.encode(card)
        key = hashlib.sha256(json.dumps(encoded).encode()).hexdigest()[:12]
        self._cards[card.label] = card, key
        if key not in self._known:
            self._known.add(key)
            self.line("card", key=key, card=encoded)
        if why := unheard(card):
            self.without(card.label, why)
        return key

    # -- what followed -------------------------------------------------------------------------------------------------

    def _changed(self, old: Service, new: Service) -> None:
        if old.state is not new.state:
            words = {"old": old.state.value, "new": new.state.value, "who": new.cause.who, "why": new.cause.detail}
            self.line_of(new.cause.at - self._began, "became", of=new.label, **words)
        elif (
            old.incarnation is not None and old.incarnation is new.incarnation and old.degradations != new.degradations
        ):
            self.line("granted", of=new.label, **_granted(old, new))


def _granted(old: Service, new: Service) -> dict[str, Any]:
    """Return what is granted by now of what was lost, and what is lost that was not, or otherwise."""
    lost = {loss.feature for loss in new.degradations}
    mended = {loss.feature for loss in old.degradations} - lost
    return {
        "grants": cache.encode(tuple(grant for grant in new.grants if grant.feature in mended)),
        "losses": cache.encode(tuple(loss for loss in new.degradations if loss not in old.degradations)),
    }


def unheard(card: Card) -> str:
    """Return what of a card is an input that no recording has; empty for nothing."""
    return "connections that are served one by one" if card.activation.when is When.PER_CONNECTION else ""


def without_unheard(card: Card) -> Card:
    """Return a card without what :func:`unheard` tells: a replay serves nobody."""
    return replace(card, sockets=(), activation=Activation()) if unheard(card) else card


def zone_text(zone: Any) -> str:
    """Return a time zone by its name, or as its file has it."""
    name = getattr(zone, "key", None)
    if isinstance(name, str):
        return name
    try:
        return "base64:" + base64.b64encode(LOCALTIME.read_bytes()).decode() if zone.tzname(None) != "UTC" else "UTC"
    except OSError:
        return "UTC"
