"""The methods of io.arje.Manager: which parameters each takes, who may call it, and which verb of the door it is."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from arje.card.unreadable import Unreadable


class Door(Protocol):
    """What the manager offers (supervisor/door.py); plain data in and out."""

    def manager(self) -> dict[str, Any]: ...
    def services(self, labels: list[str], *, full: bool) -> list[dict[str, Any]]: ...
    async def look(self, labels: list[str]) -> None: ...
    def why(self, label: str) -> list[dict[str, Any]]: ...
    def deps(self, label: str, *, reverse: bool) -> list[dict[str, Any]]: ...
    async def logs(self, labels: list[str], picks: dict[str, Any]) -> list[dict[str, Any]]: ...
    def follow(self, labels: list[str], picks: dict[str, Any]) -> AsyncIterator[dict[str, Any]]: ...
    def processes(self, labels: list[str]) -> list[dict[str, Any]]: ...
    def events(self, labels: list[str], count: int, since: float | None) -> list[dict[str, Any]]: ...
    def monitor(self, labels: list[str], count: int, since: float | None) -> AsyncIterator[dict[str, Any]]: ...
    async def wait(self, labels: list[str]) -> list[dict[str, Any]]: ...
    def doctor(self) -> dict[str, Any]: ...
    async def forecast(self, label: str, on: Any = None) -> dict[str, Any]: ...
    async def check(self, name: str, text: str, on: Any = None) -> dict[str, Any]: ...
    def schema(self) -> dict[str, Any]: ...
    async def start(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    async def trigger(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    async def stop(self, labels: list[str], who: str, *, force: bool) -> list[dict[str, Any]]: ...
    async def target(self, label: str, who: str) -> list[dict[str, Any]]: ...
    async def restart(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    async def try_restart(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    async def reload(self, labels: list[str], who: str, *, or_restart: bool) -> list[dict[str, Any]]: ...
    def kill(self, labels: list[str], signal: str, whom: str, who: str) -> list[dict[str, Any]]: ...
    def set(self, label: str, changes: dict[str, str], who: str) -> dict[str, Any]: ...
    async def heal(self, labels: list[str], who: str) -> dict[str, Any]: ...
    async def observe(self, label: str, who: str) -> dict[str, Any]: ...
    async def await_end(self, label: str, seconds: float) -> dict[str, Any]: ...
    async def harden(
        self, label: str, who: str, *, slack: float, attempt: bool, stay: float, write: bool
    ) -> dict[str, Any]: ...
    async def freeze(self, labels: list[str], who: str, *, frozen: bool) -> list[dict[str, Any]]: ...
    def plan(self) -> dict[str, Any]: ...
    async def apply(self, token: str, who: str) -> dict[str, Any]: ...


class InvalidParameter(Exception):
    """A parameter is missing, of the wrong type, or not known; ``args[0]`` is its name."""


_MOST: Final = 10_000  # labels of one call
_A_YEAR: Final = 366 * 86_400_000  # in milliseconds
_FOREVER: Final = 10**11  # seconds since the epoch: the year 5138
#: The parameters of Call.picks.
PICKS: Final = ("lines", "since", "until", "stream", "grep", "life")
_LONGEST: Final = 256  # characters of a pattern: a label has 64 at most


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who asks (for causes), and the parameters by name, checked on reading. A null one is a missing one."""

    who: str
    parameters: dict[str, Any]

    def _value(self, name: str, default: Any) -> Any:
        value = self.parameters.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string. Raises InvalidParameter."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise InvalidParameter(name)
        return value

    def number(self, name: str, default: int, most: int = 10**6) -> int:
        """Return an integer from 0 to a million, or to ``most``. Raises InvalidParameter."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise InvalidParameter(name)
        return value

    def moment(self, name: str) -> float | None:
        """Return a time of the wall clock in seconds, None when it is missing. Raises InvalidParameter."""
        value = self._value(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _FOREVER:
            raise InvalidParameter(name)
        return float(value)

    def picks(self, lines: int) -> dict[str, Any]:
        """Return which lines of a log are wanted (supervisor/logread.py, Query). Raises InvalidParameter."""
        stream = self.text("stream", "")
        if stream not in ("", "stdout", "stderr"):
            raise InvalidParameter("stream")
        return {
            "lines": self.number("lines", lines),
            "since": self.moment("since"),
            "until": self.moment("until"),
            "stream": stream,
            "grep": self.text("grep", ""),
            "life": self.flag("life"),
        }

    def flag(self, name: str) -> bool:
        """Return a boolean, false when it is missing. Raises InvalidParameter."""
        value = self._value(name, False)
        if not isinstance(value, bool):
            raise InvalidParameter(name)
        return value

    def texts(self, name: str) -> dict[str, str]:
        """Return an object of strings. Raises InvalidParameter."""
        value = self._value(name, None)
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise InvalidParameter(name)
        return value

    def thing(self, name: str) -> Any:
        """Return whatever stands there, None when it is missing."""
        return self._value(name, None)

    def labels(self) -> list[str]:
        """Return the list of labels and patterns, empty when it is missing. Raises InvalidParameter, also for a flood."""
        value = self._value("labels", [])
        if not isinstance(value, list) or len(value) > _MOST:
            raise InvalidParameter("labels")
        if not all(isinstance(label, str) and len(label) <= _LONGEST for label in value):
            raise InvalidParameter("labels")
        return value

    def some_labels(self) -> list[str]:
        """Return at least one label: nobody stops everything by leaving a word out. Raises InvalidParameter."""
        if not (labels := self.labels()):
            raise InvalidParameter("labels")
        return labels


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it does, its parameters' names, whether it changes anything, and whether it waits for long.

    One that ``waits`` is given up when its client hangs up.
    """

    run: Callable[[Door, Call], Awaitable[dict[str, Any]]]
    parameters: tuple[str, ...] = ()
    changes: bool = False
    waits: bool = False


async def _ping(door: Door, call: Call) -> dict[str, Any]:
    facts = door.manager()
    return {"version": facts["version"], "pid": facts["pid"]}


async def _get_manager(door: Door, call: Call) -> dict[str, Any]:
    return {"manager": door.manager()}


async def _list(door: Door, call: Call) -> dict[str, Any]:
    if call.flag("look"):
        await door.look(call.labels())
    return {"services": door.services(call.labels(), full=call.flag("full"))}


async def _why(door: Door, call: Call) -> dict[str, Any]:
    return {"chain": door.why(call.text("label"))}


async def _deps(door: Door, call: Call) -> dict[str, Any]:
    return {"tree": door.deps(call.text("label"), reverse=call.flag("reverse"))}


async def _logs(door: Door, call: Call) -> dict[str, Any]:
    return {"lines": await door.logs(call.labels(), call.picks(100))}


async def _processes(door: Door, call: Call) -> dict[str, Any]:
    return {"services": door.processes(call.labels())}


async def _events(door: Door, call: Call) -> dict[str, Any]:
    return {"events": door.events(call.labels(), call.number("lines", 100), call.moment("since"))}


async def _wait(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.wait(call.labels())}


async def _doctor(door: Door, call: Call) -> dict[str, Any]:
    return door.doctor()


async def _forecast(door: Door, call: Call) -> dict[str, Any]:
    return await door.forecast(call.text("label"), call.thing("on"))


async def _check(door: Door, call: Call) -> dict[str, Any]:
    return await door.check(call.text("name"), call.text("text"), call.thing("on"))


async def _start(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.start(call.some_labels(), call.who)}


async def _trigger(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.trigger(call.some_labels(), call.who)}


async def _stop(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.stop(call.some_labels(), call.who, force=call.flag("force"))}


async def _target(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.target(call.text("label"), call.who)}


async def _restart(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.restart(call.some_labels(), call.who)}


async def _try_restart(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.try_restart(call.some_labels(), call.who)}


async def _reload(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.reload(call.some_labels(), call.who, or_restart=call.flag("or_restart"))}


async def _kill(door: Door, call: Call) -> dict[str, Any]:
    whom = call.text("whom", "main")
    if whom not in ("main", "all"):
        raise InvalidParameter("whom")
    try:
        return {"results": door.kill(call.some_labels(), call.text("signal", "TERM"), whom, call.who)}
    except Unreadable as error:
        raise InvalidParameter("signal") from error


async def _set(door: Door, call: Call) -> dict[str, Any]:
    return door.set(call.text("label"), call.texts("changes"), call.who)


async def _heal(door: Door, call: Call) -> dict[str, Any]:
    return await door.heal(call.labels(), call.who)


async def _observe(door: Door, call: Call) -> dict[str, Any]:
    return {"result": await door.observe(call.text("label"), call.who)}


async def _await_end(door: Door, call: Call) -> dict[str, Any]:
    seconds = call.number("for_ms", 0, _A_YEAR) / 1000 if call.thing("for_ms") is not None else math.inf
    return {"result": await door.await_end(call.text("label"), seconds)}


async def _harden(door: Door, call: Call) -> dict[str, Any]:
    return await door.harden(
        call.text("label"),
        call.who,
        slack=call.number("slack_percent", 0) / 100,
        attempt=call.flag("attempt"),
        stay=call.number("stay_ms", 5000) / 1000,
        write=call.flag("write"),
    )


async def _freeze(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.freeze(call.some_labels(), call.who, frozen=True)}


async def _thaw(door: Door, call: Call) -> dict[str, Any]:
    return {"results": await door.freeze(call.some_labels(), call.who, frozen=False)}


async def _plan(door: Door, call: Call) -> dict[str, Any]:
    return {"plan": door.plan()}


async def _apply(door: Door, call: Call) -> dict[str, Any]:
    return {"plan": await door.apply(call.text("token", ""), call.who)}


async def _schema(door: Door, call: Call) -> dict[str, Any]:
    return {"schema": door.schema()}


@dataclass(frozen=True, slots=True)
class Stream:
    """A method that answers with "more": each thing it tells is a reply of its own, under one name."""

    run: Callable[[Door, Call], AsyncIterator[dict[str, Any]]]
    name: str
    parameters: tuple[str, ...]


def _follow(door: Door, call: Call) -> AsyncIterator[dict[str, Any]]:
    return door.follow(call.labels(), call.picks(0))


def _monitor(door: Door, call: Call) -> AsyncIterator[dict[str, Any]]:
    return door.monitor(call.labels(), call.number("lines", 0), call.moment("since"))


#: The methods that stream (server.py).
STREAMS: Final[dict[str, Stream]] = {
    "Follow": Stream(_follow, "line", ("labels", *PICKS)),
    "Monitor": Stream(_monitor, "event", ("labels", "lines", "since")),
}
#: Every other method of the interface. A test holds it beside the .varlink file.
METHODS: Final[dict[str, Method]] = {
    "Ping": Method(_ping),
    "GetManager": Method(_get_manager),
    "List": Method(_list, ("labels", "full", "look")),
    "Why": Method(_why, ("label",)),
    "Deps": Method(_deps, ("label", "reverse")),
    "Logs": Method(_logs, ("labels", *PICKS)),
    "Processes": Method(_processes, ("labels",)),
    "Events": Method(_events, ("labels", "lines", "since")),
    "Wait": Method(_wait, ("labels",)),
    "Doctor": Method(_doctor),
    "Forecast": Method(_forecast, ("label", "on")),
    "Check": Method(_check, ("name", "text", "on")),
    "Start": Method(_start, ("labels",), True),
    "Trigger": Method(_trigger, ("labels",), True),
    "Stop": Method(_stop, ("labels", "force"), True),
    "Target": Method(_target, ("label",), True),
    "Restart": Method(_restart, ("labels",), True),
    "TryRestart": Method(_try_restart, ("labels",), True),
    "Reload": Method(_reload, ("labels", "or_restart"), True),
    "Kill": Method(_kill, ("labels", "signal", "whom"), True),
    "Set": Method(_set, ("label", "changes"), True),
    "Heal": Method(_heal, ("labels",), True),
    "Observe": Method(_observe, ("label",), True),
    "AwaitEnd": Method(_await_end, ("label", "for_ms"), waits=True),
    "Harden": Method(_harden, ("label", "slack_percent", "attempt", "stay_ms", "write"), True),
    "Freeze": Method(_freeze, ("labels",), True),
    "Thaw": Method(_thaw, ("labels",), True),
    "Plan": Method(_plan),
    "Apply": Method(_apply, ("token",), True),
    "Schema": Method(_schema),
}
