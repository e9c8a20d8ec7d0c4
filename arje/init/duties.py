"""What pid 1 does beside keeping services: what it starts with, what signals ask of it, the way to an end, and a shell.

The supervisor knows nothing of it. This is a task in its nursery that hears the signals of pid 1 (requests.py), wishes for
cards as a hand would, and tells people in front of the machine what happens.
"""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.errors import ArjeError
from arje.init import boot, console, consoles, realroot, requests, shutdown
from arje.init.boot import Became, Scene
from arje.init.daemon import start_enabled
from arje.init.kernel_line import EMERGENCY, RESCUE
from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State
from arje.service.ways import OF_PID1, Way
from arje.supervisor import target
from arje.supervisor.snapshot import failure_text

if TYPE_CHECKING:
    from arje.supervisor.door import Door
    from arje.supervisor.farewell import Farewell
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
WHO: Final = "boot"
DEFAULT: Final = "default"
_TOLD_AFTER: Final = 3.0  # seconds until people want to know what an end waits for, and between two tellings
_LIMIT: Final = 30 * 60.0  # seconds for the stop in order (JobTimeoutSec= of systemd's poweroff.target)
_LAST: Final = 10.0  # seconds for what was killed then
_QUICK: Final = 2.0  # seconds; a shell that ends sooner is not started again at once
_MOST: Final = 10  # lines about services
_RTMIN: Final = int(signal.SIGRTMIN)
_SHELLS: Final = (RESCUE, EMERGENCY)


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
        self._shell_began = -math.inf
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
        supervisor.farewell.heard = self._arm_guard
        supervisor.table.subscribe(self._changed)
        nursery.start_soon(self._see_off)
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
            self._start_shell(RESCUE)
        elif trouble and self.scene.container:
            if self.scene.words.target:
                self._supervisor.farewell.say(Way.EXIT, WHO, status=1)
        elif trouble:
            self._start_shell(RESCUE)
        else:
            self._go()

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
        """Note when all that this boot starts has settled, and tell it."""
        for service in [service for service in self._supervisor.table if service.wanted]:
            if service.label in self._supervisor.table:
                await self._supervisor.settled(service.label)
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

    # -- shells --------------------------------------------------------------------------------------------------------

    def _start_shell(self, label: str) -> None:
        if label not in self._supervisor.table:
            console.say("arje: there is no shell either; waiting for a key, a signal or arjectl")
            return
        console.say(f"arje: a {label} shell; its end goes on with the boot")
        self._supervisor.want(label, WHO)

    async def switch_to_shell(self, label: str, who: str) -> list[Service]:
        """Stop everything and give a shell on the console. Raises NoSuchService when there is none."""
        self._supervisor.table.get(label)
        stopped = await target.clear(self._supervisor, label, who, everything=label == EMERGENCY)
        self._supervisor.want(label, who)
        return stopped

    def _changed(self, old: Service, new: Service) -> None:
        if new.label not in _SHELLS or self._supervisor.stopping:
            return
        if new.state is State.STARTING and old.state is not State.STARTING:
            self._shell_began = self._supervisor.host.now()
        if old.state in WITH_PROCESS and new.state in (State.DONE, State.FAILED):
            self._nursery.start_soon(self._after_shell)

    async def _after_shell(self) -> None:
        """Go on with the boot, with the cards as they are by now."""
        if self._supervisor.host.now() - self._shell_began < _QUICK:
            await trio.sleep(_QUICK)
        if self._supervisor.stopping:
            return
        try:
            self._load()
        except Exception:
            LOG.exception("the cards could not be read again")
        self.begin()

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
        elif asked.verb in _SHELLS:
            self._nursery.start_soon(self._attempt_shell, asked.verb, who)
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

    async def _attempt_shell(self, label: str, who: str) -> None:
        try:
            await self.switch_to_shell(label, who)
        except Exception:
            LOG.exception("no shell", label=label)

    # -- the end -------------------------------------------------------------------------------------------------------

    def refusal(self, way: Way, words: tuple[str, ...] = ()) -> str:
        """Return why a way cannot be taken here, and what to do; empty when it can. ``words``: a root and its init."""
        if way is Way.KEXEC and not self.scene.container and not _kernel_is_loaded():
            return "no kernel is loaded: kexec -l KERNEL --initrd=FILE --reuse-cmdline"
        if way in (Way.KEXEC, Way.SWITCH_ROOT) and self.scene.container:
            return "a container has no kernel and no root of its own"
        if way is Way.SWITCH_ROOT:
            try:
                realroot.find_init(*words[:2])
            except (ArjeError, TypeError) as error:
                return str(error)
        return ""

    def end(self, way: Way, who: str, *, words: tuple[str, ...] = (), force: bool = False) -> bool:
        """Let this machine end so; False when it ends already."""
        if way in OF_PID1 and (why := self.refusal(way, words)):
            LOG.error("not done", way=way.value, why=why)
            return True
        return self._supervisor.farewell.say(way, who, words=words, force=force)

    def _arm_guard(self) -> None:
        """From the first moment on: what is to be stopped next may be what hangs."""
        shutdown.guard(self._supervisor.farewell.way, _TOLD_AFTER, 1, self.scene.words.guard)

    async def _see_off(self) -> None:
        """Once arje is to end: keep the guard quiet as long as the loop turns, and tell what is waited for."""
        farewell = self._supervisor.farewell
        await farewell.said.wait()
        console_says = not self.scene.container
        if console_says:
            console.say(f"arje: {farewell.way.value}, says {farewell.who}: stopping {self._count()} services")
        while True:
            self._arm_guard()
            await trio.sleep(_TOLD_AFTER)
            for line in self._waited_for():
                LOG.info("waiting", what=line)
                if console_says:
                    console.say(f"arje: waiting for {line}")

    def _count(self) -> int:
        return sum(service.state in WITH_PROCESS for service in self._supervisor.table)

    def _waited_for(self) -> list[str]:
        now = self._supervisor.host.now()
        left = [service for service in self._supervisor.table if service.state in WITH_PROCESS][:_MOST]
        return [
            f"{each.label}: {each.state.value} for {now - each.since:.0f} s" + (f", {each.doing}" if each.doing else "")
            for each in left
        ]

    async def stop(self) -> None:
        """Stop every service, in order and in a bounded time; at once where that is wanted."""
        supervisor = self._supervisor
        if supervisor.farewell.force:
            supervisor.kill_now()
        with trio.move_on_after(_LIMIT) as limit:
            await supervisor.stop_all(supervisor.farewell.who)
        if limit.cancelled_caught:
            console.say("arje: services do not stop: killing them")
            supervisor.kill_now()
            with trio.move_on_after(_LAST):
                await trio.sleep_forever()

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


def _kernel_is_loaded() -> bool:
    try:
        return shutdown.KEXEC_LOADED.read_text().strip() == "1"
    except OSError:
        return False
