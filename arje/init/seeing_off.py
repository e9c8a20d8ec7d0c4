"""The end of a machine while there is a manager: services stop in order, people see what holds it up, and nothing can.

From the first moment on the guard is armed (shutdown.py): what is to be stopped next may be what hangs. As long as the loop
turns it is put off again; and the stop in order has a time that no card can make longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.errors import ArjeError
from arje.init import console, realroot, shutdown
from arje.init.boot import Scene
from arje.service.record import Service
from arje.service.state import WITH_PROCESS
from arje.service.ways import Way

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_TOLD_AFTER: Final = 3.0  # seconds until people want to know what is waited for, and between two tellings
_MOST: Final = 10  # services that are told of at once
_LIMIT: Final = 30 * 60.0  # seconds for the stop in order (JobTimeoutSec= of systemd's poweroff.target)
_LAST: Final = 10.0  # seconds for what was killed then


class SeeingOff:
    """The end of one manager's run."""

    def __init__(self, supervisor: Supervisor, scene: Scene) -> None:
        self._supervisor = supervisor
        self._scene = scene
        supervisor.farewell.heard = self._arm

    async def run(self) -> None:
        """Once arje is to end: put the guard off as long as the loop turns, and tell what is waited for."""
        supervisor, farewell = self._supervisor, self._supervisor.farewell
        await farewell.said.wait()
        if not self._scene.container:
            number = sum(service.state in WITH_PROCESS for service in supervisor.table)
            console.say(f"arje: {farewell.way.value}, says {farewell.who}: stopping {number} services")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_waits, supervisor, _has_process, not self._scene.container)
            while True:
                self._arm()
                await trio.sleep(_TOLD_AFTER)

    def _arm(self) -> None:
        shutdown.guard(self._supervisor.farewell.way, _TOLD_AFTER, 1, self._scene.words.guard)

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
            await trio.sleep(_LAST)


def _has_process(service: Service) -> bool:
    return service.state in WITH_PROCESS


async def tell_waits(supervisor: Supervisor, waits: Callable[[Service], bool], on_console: bool) -> None:
    """Tell every now and then which services are waited for, until cancelled."""
    while True:
        await trio.sleep(_TOLD_AFTER)
        now = supervisor.host.now()
        for each in [service for service in supervisor.table if waits(service)][:_MOST]:
            doing = f", {each.doing}" if each.doing else ""
            line = f"waiting for {each.label}: {each.state.value} for {now - each.since:.0f} s{doing}"
            LOG.info(line)
            if on_console:
                console.say(f"arje: {line}")


def refusal(way: Way, words: tuple[str, ...], *, container: bool) -> str:
    """Return why a way cannot be taken, and what to do; empty when it can. ``words``: a root and its init."""
    if way in (Way.KEXEC, Way.SWITCH_ROOT) and container:
        return "a container has no kernel and no root of its own"
    if way is Way.KEXEC and not _kernel_is_loaded():
        return "no kernel is loaded: kexec -l KERNEL --initrd=FILE --reuse-cmdline"
    if way is Way.SWITCH_ROOT:
        if not words:
            return "which root?"
        try:
            realroot.find_init(*words[:2])
        except ArjeError as error:
            return str(error)
    return ""


def _kernel_is_loaded() -> bool:
    try:
        return shutdown.KEXEC_LOADED.read_text().strip() == "1"
    except OSError:
        return False
