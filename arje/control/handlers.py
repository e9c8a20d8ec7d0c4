"""The methods of io.arje.Manager: which parameters each takes, who may call it, and which verb of the door it is."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from arje.card.unreadable import Unreadable
from arje.control import sights
from arje.control.call import A_YEAR, PICKS, WAIT, Call, InvalidParameter
from arje.control.sights import Sights
from arje.service.ways import Way
from arje.supervisor.awaiting import GOALS
from arje.supervisor.machine import SHELLS

if TYPE_CHECKING:
    from arje.supervisor.metrics import Family


class Door(Sights, Protocol):
    """What the manager offers (supervisor/door.py); plain data in and out."""

    def manager(self) -> dict[str, Any]: ...
    def services(self, labels: list[str], *, full: bool) -> list[dict[str, Any]]: ...
    async def metrics(self) -> list[Family]: ...
    def problems_of(self, label: str) -> list[dict[str, Any]]: ...
    async def look(self, labels: list[str]) -> None: ...
    def why(self, label: str) -> list[dict[str, Any]]: ...
    def deps(self, label: str, *, reverse: bool) -> list[dict[str, Any]]: ...
    async def logs(self, labels: list[str], picks: dict[str, Any]) -> list[dict[str, Any]]: ...
    def follow(self, labels: list[str], picks: dict[str, Any]) -> AsyncIterator[dict[str, Any]]: ...
    def processes(self, labels: list[str]) -> list[dict[str, Any]]: ...
    def events(self, labels: list[str], count: int, since: float | None) -> list[dict[str, Any]]: ...
    def monitor(self, labels: list[str], count: int, since: float | None) -> AsyncIterator[dict[str, Any]]: ...
    async def wait(self, labels: list[str], goal: str) -> list[dict[str, Any]]: ...
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
    async def stick(self, labels: list[str], who: str, field: str, value: Any) -> list[dict[str, Any]]: ...
    async def scale(self, template: str, copies: int, who: str) -> dict[str, Any]: ...
    def reset_failed(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    def cat(self, label: str) -> list[str]: ...
    async def run(self, label: str, command: list[str], text: str, who: str, *, remain: bool) -> dict[str, Any]: ...
    def run_and_follow(
        self, label: str, command: list[str], text: str, who: str, *, remain: bool
    ) -> AsyncIterator[dict[str, Any]]: ...
    async def plan(self) -> dict[str, Any]: ...
    async def apply(self, token: str, who: str, confirm: float | None = None) -> dict[str, Any]: ...
    async def rollback(self, token: str, who: str) -> dict[str, Any]: ...
    async def sets(self) -> list[dict[str, Any]]: ...
    def boot(self) -> dict[str, Any] | None: ...
    def end(self, way: str, who: str, *, words: list[str], force: bool) -> dict[str, Any]: ...
    async def console_shell(self, label: str, who: str) -> list[dict[str, Any]]: ...


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


async def _metrics(door: Door, call: Call) -> dict[str, Any]:
    form = call.text("form", "openmetrics")
    if form not in ("openmetrics", "prometheus", "families"):
        raise InvalidParameter("form")
    from arje.control.exposition import openmetrics, prometheus  # who is never asked does without

    told = await door.metrics()
    if form == "families":
        return {"families": [_with_tables(family) for family in told]}
    return {"text": openmetrics(told) if form == "openmetrics" else prometheus(told)}


def _with_tables(family: Family) -> dict[str, Any]:
    samples = [{"suffix": each.suffix, "labels": dict(each.labels), "value": each.value} for each in family.samples]
    return {"name": family.name, "type": family.type, "help": family.help, "unit": family.unit, "samples": samples}


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
    if (goal := call.text("until", "")) not in ("", *GOALS):
        raise InvalidParameter("until")
    return {"results": await door.wait(call.labels(), goal)}


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
    seconds = call.number("for_ms", 0, A_YEAR) / 1000 if call.thing("for_ms") is not None else math.inf
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


def _sticks(field: str, value: Any) -> Callable[[Door, Call], Awaitable[dict[str, Any]]]:
    async def run(door: Door, call: Call) -> dict[str, Any]:
        return {"results": await door.stick(call.some_labels(), call.who, field, value)}

    return run


async def _scale(door: Door, call: Call) -> dict[str, Any]:
    return {"plan": await door.scale(call.text("template"), call.number("copies", 0), call.who)}


async def _reset_failed(door: Door, call: Call) -> dict[str, Any]:
    return {"results": door.reset_failed(call.labels(), call.who)}


async def _cat(door: Door, call: Call) -> dict[str, Any]:
    return {"files": door.cat(call.text("label"))}


def command_of(call: Call) -> dict[str, Any]:
    """Return the parameters of Run. Raises InvalidParameter."""
    command, text = call.words("command"), call.text("card", "")
    if not command and not text:
        raise InvalidParameter("command")
    return {
        "label": call.text("label", ""),
        "command": command,
        "text": text,
        "who": call.who,
        "remain": call.flag("remain"),
    }


async def _run(door: Door, call: Call) -> dict[str, Any]:
    return {"line": None, "result": await door.run(**command_of(call))}


async def _plan(door: Door, call: Call) -> dict[str, Any]:
    return {"plan": await door.plan()}


async def _apply(door: Door, call: Call) -> dict[str, Any]:
    confirm = call.number("confirm_ms", 0, A_YEAR) / 1000 if call.thing("confirm_ms") is not None else None
    return {"plan": await door.apply(call.text("token", ""), call.who, confirm)}


async def _rollback(door: Door, call: Call) -> dict[str, Any]:
    return {"plan": await door.rollback(call.text("token", ""), call.who)}


async def _sets(door: Door, call: Call) -> dict[str, Any]:
    return {"sets": await door.sets()}


async def _boot(door: Door, call: Call) -> dict[str, Any]:
    return {"boot": door.boot()}


async def _end(door: Door, call: Call) -> dict[str, Any]:
    if (way := call.text("way")) not in tuple(Way):
        raise InvalidParameter("way")
    return door.end(way, call.who, words=call.words("words"), force=call.flag("force"))


async def _shell(door: Door, call: Call) -> dict[str, Any]:
    if (label := call.text("label")) not in SHELLS:
        raise InvalidParameter("label")
    return {"results": await door.console_shell(label, call.who)}


async def _schema(door: Door, call: Call) -> dict[str, Any]:
    if not (verb := call.text("output", "")):
        return {"schema": door.schema()}
    from arje.control.outputs import OUTPUTS, schema_of

    if verb not in OUTPUTS:
        raise InvalidParameter("output")
    return {"schema": schema_of(verb)}


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
    "Metrics": Method(_metrics, ("form",)),
    "List": Method(_list, ("labels", "full", "look")),
    "Why": Method(_why, ("label",)),
    "Deps": Method(_deps, ("label", "reverse")),
    "Logs": Method(_logs, ("labels", *PICKS)),
    "Processes": Method(_processes, ("labels",)),
    "Events": Method(_events, ("labels", "lines", "since")),
    "Wait": Method(_wait, ("labels", "until"), waits=True),
    "Doctor": Method(_doctor),
    "Forecast": Method(_forecast, ("label", "on")),
    "Check": Method(_check, ("name", "text", "on")),
    "Start": Method(_start, ("labels", *WAIT), True),
    "Trigger": Method(_trigger, ("labels", *WAIT), True),
    "Stop": Method(_stop, ("labels", "force", *WAIT), True),
    "Target": Method(_target, ("label", *WAIT), True),
    "Restart": Method(_restart, ("labels", *WAIT), True),
    "TryRestart": Method(_try_restart, ("labels", *WAIT), True),
    "Reload": Method(_reload, ("labels", "or_restart", *WAIT), True),
    "Kill": Method(_kill, ("labels", "signal", "whom"), True),
    "Set": Method(_set, ("label", "changes"), True),
    "Heal": Method(_heal, ("labels",), True),
    "Observe": Method(_observe, ("label",), True),
    "AwaitEnd": Method(_await_end, ("label", "for_ms"), waits=True),
    "Harden": Method(_harden, ("label", "slack_percent", "attempt", "stay_ms", "write"), True),
    "Freeze": Method(_freeze, ("labels",), True),
    "Thaw": Method(_thaw, ("labels",), True),
    "Enable": Method(_sticks("enabled", True), ("labels",), True),
    "Disable": Method(_sticks("enabled", False), ("labels",), True),
    "Mask": Method(_sticks("masked", True), ("labels",), True),
    "Unmask": Method(_sticks("masked", False), ("labels",), True),
    "Pin": Method(_sticks("pinned", "here"), ("labels",), True),
    "Unpin": Method(_sticks("pinned", ""), ("labels",), True),
    "Scale": Method(_scale, ("template", "copies"), True),
    "ResetFailed": Method(_reset_failed, ("labels",), True),
    "Cat": Method(_cat, ("label",)),
    "Run": Method(_run, ("label", "command", "card", "remain"), True),
    "Plan": Method(_plan),
    "Apply": Method(_apply, ("token", "confirm_ms"), True),
    "Rollback": Method(_rollback, ("token",), True),
    "Sets": Method(_sets),
    "Boot": Method(_boot),
    "End": Method(_end, ("way", "words", "force"), True),
    "Shell": Method(_shell, ("label",), True),
    "Schema": Method(_schema, ("output",)),
    "Table": Method(sights.table),
    "Graph": Method(sights.graph, ("labels",)),
    "Analyze": Method(sights.analyze, ("apply",)),
    "Moving": Method(sights.moving, ("labels",)),
    "Figures": Method(sights.figures, ("labels",)),
    "Would": Method(sights.would, ("verb", "labels")),
    "GetLogLevel": Method(sights.get_log_level),
    "SetLogLevel": Method(sights.set_log_level, ("level",), True),
    "Release": Method(sights.release, ("labels", *WAIT), True),
    "Wake": Method(sights.wake, ("labels", *WAIT), True),
    "Enter": Method(sights.enter, ("label", "command", "stdio", "terminal", "env"), True, waits=True),
}
