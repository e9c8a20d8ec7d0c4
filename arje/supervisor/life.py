"""One service's life: one task from wanted to at rest, which fires the events of the state table.

A failure belongs to one service: an exception in a life kills what it has started, puts the service into ``failed`` and
the traceback into the log; it never crosses the nursery. A life whose service is gone from the table ends quietly.
"""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from arje import log
from arje.card.activation import When
from arje.card.card import Card
from arje.card.payload import Virtual
from arje.card.supervision import Kind
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.given import Given
from arje.incarnation import Exit, Step
from arje.service.record import Failure, FailureReason, Service
from arje.service.restart import is_success
from arje.service.state import Event, State
from arje.supervisor import before, conditions, connections, figures, hooks
from arje.supervisor.activation import awaits
from arje.supervisor.aftermath import Aftermath
from arje.supervisor.birth import DYING, SETUP, Birth, Overdue
from arje.supervisor.catalogue import masked_by
from arje.supervisor.ending import End
from arje.supervisor.hooks import HookFailed
from arje.supervisor.host import Living
from arje.supervisor.inputs import contents, inputs
from arje.supervisor.outermost import verb
from arje.supervisor.readiness import Readier
from arje.supervisor.reaper import ExitSlot
from arje.supervisor.running import Run
from arje.supervisor.stopping import Stop
from arje.supervisor.vigil import Doom, Vigil, start_timeout
from arje.supervisor.voice import Voice

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


class Life:
    """The runner of one service, and what it holds while it runs."""

    def __init__(self, supervisor: Supervisor, label: str) -> None:
        self._supervisor = supervisor
        self._table = supervisor.table
        self._host = supervisor.host
        self._label = label
        self._held: tuple[Living, ExitSlot] | None = None
        self._patience: trio.CancelScope | None = None  # what a change of state cuts short
        self._vigil: Vigil | None = None
        self._stop: Stop | None = None
        self._aftermath = Aftermath(supervisor, label)
        self._parked: Run | None = None

    @property
    def is_parked(self) -> bool:
        """Whether :meth:`run` is to be called again when the service's bell rings."""
        return self._parked is not None

    async def run(self) -> None:
        """Live until the service is at rest, or parked, with only its bell to wait for: a task takes 5 kB."""
        try:
            if self._parked is not None:
                await self._go_on(self._parked)
            while self._parked is None and (state := self._state) in (State.WAITING, State.BACKOFF):
                if state is State.WAITING:
                    await self._wait_and_run()
                else:
                    await self._back_off()
        except Exception:
            LOG.exception("a life failed", service=self._label)
            await self._fail()

    async def _fail(self) -> None:
        """Arje itself failed: nothing may be left that a next start would run beside."""
        try:
            await self._clear()
        except Exception:
            LOG.exception("what a life that failed has left is not all gone", service=self._label)
        failure = Failure(reason=FailureReason.INTERNAL, hint="see arje's log; this is a bug of arje")
        try:
            if self._state is not None:
                self._fire(Event.FAULT, "supervisor", "arje itself failed", failure=failure)
        except Exception:
            LOG.exception("a fault could not be told", service=self._label)

    async def _clear(self) -> None:
        if self._held is None:
            return
        outcome, slot = self._held
        try:
            outcome.kill_tree()
        except Exception:
            LOG.exception("a service could not be killed as a whole", service=self._label)
            self._host.kill(outcome.incarnation.leader_pid)
        await slot.wait(DYING)
        self._host.forget(outcome.incarnation.leader_pid, slot)
        await self._close(outcome)

    @property
    def _state(self) -> State | None:
        """The service's state; None when it is gone from the table."""
        return self._table.get(self._label).state if self._label in self._table else None

    def _fire(self, event: Event, who: str, detail: str, **changes: Any) -> None:
        self._table.fire(self._label, event, self._supervisor.cause(who, detail), **changes)

    async def _bell(self) -> None:
        await self._supervisor.bells.wait(self._label)

    def state_changed(self, new: Service) -> None:
        """Hear of a change: a stop ends what waits for the machine at once, and gives a set-up its time to stop."""
        if self._patience is None or new.state is State.STARTING:
            return
        if new.state is State.STOPPING:
            latest = trio.current_time() + new.card.supervision.stop_timeout
            self._patience.deadline = min(self._patience.deadline, latest)
        elif new.state is not State.WAITING:
            self._patience.cancel()

    # -- before the start ----------------------------------------------------------------------------------------------

    async def _back_off(self) -> None:
        until = self._table.get(self._label).backoff_until or 0.0
        if (left := until - self._host.now()) > 0:
            with trio.move_on_after(left):
                while self._state is State.BACKOFF:
                    await self._bell()
        if self._state is State.BACKOFF:
            self._fire(Event.RETRY_DUE, "supervisor", "the back-off is over")

    async def _wait_and_run(self) -> None:
        if self._is_masked():
            return
        while not self._supervisor.may_start(self._label):
            await self._supervisor.await_chance(self._label)
            if self._state is not State.WAITING or self._is_masked():  # its card may be a new one by now
                return
        card = self._table.get(self._label).card
        if (card.only_if_exists or card.conditions or card.asserts) and not await self._condition(card):
            return
        activated = bool(card.sockets or card.paths)
        if activated and not await self._activated(card):
            return
        if not activated:
            self._fire(Event.DEPENDENCIES_MET, "supervisor", "all that it needs is up", awaits=())
        if isinstance(card.payload, Virtual):
            await self._run_virtual(card)
        elif card.activation.when is When.PER_CONNECTION:
            await self._run_listener(card)
        else:
            await self._run_process(card)
        self._start_again_if_wanted()

    def _is_masked(self) -> bool:
        """Whether a service that waits may not start at all; it is skipped then."""
        mask = "" if self._supervisor.stopping else masked_by(self._table.get(self._label).card)
        if mask:
            self._fire(Event.SKIPPED, "mask", f"masked by {mask}: arjectl unmask {self._label}")
        return bool(mask)

    async def _condition(self, card: Card) -> bool:
        """Whether all conditions and asserts hold; else the service is skipped, or fails. A thread looks: see stdio."""
        found: conditions.Finding | None = None
        with trio.move_on_after(SETUP) as self._patience:
            found = await before.look(self._supervisor, card)
        self._patience = None
        if self._state is State.WAITING and (found is None or found.false):
            what = f"{conditions.asked(card)}: no answer in {SETUP:g} s" if found is None else found.false
            if found is not None and found.asserted:
                failure = Failure(reason=FailureReason.CONDITION, field="asserts", detail=what)
                self._fire(Event.ASSERT_FAILED, "condition", f"asserted: {what}", failure=failure)
            else:
                self._fire(Event.SKIPPED, "condition", what)
        return self._state is State.WAITING and self._supervisor.may_start(self._label)

    async def _activated(self, card: Card) -> bool:
        """Whether a service with sockets or paths has begun to start: they are ready, and what it waits for has come."""
        activations, who, told = self._supervisor.activations, "supervisor", "all that it needs is up"
        failure: SetupFailed | None = None
        try:
            with trio.move_on_after(SETUP) as self._patience:
                await activations.prepare(card)
            if self._patience.cancelled_caught and self._patience.deadline > trio.current_time():
                return False
            if self._patience.cancelled_caught:
                failure = Overdue(self._label, Step.PREPARE, "its sockets or paths were not ready in time")
            elif card.on_demand and activations.still(card):
                activations.arm(card)
                if (found := await activations.demanded(card)) is None:
                    return False
                who, told = found
        except SetupFailed as error:
            failure = error
        finally:
            self._patience = None
        if not activations.still(card) or not self._supervisor.may_start(self._label):
            return False
        spent = activations.start(card) if card.on_demand and failure is None else None
        self._fire(Event.DEPENDENCIES_MET, who, told, awaits=awaits(card))
        if failure is not None:
            await self._aftermath.refused(card, failure)
        elif spent is not None:
            self._fire(Event.SPAWN_FAILED, "supervisor", spent.detail, failure=spent)
        return failure is None and spent is None

    def _start_again_if_wanted(self) -> None:
        """Somebody asked for it again while it was stopping; whose wish that was is known already."""
        rests = self._state is State.STOPPED and not self._supervisor.stopping
        if rests and (service := self._table.get(self._label)).wanted:
            self._fire(Event.WANTED, "supervisor", "restart", activation=service.activation)

    async def _run_virtual(self, card: Card) -> None:
        if card.supervision.kind is Kind.ONE_SHOT:
            self._fire(Event.EXITED_DONE, "supervisor", "it has no process")
            return
        self._fire(Event.READY, "supervisor", "it has no process")
        while self._state is not State.STOPPING:
            await self._bell()
        self._aftermath.stopped()

    async def _run_listener(self, card: Card) -> None:
        """Be up while connections are served, each by a process of its own."""
        self._fire(Event.READY, "supervisor", f"it listens on {', '.join(socket.listen for socket in card.sockets)}")
        failure = await connections.serve(self._supervisor, card, lambda: self._state is State.STOPPING)
        if self._state is State.STOPPING:
            self._aftermath.stopped()
        elif failure is not None:
            self._fire(Event.EXITED_FAILED, "supervisor", str(failure), failure=failure)

    async def _run_process(self, card: Card) -> None:
        self._supervisor.logs.of(self._label).began = self._host.wall()
        if card.hooks.pre and (failed := await self._before(card)) is not None:
            await self._aftermath.not_started(card, failed.failure, f"hook {failed.hook} failed: {failed.ended}")
            return
        await self._note_inputs(card)
        if self._state is not State.STARTING:
            self._fire(Event.SPAWN_FAILED, "supervisor", "it was stopped before it ran")
            return
        voice = readier = run = None
        try:
            try:
                voice = Voice(self._supervisor, card)
                readier = Readier(self._supervisor, card)
                outcome, slot = await self._spawn(voice, readier)
            except (IncarnationRefused, SetupFailed, OSError) as error:
                await self._aftermath.refused(card, error)
                return
            run = self._begin(card, outcome, slot, voice, readier)
        finally:
            if run is None and readier is not None:
                readier.close()
            if run is None and voice is not None:
                voice.close()
        await self._go_on(run)

    async def _before(self, card: Card) -> HookFailed | None:
        """Run what comes before the payload; a stop gives it the time of a stop."""
        failed = None
        with trio.CancelScope() as self._patience:
            failed = await hooks.run(self._supervisor, card, "pre", seconds=start_timeout(card))
        self._patience = None
        return failed

    async def _spawn(self, voice: Voice, readier: Readier) -> tuple[Living, ExitSlot]:
        activations, told = self._supervisor.activations, voice.given()
        ours = activations.given(voice.card)
        given = Given(
            env=(*told.env, *ours.env),
            pid_variables=(*told.pid_variables, *ours.pid_variables),
            fds=(*ours.fds, *readier.fds(len(ours.fds))),
        )
        birth = Birth(self._supervisor, activations.dressed(voice.card), given)
        self._patience = birth.patience
        try:
            return await birth.run()
        except Exception:
            await birth.give_up()
            raise
        finally:
            self._patience = None

    async def _note_inputs(self, card: Card) -> None:
        """Remember what is in the files that this start reads, for the plan that will compare; it may not be known."""
        if not (places := inputs(card)):
            return
        self._supervisor.catalogue.read_at_start.pop(self._label, None)
        with trio.move_on_after(SETUP) as self._patience:
            found = await self._host.ask(f"files of {self._label}", partial(contents, places))
            self._supervisor.catalogue.read_at_start[self._label] = found
        self._patience = None

    def _begin(self, card: Card, outcome: Living, slot: ExitSlot, voice: Voice, readier: Readier) -> Run:
        """The payload's first instruction."""
        self._held = outcome, slot
        self._supervisor.outcomes[self._label] = outcome
        self._supervisor.logs.of(self._label).pid = outcome.incarnation.pid
        readier.begins(outcome)
        vigil = self._vigil = Vigil(self._supervisor, card, outcome, slot, readier)
        voice.begins(vigil, outcome)
        told = f"exec confirmed after {outcome.incarnation.setup_ms:.1f} ms"
        self._fire(Event.SPAWNED, "supervisor", told, incarnation=outcome.incarnation)
        vigil.begin()
        return Run(card, outcome, slot, voice, readier, vigil)

    async def _go_on(self, run: Run) -> None:
        """From here to the payload's last instruction, unless that is a long time in which nothing happens."""
        self._parked = run if run.is_quiet else None
        if self._parked is not None:
            self._supervisor.bells.park(self._label)
            return
        try:
            await self._live(run)
        finally:
            run.close()
        self._start_again_if_wanted()

    async def _live(self, run: Run) -> None:
        if run.voice.is_listening:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.voice.listen)
                doom, ended, method = await self._attend(run)
                nursery.cancel_scope.cancel()
        else:
            doom, ended, method = await self._attend(run)
        run.voice.drain()
        self._stop = self._vigil = None
        assert run.slot.exit is not None
        ended = ended or run.outcome.exit_of(run.slot.exit)
        oom = ended == Exit("killed", signal.SIGKILL) and run.outcome.oom_killed
        mute = self._state is State.STARTING and run.readier.is_mute
        used = figures.of_ended(run.outcome, run.slot.used)
        end = End(ended, doom, oom=oom, mute=mute, said=run.vigil.said, used=used)
        await self._ended(run.card, run.outcome, end, method)

    async def _attend(self, run: Run) -> tuple[Doom | None, Exit | None, str | None]:
        """Watch over a payload to its end. Returns why arje ended it, how it ended by itself, and what ended it."""
        doom = await run.vigil.over()
        ended = run.outcome.exit_of(run.slot.exit) if run.slot.exit is not None else None
        if ended is not None and self._stays_up(run.card, ended):
            await self._stay_up(run.card)
        if doom is not None:
            self._aftermath.begin(doom.detail)
        self._stop = run.voice.stop = Stop(self._supervisor, run.card, run.outcome, run.slot)
        return doom, ended, await self._stop.run(doom) if run.slot.exit is None else None

    def _stays_up(self, card: Card, ended: Exit) -> bool:
        """Whether the end of its process is what makes a service ready."""
        scripted = card.supervision.kind is Kind.SCRIPTED
        return scripted and self._state is State.STARTING and is_success(card.supervision, ended)

    async def _stay_up(self, card: Card) -> None:
        """Be up without a main process until it is stopped; the hook ``stop`` takes back what the payload has done."""
        await hooks.run(self._supervisor, card, "ready")
        if self._state is State.STARTING:
            self._fire(Event.READY, "supervisor", "its payload has ended well")
        while self._state is not State.STOPPING:
            await self._bell()
        await hooks.run(self._supervisor, card, "stop", seconds=card.supervision.stop_timeout)

    @verb
    async def reload(self, who: str) -> str:
        """Let the service read its configuration again. Returns why that failed; empty when it did not."""
        return await self._vigil.reload(who) if self._vigil is not None else "it does not run"

    @verb
    def hurry(self) -> None:
        """Somebody asks a second time for a stop that is under way: go on to its next step."""
        if self._stop is not None:
            self._stop.hurry()

    async def _ended(self, card: Card, outcome: Living, end: End, method: str | None) -> None:
        await self._supervisor.logs.of(self._label).end_life()
        lived = self._host.now() - outcome.incarnation.started
        swept = await self._close(outcome)
        again = swept and method and not method.startswith(swept)  # the same way twice is no news
        method = f"{method}, then {swept}" if again else method or swept or None
        await self._aftermath.ended(card, end, lived, method)

    async def _close(self, outcome: Living) -> str:
        """Kill what the leader has left behind, and let go. Returns how, when a walk had to look for it."""
        self._supervisor.outcomes.pop(self._label, None)
        self._supervisor.forget_helpers(self._label)
        swept = ""
        try:
            swept = await self._host.close(outcome)
        except OSError as error:
            LOG.error("something of a service is left", service=self._label, error=str(error))
        self._held = None
        return swept
