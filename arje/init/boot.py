"""What the first process does before there is a service: a table of described steps, taken in their order.

A step that fails is a degradation of the boot: it is kept with its reason and with what is so without it, told on the
console, shown by ``arjectl boot``; and the boot goes on. None of them can end pid 1. In a container many steps are the
host's business: what it does not let us do is skipped, not failed.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from arje import log
from arje.errors import errno_name, errno_text
from arje.init import entropy, fstab, identity, kernel_modules, keys, settings, tree
from arje.init.kernel_line import Words
from arje.init.mounting import MOUNTS, provide

LOG = log.logger()
_REFUSALS: Final = frozenset({errno.EPERM, errno.EACCES, errno.EROFS, errno.ENODEV, errno.ENOSYS, errno.EINVAL})


class Skipped(Exception):
    """A step that is not for here; the text says why."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a boot takes place: ``container`` is the kind of the container (``unknown`` for one that does not say), empty
    on a machine; ``words`` are what the kernel line, or the container's maker, asked for."""

    words: Words
    container: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the boot: ``do`` returns what it did, empty when nothing was to be done, and raises OSError or
    ValueError; ``otherwise`` is what is so when it fails. ``anywhere``: in containers as well."""

    name: str
    what: str
    otherwise: str
    do: Callable[[Scene], str]
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a step: ``result`` is done, there (nothing was to be done), skipped or failed; ``ms`` is its length,
    ``at_ms`` when it began, counted from the start of the kernel."""

    name: str
    what: str
    result: str
    detail: str
    otherwise: str
    at_ms: float
    ms: float


def _mounts() -> Iterator[Step]:
    for api in MOUNTS:
        yield Step(
            f"mount {api.place}",
            f"mount {api.kind} on {api.place}",
            api.otherwise,
            lambda scene, api=api: provide(api),  # type: ignore[misc] # bound here
            anywhere=True,
        )


#: In the order in which they are taken.
STEPS: Final = (
    *_mounts(),
    Step("kmsg", "let the kernel's log take every line of ours", "a burst of lines is cut short", settings.open_kmsg),
    Step(
        "cgroup", "go into a leaf, and hand the controllers down", "services have no limits", tree.take, anywhere=True
    ),
    Step("ctrl-alt-del", "hear Ctrl-Alt-Del", "Ctrl-Alt-Del ends the machine at once", keys.hear_ctrl_alt_del),
    Step("kbrequest", "hear the keyboard request (Alt-Up)", "Alt-Up does nothing", keys.hear_request),
    Step("hostname", "set the host's name", "the machine keeps the name it has", settings.name_host, anywhere=True),
    Step(
        "loopback", "bring lo up", "services on this machine do not reach one another", settings.bring_up, anywhere=True
    ),
    Step("modules", "load modules-load.d and modules_load=", "what they drive is missing", kernel_modules.load),
    Step("fstab", "mount what fstab says, and swap on", "the disks stay as the kernel left them", fstab.mount_all),
    Step("sysctl", "set what sysctl.d says", "the kernel keeps its own settings", settings.set_sysctls, anywhere=True),
    Step(
        "machine-id", "give the machine its id", "timers spread alike, logs bear no id", identity.provide, anywhere=True
    ),
    Step("random-seed", "stir the seed of the last run into the pool", "random numbers may wait", entropy.stir),
)


def take(scene: Scene) -> tuple[Became, ...]:
    """Take every step, and return what became of each. Never raises."""
    return tuple(_attempt(step, scene) for step in STEPS)


def _attempt(step: Step, scene: Scene) -> Became:
    at, began = time.clock_gettime(time.CLOCK_BOOTTIME), time.perf_counter()
    try:
        if scene.container and not step.anywhere:
            raise Skipped("the host's business")
        detail = step.do(scene)
        result = "done" if detail else "there"
    except Skipped as skipped:
        result, detail = "skipped", str(skipped)
    except OSError as error:
        refused = scene.container and error.errno in _REFUSALS
        result, detail = "skipped" if refused else "failed", _told(error)
    except Exception as error:  # whatever it is, the machine goes on
        result, detail = "failed", f"{type(error).__name__}: {error}"
    return Became(
        *(step.name, step.what, result, detail, step.otherwise),
        at_ms=round(at * 1000, 3),
        ms=round((time.perf_counter() - began) * 1000, 3),
    )


def _told(error: OSError) -> str:
    number = error.errno or 0
    if not number:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{errno_name(number)} ({errno_text(number)})"


def failed(steps: tuple[Became, ...]) -> tuple[Became, ...]:
    """Return the steps that failed."""
    return tuple(step for step in steps if step.result == "failed")


def as_plain(step: Became) -> dict[str, Any]:
    """Return a step as the control socket shows it."""
    return {name: getattr(step, name) for name in Became.__slots__}


def furnish_environment() -> None:
    """Give this process what a kernel, or a container's maker, may have left out (environ(7))."""
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if os.environ.get("HOME", "/") == "/":
        os.environ["HOME"] = "/root"
    os.environ.setdefault("LANG", "C.UTF-8")
    os.environ.setdefault("TERM", "linux")
