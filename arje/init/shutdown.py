"""The last acts of the first process: every process ended, everything written, everything let go, and reboot(2).

Services have been stopped in their order by then (supervisor.stop_all). No wait here is without an end: each act says how
long it may take, and the guard, a thread of C (native/machine.c), ends the machine when one takes longer: it needs no
Python that runs. What cannot be done is told on the console, and the next act follows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.errors import errno_name
from arje.init import console, entropy, unmounting
from arje.init.watchdog import keeper
from arje.native import machine
from arje.native.machine import Reboot
from arje.service.ways import MEANS, Way

_COURTESY: Final = 5.0  # seconds between TERM and KILL for what is no service's
_DYING: Final = 5.0  # seconds for killed processes to go
REBOOTS: Final = {
    Way.EXIT: Reboot.POWER_OFF,  # of a machine nothing else can be left
    Way.POWEROFF: Reboot.POWER_OFF,
    Way.REBOOT: Reboot.RESTART,
    Way.HALT: Reboot.HALT,
    Way.KEXEC: Reboot.KEXEC,
    Way.SOFT_REBOOT: Reboot.RESTART,  # what the guard does when user space does not come down
    Way.SWITCH_ROOT: Reboot.RESTART,
}
KEXEC_LOADED: Final = Path("/sys/kernel/kexec_loaded")


@dataclass(frozen=True, slots=True)
class Act:
    """One act: ``do`` returns what it could not do, in words, and may raise; ``seconds`` is how long it may take."""

    what: str
    seconds: float
    do: Callable[[], list[str]]


def kill_all() -> list[str]:
    """Send TERM to all that is left, and KILL to what does not go (kill(2): -1 is everybody but pid 1)."""
    for number, patience in ((signal.SIGTERM, _COURTESY), (signal.SIGKILL, _DYING)):
        try:
            os.kill(-1, number)
            os.kill(-1, signal.SIGCONT)
        except ProcessLookupError:
            return []
        if reap_all(patience):
            return []
    return [f"{len(left)} processes do not die: {' '.join(map(str, left[:10]))}"] if (left := _left()) else []


def reap_all(seconds: float) -> bool:
    """Reap until no child is left, or the time is over. Everybody is a child of pid 1's in the end."""
    end = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            if (left := end - time.monotonic()) <= 0:
                return False
            signal.sigtimedwait({signal.SIGCHLD}, left)


def _left() -> list[int]:
    """Return the processes but us that have a memory of their own: kernel threads have none."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names are wanted
        try:
            if int(name) != os.getpid() and Path("/proc", name, "statm").read_text().split()[0] != "0":
                found.append(int(name))
        except OSError:
            continue
    return found


def _save_seed() -> list[str]:
    entropy.save()
    return []


def _sync() -> list[str]:
    os.sync()
    return []


#: For every way that ends the kernel's run, in this order.
ACTS: Final = (
    Act("end what is left", _COURTESY + _DYING + 5, kill_all),
    Act("keep a random seed", 10, _save_seed),
    Act("write everything to the disks", 60, _sync),
    Act("switch swap off", 120, unmounting.swap_off),
    Act("unmount", 60, unmounting.unmount),
    Act("write everything to the disks", 60, _sync),
)
#: In a container: its mounts and disks are the host's.
ACTS_OF_CONTAINER: Final = ACTS[:1]
_SOFT: Final = ACTS[:3]


def finish(way: Way, *, container: str, status: int, slack: float) -> int:
    """End the machine. Returns only in a container that may not use reboot(2), or was only to exit: its exit status.

    ``slack``: seconds that the guard gives each act beyond its own.
    """
    for act in ACTS_OF_CONTAINER if container else ACTS:
        do(act, way, status, slack)
    if container and way is Way.EXIT:
        return status
    console.say(f"arje: the machine {MEANS[way]}" if not container else f"arje: this container {MEANS[way]}")
    command = REBOOTS[way]
    if not container:
        guard(way, 0, status, slack)
        keeper.let_go(stop=way not in (Way.REBOOT, Way.KEXEC))
    return _reboot(command, container=container, status=status)


def do(act: Act, way: Way, status: int, slack: float) -> None:
    """Do one act under the guard, and tell what of it could not be done. Never raises."""
    guard(way, act.seconds, status, slack)
    keeper.pet()
    try:
        refused = act.do()
    except Exception as error:  # nothing may keep the next act from being done
        refused = [str(error)]
    for told in refused:
        console.say(f"arje: {act.what}: {told}")


def guard(way: Way, seconds: float, status: int, slack: float) -> None:
    """Let the guard wait so long, and ``slack`` longer; where that is 0 there is none. Never raises."""
    if slack:
        with contextlib.suppress(OSError):
            machine.guard(seconds + slack, REBOOTS[way], status)


def soften(way: Way, *, slack: float) -> None:
    """Do what comes before user space begins anew: nobody is left, and everything is written."""
    for act in _SOFT:
        do(act, way, 1, slack)
    machine.guard(0)


def _reboot(command: Reboot, *, container: str, status: int) -> int:
    for attempt in dict.fromkeys((command, Reboot.RESTART)) if command is Reboot.KEXEC else (command,):
        try:
            machine.reboot(attempt)
        except OSError as error:
            if container:
                return status
            console.say(f"arje: reboot(2) refuses {attempt.name}: {errno_name(error.errno or 0)}")
    while True:  # a machine that does not go: its first process stays, and reaps
        sys.stdout = sys.stderr = None
        signal.sigwait({signal.SIGCHLD})
        reap_all(0)
