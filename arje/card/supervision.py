"""What a card says about living: when to start again, when to give up, how to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card import consequence, hooks
from arje.card.budget import Budget, limited
from arje.card.consequence import Consequence
from arje.card.hooks import Reload, Signal, signal_name
from arje.card.on_change import Feels, OnChange
from arje.card.probes import Health, Readiness, one_way
from arje.card.rules import FORBID, LONGEST, Flag, Rule, Seconds, many, real, text, whole, whole_rule
from arje.card.unreadable import Unreadable, shown


class Kind(StrEnum):
    """What a service is. ``delegate``: its death is reported to the parent card and it is not restarted. ``scripted``: its
    payload ends well and is up until it is stopped; what stops it is its hook ``stop``."""

    DAEMON = "daemon"
    ONE_SHOT = "one-shot"
    DELEGATE = "delegate"
    SCRIPTED = "scripted"


class RestartWhen(StrEnum):
    """After which endings a service starts again. ``on-abnormal``: signals and timeouts, not exit codes."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ON_ABNORMAL = "on-abnormal"
    ALWAYS = "always"


class NotifyAccess(StrEnum):
    """Whose messages count."""

    MAIN = "main"
    ALL = "all"


def _ending(value: Any) -> int | str:
    """An exit code, or a signal's name."""
    if not isinstance(value, str):
        return int(whole(0, 255)(value))
    if text(value).strip().isdecimal():
        raise Unreadable("", f"{value!r} is neither a code nor a signal", f"write a code without quotes: {value}")
    return signal_name(value)


_ENDING: Final = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 255}]}
Endings = Annotated[tuple[int | str, ...], Rule(many(_ending), {"type": "array", "items": _ENDING})]


def _steps(value: Any) -> tuple[tuple[str, float], ...]:
    """Signals with the seconds that each is given: pairs, or the words ``TERM/5 INT/5``."""
    if isinstance(value, str):
        words = text(value).split()
        value = [word.split("/") for word in (words[:-1] if words[-1:] == ["KILL"] else words)]
    if not isinstance(value, (list, tuple)):
        raise Unreadable("", f"{shown(value)} is no list of steps", 'write "TERM/5 INT/5"')
    found = []
    for index, step in enumerate(value):
        if not isinstance(step, (list, tuple)) or len(step) != 2:
            raise Unreadable(str(index), f"{shown(step)} is no step", 'write a signal and its seconds: "TERM/5"')
        try:
            seconds = real(0, LONGEST)(float(step[1]) if isinstance(step[1], str) else step[1])
            found.append((signal_name(step[0]), seconds))
        except Unreadable as error:
            raise Unreadable(str(index), str(error), error.remedy) from error
        except ValueError:
            raise Unreadable(str(index), f"{shown(step[1])} is no number of seconds", 'write "TERM/5"') from None
    return tuple(found)


_SIZE: Final = {"type": "integer", "minimum": 0, "maximum": 2**62}
_PART: Final = {"type": "number", "minimum": 0, "maximum": 1}
StopSteps = Annotated[
    tuple[tuple[str, float], ...],
    Rule(_steps, {"type": "string", "pattern": r"^\s*([A-Za-z0-9+-]+/[0-9.]+\s*)+(KILL\s*)?$"}),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``starts`` starts in ``interval`` seconds; one more and the service is ``failed`` (start-limit)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    starts: Annotated[int, whole_rule(0, 10**6)] = 10
    """Number of starts; 0 means no limit."""
    interval: Seconds = 60.0
    """In this many seconds."""
    action: consequence.Word = "none"
    """What follows when this has made it fail: ``none``, ``start:LABEL`` (a service; a one-shot is a script),
    ``target:LABEL`` (all else stops), ``exit:STATUS`` (arje ends), ``reboot`` or ``poweroff`` (arje ends, and as the PID 1
    of a machine takes that with it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How a service is kept. Durations are seconds here; a card may write ``"200ms"`` or ``"5m"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    kind: Kind = Kind.DAEMON
    """What it is: a daemon, a one-shot, or somebody else's to keep."""
    restart: RestartWhen = RestartWhen.NEVER
    """After which endings it starts again."""
    initial: Seconds = 0.2
    """Wait before the first restart, in seconds; it doubles with each one."""
    max: Seconds = 30.0
    """Longest wait, in seconds."""
    healthy_after: Seconds = 10.0
    """A life of this many seconds makes the wait start from ``initial`` again, in seconds."""
    rate_limit: RateLimit = field(default_factory=RateLimit)
    """How often it may start before arje gives up."""
    budget: Annotated[Budget, Rule(limited)] | None = None
    """The restarts that it has in common with others of its group."""
    jitter: Annotated[float, Rule(real(0, 1, "write a part of the wait: 0.1"), _PART)] = 0.0
    """Part of each wait, 0 to 1, by which it may be longer: many machines do not start again at the same moment."""
    restart_on: Endings = ()
    """Endings after which it starts again whatever ``restart`` says: codes, and signals by name."""
    no_restart_on: Endings = ()
    """Endings after which it does not start again whatever ``restart`` says."""
    max_lifetime: Seconds = 0.0
    """Seconds after which a life is ended, as by a time-out; 0 means no limit."""
    max_memory: Annotated[int, Rule(whole(0, 2**62), _SIZE)] = 0
    """Bytes above which a life is ended in order and another one begins; 0 means no limit. Page cache does not count, swap
    does. Where the kernel counts memory by cgroup it tells at once (``memory.high``), else ``memory_check`` is needed."""
    memory_check: Seconds = 0.0
    """Seconds between two looks at the memory of a service with ``max_memory``, where the kernel does not tell; 0: none."""
    success_exit: Endings = ()
    """Endings besides exit code 0 that are a success: codes, and signals by name (``"TERM"``)."""
    ends_arje: Flag = False
    """Whether its end for good is arje's: the others stop, and arje exits with its status (128 and the number for a signal;
    1 for a failure that has none). A stop by hand is no such end."""
    stop_signal: Signal = "TERM"
    """Signal that asks it to stop, by name or number: ``"TERM"``, ``"SIGRTMIN+3"``, 15."""
    stop_timeout: Seconds = 10.0
    """Seconds between the stop signal and the killing of the whole tree."""
    stop: StopSteps = ()
    """Signals to ask it with, one after the other, each with its seconds: ``"TERM/5 INT/5"``; what is left then is
    killed. Empty means ``stop_signal`` and ``stop_timeout``."""
    reload: Annotated[Reload, Rule(hooks.one_way)] | None = None
    """How it is told to read its configuration again: ``"HUP"``, or a command."""
    readiness: Annotated[Readiness, Rule(one_way)] | None = None
    """How it says that it is ready; without it, it is so once it runs."""
    start_timeout: Seconds | None = None
    """Seconds from its start until it has to be ready, or done for a one-shot; 0 means no limit, and so does nothing for
    one-shots; for others nothing means 90. It may ask for more (``EXTEND_TIMEOUT_USEC`` of sd_notify(3))."""
    watchdog: Seconds = 0.0
    """It says ``WATCHDOG=1`` by sd_notify(3) at least every so many seconds; 0 means that it need not."""
    notify_access: NotifyAccess = NotifyAccess.ALL
    """Whose messages by sd_notify(3) count: those of ``all`` its processes, or of the ``main`` one alone."""
    on_change: OnChange | None = None
    """Files whose change it feels while it runs."""
    health: Annotated[Health, Rule(one_way)] | None = None
    """How arje looks after it while it runs."""


def consequences(supervision: Supervision) -> Iterator[tuple[str, Consequence]]:
    """Yield what follows when its limits are hit, each with the field that says so."""
    yield "rate_limit.action", consequence.read(supervision.rate_limit.action)
    if supervision.budget is not None:
        yield "budget.action", consequence.read(supervision.budget.action)


def patience(supervision: Supervision) -> Supervision:
    """Return it when its first wait is not longer than its longest. Raises Unreadable."""
    if supervision.initial > supervision.max:
        message = f"{supervision.initial:g} s is over max, {supervision.max:g} s"
        raise Unreadable("initial", message, "write a smaller initial or a larger max")
    if supervision.rate_limit.action != "none" and supervision.rate_limit.starts == 0:
        raise Unreadable("rate_limit.action", "a limit of 0 starts is none, and never hit", "write rate_limit.starts")
    if supervision.memory_check and not supervision.max_memory:
        raise Unreadable("memory_check", "there is no max_memory to look for", 'add max_memory = "512M"')
    if supervision.on_change and supervision.on_change.action is Feels.RELOAD and supervision.reload is None:
        message = "nothing says how it reloads"
        raise Unreadable("on_change.action", message, 'add supervision.reload = "HUP", or write "restart"')
    return supervision
