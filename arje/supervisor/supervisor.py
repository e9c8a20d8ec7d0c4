"""The table of services, the graph of their cards, and the wishes of those who use them. Lives do the rest (life.py).

Tasks wait on bells: a service's bell rings when its record changes, when its child ends, and, while it waits for others,
when they change. A label that has gone from the table is at rest, and nothing waits for it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import trio

from arje import log
from arje.card.card import Card
from arje.errors import CardProblem
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator
from arje.incarnation import Incarnation
from arje.paths import TIMERS_NAME
from arje.service.budget import Budgets
from arje.service.faults import circle
from arje.service.order import Graph
from arje.service.record import Service, StateCause
from arje.service.state import STOP_WITH, WITH_PROCESS, Event, State
from arje.service.table import StateTable
from arje.supervisor import notify
from arje.supervisor.activation import Activations
from arje.supervisor.aside import Aside
from arje.supervisor.bells import ANYBODY, Bells
from arje.supervisor.catalogue import Catalogue, is_hand
from arje.supervisor.events import Events
from arje.supervisor.farewell import Farewell
from arje.supervisor.history import History
from arje.supervisor.host import Host, Living, Unborn
from arje.supervisor.life import Life
from arje.supervisor.logs import Logs
from arje.supervisor.needs import Needs
from arje.supervisor.outermost import Ear, inside, verb
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.sweeping import sweep
from arje.supervisor.ties import Ties
from arje.supervisor.timers import Timers
from arje.supervisor.turns import Turns
from arje.supervisor.watched import Watched

LOG = log.logger()
_RUNS = frozenset({State.STARTING, State.RUNNING, State.RELOADING})


class Supervisor:
    """Everything that a manager knows, in the world that ``host`` is. ``outcomes`` holds the running incarnations by label,
    ``pendings`` those that are being set up, ``commands`` what runs beside a service (command.py); ``problems`` are those
    of the cards when they were last loaded; ``paused`` services do not start yet, and what becomes of ``going`` ones is
    not felt by others; ``ear`` hears the verbs that come from outside (outermost.py)."""

    def __init__(self, host: Host, logs: Logs, state_dir: Path) -> None:
        self.host = host
        host.introduce(self._running)
        self.logs = logs
        self.table = StateTable()
        self.graph = Graph(())
        self.needs = Needs(self.table, lambda: self.graph)
        self.ties = Ties(self)
        self.watched = Watched(self)
        self.budgets = Budgets()
        self.bells = Bells(lambda label: self._turns.take(label, self.nursery))
        self.outcomes: dict[str, Living] = {}
        self.pendings: dict[str, Unborn] = {}
        self.commands: dict[str, Living] = {}
        self.helpers: dict[str, dict[int, ExitSlot]] = {}
        self.problems: tuple[CardProblem, ...] = ()
        self.catalogue = Catalogue()
        self.history = History()
        self.paused: set[str] = set()
        self.going: set[str] = set()
        self.aside = Aside(self)
        self.stopping = False
        self.ear: Ear | None = None
        self._nursery: trio.Nursery | None = None
        self._lives: dict[str, Life] = {}
        self._turns = Turns(self._go_on)
        self._seen: dict[str, tuple[Card, Card, str]] = {}
        self._rests: Counter[str] = Counter()  # how often each service has come to rest
        self.events = Events()
        self.table.subscribe(self.events.changed)
        self.activations = Activations(self)
        self.table.subscribe(self._changed)
        self.farewell = Farewell(self)
        self.timers = Timers(self, state_dir / TIMERS_NAME)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hold the nursery of all lives until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.activations.store.run)
            task_status.started()
            await trio.sleep_forever()

    def cause(self, who: str, detail: str = "") -> StateCause:
        """Return a cause with the time of now."""
        return StateCause(who, detail, self.host.now(), self.host.wall())

    @property
    def incarnator(self) -> Incarnator:
        """Who knows what this machine can isolate."""
        return self.host.incarnator

    def outcome(self, label: str) -> Outcome | None:
        """Return the running incarnation whose isolation can be looked at; None when none runs, or it is played."""
        living = self.outcomes.get(label)
        return living if isinstance(living, Outcome) else None

    def _running(self, label: str) -> Incarnation | None:
        """Whose namespaces another service may join."""
        outcome = self.outcomes.get(label)
        return outcome.incarnation if outcome else None

    def seen_with(self, card: Card, path: Path) -> tuple[Card, str]:
        """Return a card with its notify socket put into its sandbox, and where that is; the same card for the same one."""
        known = self._seen.get(card.label)
        if known is None or known[0] is not card:
            known = self._seen[card.label] = (card, *notify.visible(card, path))
        return known[1], known[2]

    def life(self, label: str) -> Life | None:
        """Return the task of a service that is not at rest."""
        return self._lives.get(label)

    def forget_helpers(self, label: str) -> None:
        """Expect the helpers of a service no more: who closes it ends and reaps them."""
        for pid, slot in self.helpers.pop(label, {}).items():
            self.host.forget(pid, slot)

    @property
    def nursery(self) -> trio.Nursery:
        """Where lives and the readers of logs run."""
        assert self._nursery is not None
        return self._nursery

    # -- cards ---------------------------------------------------------------------------------------------------------

    @verb
    def set_cards(self, cards: list[Card], who: str) -> None:
        """Make the table hold exactly these cards, and those of services that still have a process."""
        labels = {card.label for card in cards}
        gone = [service for service in self.table if service.label not in labels]
        for service in gone:
            if service.state in WITH_PROCESS or service.label in self.outcomes:
                LOG.error("a card is gone, but its service does not stop", service=service.label)
                cards = [*cards, service.card]
        graph = Graph.for_boot(cards)  # before anything has changed: what cannot be made changes nothing
        for service in gone:
            if service.label not in graph:
                self._forget(service.label)
        for card in cards:
            if card.label in self.table:
                self.table.replace_card(card)
            else:
                self.table.add(card, self.cause(who, card.source.file))
        self.graph = graph
        self.timers.take(cards)
        for edge, cycle in self.graph.mended.broken:
            LOG.error("an order is not kept", edge=str(edge), why=circle(self.graph, cycle))
        self.logs.set_cards(cards)
        self.bells.all_changed()
        self.want_what_is_lost(who)

    def want_what_is_lost(self, who: str) -> None:
        """Start what running services require by their new cards, as their own start would."""
        for service in self.table:
            if service.state in _RUNS and self.needs.loss(service.label) is not None:
                self.want(service.label, who)

    @verb
    def replace_card(self, card: Card) -> None:
        """Give one service another card, and nothing else. Raises NoSuchService."""
        self.table.replace_card(card)

    def _forget(self, label: str) -> None:
        self.table.remove(label)
        self.logs.forget(label)
        self.catalogue.read_at_start.pop(label, None)
        self.activations.close(label)
        self._rests.pop(label, None)
        self._seen.pop(label, None)
        self.bells.ring(label)

    # -- wishes --------------------------------------------------------------------------------------------------------

    @verb
    def start(self, label: str, who: str, *, gently: bool = False) -> None:
        """Arm a timed service, and start any other as ``want`` does. Raises NoSuchService."""
        if not self.timers.arm(label, who):
            self.want(label, who, gently=gently)

    @verb
    def want(self, label: str, who: str, detail: str = "", *, gently: bool = False) -> None:
        """Start a service and what it pulls in, and stop what conflicts with them; nothing once the manager is stopping.

        Of what it pulls in, a timed service runs when it is required, and is armed else. ``gently``: what conflicts with a
        service that is wanted already is skipped instead. Raises NoSuchService.
        """
        if self.stopping:
            return
        if self.table.get(label).card.pinned == "stopped" and not is_hand(who):
            return
        taken = {label}
        closure = self.graph.closure([label], self.needs.is_up)
        for pulled in closure:
            service = self.table.get(pulled)
            if pulled != label and service.card.pinned == "stopped":
                continue
            if pulled != label and (service.is_up or service.is_coming):
                continue
            if service.is_armed:
                self.activations.demand(label, who)
            if service.state in (State.RUNNING, State.RELOADING, State.STARTING, State.WAITING):
                continue
            if pulled != label and service.card.timer and not set(closure).intersection(self.graph.dependents(pulled)):
                self.timers.arm(pulled, label)
                continue
            if self.ties.yields(pulled, taken - {pulled} if pulled != label else set(), gently=gently):
                continue
            taken.add(pulled)
            self.ties.stop_rivals(pulled)
            why = self.cause(who, detail) if pulled == label else self.cause(label, f"{label} needs it")
            self.table.fire(pulled, Event.WANTED, why)

    @verb
    def unwant(self, label: str, who: str) -> None:
        """Let a service stop; await :meth:`at_rest` for its end. One that is gone needs nothing."""
        if label not in self.table:
            return
        event = STOP_WITH.get(self.table.get(label).state)
        if event is not None:
            self.table.fire(label, event, self.cause(who))

    @verb
    def again(self, label: str, who: str) -> None:
        """Stop a service and start it again. Raises NoSuchService."""
        if self.table.get(label).state in WITH_PROCESS:
            self.unwant(label, who)
            self.ties.stop_rivals(label)  # one that waits for this end would wait for ever
            self.table.fire(label, Event.WANTED, self.cause(who, "restart"))
        else:
            self.want(label, who)

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def settled(self, label: str) -> Service:
        """Wait until a service is not on its way any more; return its record, the last one when it is gone.

        Raises NoSuchService when there is none at the call.
        """
        service = self.table.get(label)
        while label in self.table:
            service = self.table.get(label)
            held = service.state is State.WAITING and label not in self.paused and self.needs.is_held(label)
            moves = service.state in (State.WAITING, State.STARTING, State.STOPPING)
            armed = service.is_armed and not self.activations.is_demanded(label)
            if held or armed or service.is_stuck or not moves:
                break
            await self.bells.wait(label, ANYBODY if service.state is State.WAITING else ())
        return service

    async def at_rest(self, label: str) -> Service | None:
        """Wait until a service has no process, or has had none for a moment: a restart does not stay at rest.

        One that cannot be killed is not waited for. Returns the record; None when the service is gone.
        """
        before = self._rests[label]
        while label in self.table:
            service = self.table.get(label)
            if self._rests[label] != before or service.state not in WITH_PROCESS or service.is_stuck:
                return service
            await self.bells.wait(label)
        return None

    async def settled_again(self, before: Service) -> Service:
        """Wait until a service that is being restarted has settled in its next life. ``before``: its record until now."""
        label = before.label
        while before.incarnation and label in self.table and not self.table.get(label).is_stuck:
            if self.table.get(label).incarnation is not before.incarnation:
                break
            await self.bells.wait(label)
        return await self.settled(label) if label in self.table else before

    def may_start(self, label: str) -> bool:
        """Whether nothing that a service waits for is missing. Raises NoSuchService."""
        return label not in self.paused and not self.needs.waits_for(label)

    async def await_chance(self, label: str) -> None:
        """Wait until it may be otherwise whether a service may start, or its record has changed. Raises NoSuchService."""
        await self.bells.wait(label, ANYBODY if label in self.paused else self.needs.decided_by(label) or ANYBODY)

    # -- the end -------------------------------------------------------------------------------------------------------

    @verb
    async def stop_all(self, who: str) -> None:
        """Stop every service, dependents first, then kill what is left below us. Ends when nothing more can be done."""
        self.stopping = True
        self.timers.stop()
        for service in self.table:
            if service.state not in WITH_PROCESS:
                self._attempt_to_unwant(service.label, who)
        async with trio.open_nursery() as nursery:
            for service in self.table:
                nursery.start_soon(self._stop_in_turn, service.label, who)
        await self.activations.all_left()
        await sweep(self.host)

    def _attempt_to_unwant(self, label: str, who: str) -> None:
        """Whatever is wrong with one service, the others stop all the same."""
        try:
            self.unwant(label, who)
        except Exception:
            LOG.exception("a service could not be told to stop", service=label)

    async def _stop_in_turn(self, label: str, who: str) -> None:
        try:
            for follower in self.graph.followers(label):
                await self.at_rest(follower)
        except Exception:
            LOG.exception("a service stops out of its turn", service=label)
        self._attempt_to_unwant(label, who)
        await self.at_rest(label)

    def kill_now(self) -> None:
        """Kill every process of every service: what a second request to stop means."""
        for label, outcome in (*self.outcomes.items(), *self.commands.items()):
            try:
                outcome.kill_tree()
            except OSError as error:
                LOG.error("a service could not be killed", service=label, error=str(error))
        for pending in self.pendings.values():
            self.host.kill(pending.leader_pid)

    # -- changes -------------------------------------------------------------------------------------------------------

    def _changed(self, old: Service, new: Service) -> None:
        if old.state in WITH_PROCESS and new.state not in WITH_PROCESS:
            self._rests[new.label] += 1
        if new.activation is not old.activation and new.activation and is_hand(new.activation.who):
            self.budgets.begin_anew(new.card)
        if old.state is not new.state:
            self._log(old, new)
            if (life := self._lives.get(new.label)) is not None:
                life.state_changed(new)
        if old.state is not new.state or (new.is_up and not old.is_up) or old.degradations != new.degradations:
            if not self.stopping and new.label not in self.going:
                self.ties.changed(old, new)
            self.bells.changed(new.label)
        if old.state is not new.state:
            self.farewell.follow_up(new)
        self.bells.ring(new.label)
        if new.state is State.WAITING and not self.ties.fails_at_once(new.label):
            self.ties.pull_spares(new.label)
            if new.card.live_conditions and self._nursery is not None:
                self.watched.begin(new.label)
            self._live(new.label)

    def _log(self, old: Service, new: Service) -> None:
        passing = new.state is State.STARTING or (new.state is State.WAITING and old.state is State.BACKOFF)
        say = LOG.debug if passing else LOG.info  # the events have them all
        say("state", service=new.label, old=old.state.value, new=new.state.value, cause=str(new.cause))

    def _live(self, label: str) -> None:
        if label in self._lives or self._nursery is None:
            return
        self._lives[label] = Life(self, label)
        self._turns.take(label, self._nursery)

    def _go_on(self, label: str) -> None:
        if (life := self._lives.get(label)) is not None:
            with inside():  # a bell of anybody's may have rung for it
                self.nursery.start_soon(self._run, label, life, name=f"life of {label}")

    async def _run(self, label: str, life: Life) -> None:
        try:
            await life.run()
        finally:
            if not life.is_parked:
                del self._lives[label]
