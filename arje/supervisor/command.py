"""A command that runs for a service: a hook, a probe, a reload. It is an incarnation like any other, and bounded in time.

What it writes goes to the service's log. It never outlives its step: whoever waits for it and is cancelled kills it first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from arje import log
from arje.card.card import Card
from arje.card.command import Command
from arje.card.soma import Stdio
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate import beside
from arje.incarnate.given import Given
from arje.incarnation import Exit
from arje.supervisor.birth import DYING, Birth
from arje.supervisor.host import Living
from arje.supervisor.reaper import ExitSlot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. ``exit`` is None when it did not start, ``late`` when it was killed for taking too long."""

    command: Command
    exit: Exit | None
    late: bool = False
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether it did what it was for, or its failure does not count."""
        return self.command.ignore_failure or (self.exit is not None and self.exit.ok and not self.late)

    def __str__(self) -> str:
        if self.exit is None:
            return f"{self.command}: {self.trouble}"
        return f"{self.command}: killed after its time" if self.late else f"{self.command}: {self.exit}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command reads and writes, instead of the service's log; ``terminal``: the path of its session's, or empty."""

    stdio: Stdio
    terminal: str = ""

    def around(self, card: Card) -> Card:
        """Return the card of a command that is there."""
        return replace(card, soma=replace(card.soma, stdio=self.stdio, controlling_tty=self.terminal))


async def run(
    supervisor: Supervisor,
    card: Card,
    command: Command,
    role: str,
    *,
    running: Living | None = None,
    seconds: float = math.inf,
    env: tuple[tuple[str, str], ...] = (),
    network_only: bool = False,
    place: Place | None = None,
) -> Ended:
    """Run a command for a service to its end; beside its ``running`` incarnation, or in a body of its own.

    ``role`` tells it apart from other commands that the service has at the same time. ``seconds`` bounds it, and so does
    its own timeout. ``network_only``: it is arje's own, and shares nothing with the service but the network. ``place``:
    where it reads and writes. Raises nothing for what becomes of the command.
    """
    told = [("ARJE_LABEL", card.label), *env]
    if running is not None and running.plan is not None:
        privileged = supervisor.incarnator.capabilities.privileged
        ours = beside.inside(card, command, role, running.plan, privileged=privileged)
        main = running.incarnation.pid
        inner = main if command.privileged else beside.main_pid(running.plan, main, privileged=privileged)
        told.append(("MAINPID", str(inner)))
        if network_only:
            ours = beside.in_network(replace(card, soma=running.plan.soma), command, role)
    else:
        ours = beside.of_command(card, command, role)
    if place is not None:
        ours = place.around(ours)
    limit = min(seconds, command.timeout or math.inf)
    with trio.move_on_after(limit) as patience:
        birth = Birth(supervisor, ours, Given(env=tuple(told)), log_of=card.label)
        try:
            outcome, slot = await birth.run()
        except (IncarnationRefused, SetupFailed, OSError) as error:
            await birth.give_up()
            return Ended(command, None, trouble=str(error))
        except BaseException:
            with trio.CancelScope(shield=True):
                await birth.give_up()
            raise
        return await _to_the_end(supervisor, command, outcome, slot, patience)
    return Ended(command, None, late=True, trouble=f"its set-up took longer than {limit:g} s")


async def _to_the_end(
    supervisor: Supervisor, command: Command, outcome: Living, slot: ExitSlot, patience: trio.CancelScope
) -> Ended:
    label = outcome.incarnation.label
    supervisor.commands[label] = outcome
    late = False
    try:
        with trio.CancelScope() as own:
            own.deadline, patience.deadline = patience.deadline, math.inf
            await slot.wait()
        late = own.cancelled_caught
    finally:
        with trio.CancelScope(shield=True):
            ended = await _bury(supervisor, outcome, slot)
            supervisor.commands.pop(label, None)
    found = Ended(command, ended, late, "" if ended else "it does not die")
    if not found.ok:
        LOG.warning("a command has failed", service=label, command=str(found))
    return found


async def _bury(supervisor: Supervisor, outcome: Living, slot: ExitSlot) -> Exit | None:
    """End what is left of a command, and let go. Returns how it ended; None when it does not die."""
    if slot.exit is None:
        outcome.kill_tree()
        if not await slot.wait(DYING):
            LOG.error("a command cannot be killed", service=outcome.incarnation.label)
            return None
    assert slot.exit is not None
    ended = outcome.exit_of(slot.exit)
    supervisor.forget_helpers(outcome.incarnation.label)
    try:
        await supervisor.host.close(outcome)
    except OSError as error:
        LOG.error("something of a command is left", service=outcome.incarnation.label, error=str(error))
    return ended
