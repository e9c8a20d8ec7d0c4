"""What pid 1 does beside keeping services: what it starts with, what signals ask of it, the way to an end, and a shell.

The supervisor knows nothing of it. This is a task in its nursery that hears the signals of pid 1 (requests.py), wishes for
cards as a hand would, and tells people in front of the machine what happens.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.init import boot, console, consoles, requests, seeing_off
from arje.init.boot import Became, Scene
from arje.init.daemon import start_enabled
from arje.init.kernel_line import RESCUE
from arje.init.rescue import Rescue
from arje.init.seeing_off import SeeingOff
from arje.service.record import Service
from arje.service.state import State
from arje.service.ways import OF_PID1, Way
from arje.supervisor import target
from arje.supervisor.machine import SHELLS
from arje.supervisor.snapshot import failure_text

if TYPE_CHECKING:
    from arje.supervisor.door import Door
    from arje.supervisor.farewell import Farewell
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
WHO: Final = "boot"
DEFAULT: Final = "default"
_MOST: Final = 10  # lines about services
_RTMIN: Final = int(signal.SIGRTMIN)


class Duties:
    """Pid 1's own part of a manager's run. ``farewell`` is how that one ended."""

    def __init__(self, scene: Scene, steps: tuple[Became, ...], runtime_dir: Path, stage0: str = "") -> None:
        self.scene = scene
        self.steps = steps
        self.farewell: Farewell | None = None
        self._asked = requests.IN_CONTAINER if scene.container else requests.ON_MACHINE
        self._runtime_dir = runtime_dir
        self._stage0 = stage0
        self._interrupts: deque[float] = deque(maxlen=requests.BURST[0])
        self._first = True
        self._up: float | None = None

    @property
    def signals(self) -> tuple[int, ...]:
        """The numbers that mean something here."""
        return tuple(self._asked)

    # -- the begin -----------------------------------------------------------------------------------------------------

    def take(self, supervisor: Supervisor, door: Door, nursery: trio.Nursery, load: Callable[[], None]) -> None:
        """Take up these duties in a manager that has its cards; ``load`` reads them again."""
        self._supervisor, self._nursery, self._load = supervisor, nursery, load
        door.pid1 = self
        self.farewell = supervisor.farewell
        self._rescue = Rescue(supervisor, nursery, self._begin_again)
        self._seeing_off = SeeingOff(supervisor, self.scene)
        nursery.start_soon(self._seeing_off.run)
        if self.scene.words.watchdog and not self.scene.container:
            from arje.init.watchdog import pet

            nursery.start_soon(pet, self.scene.words.watchdog)

    def begin(self) -> None:
        """Start what this machine, or this container, is for; a shell where that cannot be."""
        first, self._first = self._first, False
        trouble = self._trouble()
        for line in trouble:
            LOG.error("the boot comes to nothing", why=line)
            if not self.scene.container:
                console.say(f"arje: {line}")
        if self.scene.words.shell == RESCUE and first:
            self._rescue.start(RESCUE, WHO)
        elif trouble and self.scene.container:
            if self.scene.words.target:
                self._supervisor.farewell.say(Way.EXIT, WHO, status=1)
        elif trouble:
            self._rescue.start(RESCUE, WHO)
        else:
            self._go()

    def _begin_again(self) -> None:
        """Go on after a shell, with the cards as they are by now."""
        try:
            self._load()
        except Exception:  # a machine goes on with the cards it has
            LOG.exception("the cards could not be read again")
        self.begin()

    async def switch_to_shell(self, label: str, who: str) -> list[Service]:
        """Stop everything and give a shell on the console. Raises NoSuchService when there is none."""
        return await self._rescue.switch_to(label, who)

    def _go(self) -> None:
        supervisor, wanted = self._supervisor, self.scene.words.target
        if not wanted and DEFAULT in supervisor.table and target.is_target(supervisor.table.get(DEFAULT)):
            wanted = DEFAULT
        if not self.scene.container and consoles.GETTYS in supervisor.table:
            supervisor.want(consoles.GETTYS, WHO)
        if wanted:
            supervisor.want(wanted, WHO, "the target of this boot")
        else:
            start_enabled(supervisor)
        self._nursery.start_soon(self._await_up)

    async def _await_up(self) -> None:
        """Note when all that this boot starts has settled, and tell it; and meanwhile, what it waits for."""
        labels = [service.label for service in self._supervisor.table if service.wanted]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seeing_off.tell_waits, self._supervisor, self._comes, not self.scene.container)
            for label in labels:
                if label in self._supervisor.table:
                    await self._supervisor.settled(label)
            nursery.cancel_scope.cancel()
        if self._up is not None or self._supervisor.stopping:
            return
        self._up = round(time.clock_gettime(time.CLOCK_BOOTTIME) - self.steps[0].at_ms / 1000, 3)
        failed = [service for service in self._supervisor.table if service.state is State.FAILED]
        LOG.info("up", seconds=self._up, failed=len(failed))
        if self.scene.container:
            return
        for service in failed[:_MOST]:
            why = failure_text(service.failure) if service.failure else str(service.cause)
            console.say(f"arje: {service.label} has failed: {why}")
        if failed or not self.scene.words.quiet:
            told = f", {len(failed)} failed: arjectl" if failed else ""
            console.say(f"arje: up after {self._up:.2f} s{told}")

    def _comes(self, service: Service) -> bool:
        return service.state is State.STARTING and not self._supervisor.stopping

    def _trouble(self) -> list[str]:
        """Return why this boot comes to nothing, line by line; nothing when it comes to something."""
        table, wanted = self._supervisor.table, self.scene.words.target
        bad = [f"bad card: {problem}" for problem in self._supervisor.problems]
        if wanted and wanted not in table:
            from arje.card.nearest import nearest

            near = nearest(wanted, [service.label for service in table])
            return [
                *bad,
                f"no card {wanted!r}, which the kernel line wants" + (f"; did you mean {near}?" if near else ""),
            ]
        theirs = [s for s in table if not consoles.is_ours(s.card.source.file, self._runtime_dir)]
        if not theirs:
            where = ", ".join(str(each) for each in self._supervisor.catalogue.directories if each != consoles.BUILTIN)
            return [*bad, f"there is no {'good ' if bad else ''}card in {where}"]
        return []

    # -- signals -------------------------------------------------------------------------------------------------------

    def heed(self, signals: Iterable[tuple[int, int, int]]) -> None:
        """Do what signals (number, sender's pid and uid) ask for. Reload is the manager's own business."""
        for number, pid, uid in signals:
            if number in self._asked:
                name = signal.Signals(number).name if number < _RTMIN else f"SIGRTMIN+{number - _RTMIN}"
                self._heed(
                    number, self._asked[number], f"{name} from {f'pid {pid}, uid {uid}' if pid else 'the kernel'}"
                )

    def _heed(self, number: int, asked: requests.Request, who: str) -> None:
        supervisor = self._supervisor
        if number == signal.SIGINT and self._is_burst():
            asked = requests.Request(Way.REBOOT, force=True)
        if asked.card and asked.card in supervisor.table:
            supervisor.want(asked.card, who)
        elif asked.way is not None:
            if not self.end(asked.way, who, force=asked.force):
                LOG.warning("told to stop while stopping: killing what is left")
                supervisor.kill_now()
        elif asked.verb in SHELLS:
            self._nursery.start_soon(self._rescue.attempt, asked.verb, who)
        elif asked.verb == "default":
            self.begin()
        elif asked.verb.startswith("log-"):
            log.set_level(asked.verb.removeprefix("log-"))
        elif not asked.verb:
            LOG.warning("a signal that asks for nothing here", who=who)

    def _is_burst(self) -> bool:
        most, seconds = requests.BURST
        self._interrupts.append(now := self._supervisor.host.now())
        return len(self._interrupts) == most and now - self._interrupts[0] <= seconds

    # -- the end -------------------------------------------------------------------------------------------------------

    def refusal(self, way: Way, words: tuple[str, ...] = ()) -> str:
        """Return why a way cannot be taken here, and what to do; empty when it can. ``words``: a root and its init."""
        return seeing_off.refusal(way, words, container=bool(self.scene.container))

    def end(self, way: Way, who: str, *, words: tuple[str, ...] = (), force: bool = False) -> bool:
        """Let this machine end so; False when it ends already."""
        if way in OF_PID1 and (why := self.refusal(way, words)):
            LOG.error("not done", way=way.value, why=why)
            return True
        return self._supervisor.farewell.say(way, who, words=words, force=force)

    async def stop(self) -> None:
        """Stop every service, in order and in a bounded time; at once where that is wanted."""
        await self._seeing_off.stop()

    # -- what is shown -------------------------------------------------------------------------------------------------

    def brief(self) -> dict[str, Any]:
        """Return what the header of a status shows of this boot."""
        failed = [step.name for step in boot.failed(self.steps)]
        return {"container": self.scene.container, "failed": failed, "up_s": self._up}

    def facts(self) -> dict[str, Any]:
        """Return what the control socket shows of this boot."""
        return {
            "container": self.scene.container,
            "target": self.scene.words.target or DEFAULT,
            "began_ms": self.steps[0].at_ms,
            "stage0_ms": int(self._stage0) / 1e6 if self._stage0.isdigit() else None,
            "up_s": self._up,
            "slips": list(self.scene.words.slips),
            "steps": [boot.as_plain(step) for step in self.steps],
        }
