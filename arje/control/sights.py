"""The methods behind pages and pictures: edges, times, figures, what moves; and commands inside a service."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

from arje.control.call import Call, InvalidParameter
from arje.log import LEVELS
from arje.supervisor.would import VERBS

#: What may stand in the ``stdio`` of Enter: what opens a path, as a card's soma.stdio has it.
_STDIO: Final = re.compile(r"(?:tty|file|append):/[^\x00]*|null")


class Sights(Protocol):
    """What of the door these methods ask (supervisor/looking.py)."""

    def manager(self) -> dict[str, Any]: ...
    def table(self) -> dict[str, Any]: ...
    def graph(self, labels: list[str]) -> dict[str, Any]: ...
    def analyze(self, *, apply: bool) -> dict[str, Any]: ...
    def moving(self, labels: list[str]) -> list[dict[str, Any]]: ...
    async def figures(self, labels: list[str]) -> list[dict[str, Any]]: ...
    def would(self, verb: str, labels: list[str]) -> list[dict[str, Any]]: ...
    def log_level(self, level: str | None) -> str: ...
    async def enter(self, label: str, words: list[str], who: str, **more: Any) -> dict[str, Any]: ...
    async def release(self, labels: list[str], who: str) -> list[dict[str, Any]]: ...
    async def wake(self, labels: list[str]) -> list[dict[str, Any]]: ...


async def table(door: Sights, call: Call) -> dict[str, Any]:
    """All services in columns, and the manager."""
    return {"manager": door.manager()} | door.table()


async def graph(door: Sights, call: Call) -> dict[str, Any]:
    """Services and the edges between them."""
    return door.graph(call.labels())


async def analyze(door: Sights, call: Call) -> dict[str, Any]:
    """Where the time of a start went."""
    return door.analyze(apply=call.flag("apply"))


async def moving(door: Sights, call: Call) -> dict[str, Any]:
    """Who is on its way."""
    return {"services": door.moving(call.labels())}


async def figures(door: Sights, call: Call) -> dict[str, Any]:
    """What services use now."""
    return {"figures": await door.figures(call.labels())}


async def would(door: Sights, call: Call) -> dict[str, Any]:
    """What a verb would touch."""
    if (verb := call.text("verb")) not in VERBS:
        raise InvalidParameter("verb")
    return {"changes": door.would(verb, call.some_labels())}


async def get_log_level(door: Sights, call: Call) -> dict[str, Any]:
    """The least level of the manager's own log."""
    return {"level": door.log_level(None)}


async def set_log_level(door: Sights, call: Call) -> dict[str, Any]:
    """Set it."""
    if (level := call.text("level")) not in LEVELS:
        raise InvalidParameter("level")
    return {"level": door.log_level(level)}


async def release(door: Sights, call: Call) -> dict[str, Any]:
    """Stop what nobody needs."""
    return {"results": await door.release(call.some_labels(), call.who)}


async def wake(door: Sights, call: Call) -> dict[str, Any]:
    """Start what somebody needs."""
    return {"results": await door.wake(call.some_labels())}


async def enter(door: Sights, call: Call) -> dict[str, Any]:
    """Run a command inside a service."""
    words, stdio, terminal = call.words("command"), call.words("stdio"), call.text("terminal", "")
    if not words or not all(words[:1]):
        raise InvalidParameter("command")
    if len(stdio) != 3 or not all(map(_STDIO.fullmatch, stdio)):
        raise InvalidParameter("stdio")
    if terminal and (not terminal.startswith("/") or "\0" in terminal):
        raise InvalidParameter("terminal")
    env = call.texts("env") if call.thing("env") is not None else {}
    return await door.enter(call.text("label"), words, call.who, stdio=stdio, terminal=terminal, env=env)
