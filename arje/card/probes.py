"""How arje learns that a service is ready, and whether it is still well: what a card may say about both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.command import Command, command
from arje.card.rules import FORBID, Flag, Rule, Seconds, matching, text, whole_rule
from arje.card.unreadable import Unreadable, shown

_HOST: Final = r"(\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:/\s]+)"
_TCP: Final = matching(
    rf"({_HOST}:)?[0-9]{{1,5}}", "is no TCP address", 'write "127.0.0.1:80", "[::1]:80" or "80"', empty=True
)
_PATH: Final = matching("[/@][^\\x00]*", "is no socket", 'write "/run/x.sock" or "@abstract"', empty=True)
_FILE: Final = matching("/[^\\x00]*", "is no absolute path", 'begin it with "/"', empty=True)
_HTTP: Final = matching(
    rf"http://{_HOST}(:[0-9]{{1,5}})?(/[^\s]*)?",
    "is no address of a web server",
    'write "http://127.0.0.1:80/health"; for https use exec = ["curl", …]',
    empty=True,
)


def _pattern(value: Any) -> str:
    try:
        re.compile(text(value))
    except re.error as error:
        raise Unreadable("", f"{shown(value)} is no regular expression: {error}", "see Python's re") from error
    return str(value)


Pattern = Annotated[str, Rule(_pattern, {"type": "string"})]
Tcp = Annotated[str, _TCP]
SocketPath = Annotated[str, _PATH]
Http = Annotated[str, _HTTP]
FilePath = Annotated[str, _FILE]


class Sick(StrEnum):
    """What is done with a service that is not well."""

    RESTART = "restart"
    FAIL = "fail"
    TELL = "tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How a start ends. Exactly one of ``notify``, ``fd``, ``pid_file``, ``log``, ``tcp``, ``unix``, ``http``, ``exec``.

    A card may write a word: ``"notify"``, ``"fd:3"``, ``"pid_file:/run/x.pid"``, ``"log:^listening"``,
    ``"tcp:127.0.0.1:80"``, ``"unix:/run/x.sock"``, ``"http://127.0.0.1/health"``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    notify: Flag = False
    """It says ``READY=1`` by sd_notify(3)."""
    fd: Annotated[int, whole_rule(3, 1023)] | None = None
    """It writes a newline to this descriptor, as s6's notification-fd; whatever is passed from 3 on comes before it."""
    pid_file: FilePath = ""
    """It writes a file, by its path in the service's root, with the pid of one of its processes."""
    log: Pattern = ""
    """It logs a line in which this regular expression is found."""
    tcp: Tcp = ""
    """It takes connections at this address, in the service's network."""
    unix: SocketPath = ""
    """It takes connections at this socket, in the service's root."""
    http: Http = ""
    """It answers a GET with a status from 200 to 399, in the service's network."""
    exec: Command | None = None
    """This command, run beside it, ends well."""
    interval: Seconds = 0.25
    """Seconds between two tries of a probe."""
    timeout: Seconds = 5.0
    """Seconds that one try may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How arje looks after a running service. Exactly one of ``tcp``, ``unix``, ``http`` and ``exec``, as for readiness."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    tcp: Tcp = ""
    """It takes connections at this address, in the service's network."""
    unix: SocketPath = ""
    """It takes connections at this socket, in the service's root."""
    http: Http = ""
    """It answers a GET with a status from 200 to 399, in the service's network."""
    exec: Command | None = None
    """This command, run beside it, ends well."""
    interval: Seconds = 10.0
    """Seconds between the end of one look and the next one."""
    timeout: Seconds = 5.0
    """Seconds that one look may take."""
    retries: Annotated[int, whole_rule(1, 1000)] = 3
    """So many failures in a row mean that it is not well."""
    action: Sick = Sick.RESTART
    """What is done then: ``restart`` it (as its restart rule says for a watchdog), let it ``fail``, or only ``tell``."""


_WAYS: Final = ("notify", "fd", "pid_file", "log", "tcp", "unix", "http", "exec")
_LOOKS: Final = ("tcp", "unix", "http", "exec")


def way_of(asked: Readiness | Health) -> str:
    """Return the name of the one way that is asked for; empty when none is."""
    return next((way for way in _WAYS if getattr(asked, way, None) not in (None, "", False)), "")


def one_way(asked: Readiness | Health) -> Any:
    """Return it when it asks for exactly one way. Raises Unreadable."""
    known = _WAYS if isinstance(asked, Readiness) else _LOOKS
    asks = [way for way in known if getattr(asked, way) not in (None, "", False)]
    if len(asks) != 1:
        many = f"{' and '.join(asks)} at once" if asks else "it says nothing to look at"
        raise Unreadable("", many, f"name one of {', '.join(known)}")
    if isinstance(asked, Health) and asked.interval <= 0:
        raise Unreadable("interval", "it would never end", "write some seconds")
    return asked


def readiness(value: Any, field: str) -> Any:
    """Return the table of a word (``"notify"``, ``"tcp:127.0.0.1:80"``), or of a table. Raises Unreadable."""
    if isinstance(value, str):
        value = _word(value, field)
    return _probe(value, field)


def health(value: Any, field: str) -> Any:
    """Return the table of a word (``"http://…"``) or of a table. Raises Unreadable."""
    return _probe(_word(value, field) if isinstance(value, str) else value, field)


def _word(word: str, field: str) -> dict[str, Any]:
    if word == "notify":
        return {"notify": True}
    if word.startswith("http://"):
        return {"http": word}
    way, colon, rest = word.partition(":")
    if way == "fd" and rest.isascii() and rest.isdecimal() and len(rest) < 5:
        return {"fd": int(rest)}
    if colon and way in ("pid_file", "log", "tcp", "unix"):
        return {way: rest}
    example = '"notify", "fd:3", "tcp:127.0.0.1:80", "unix:/PATH", "http://…", "pid_file:/PATH", "log:PATTERN"'
    raise Unreadable(field, f"{shown(word)} is no way to know it", f"write {example}, or a table")


def _probe(value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        return value
    done = dict(value)
    if "exec" in done:
        done["exec"] = command(done["exec"], f"{field}.exec")
    return done
