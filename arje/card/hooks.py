"""Commands at the turns of a service's life, and how it is told to read its configuration again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card import signals
from arje.card.command import Command, command, commands
from arje.card.rules import FORBID, Flag, Rule
from arje.card.unreadable import Unreadable, shown


def signal_name(value: Any) -> str:
    """The name that the rest of arje knows a signal by (``TERM``), of any that a card may write."""
    return signals.name_of(signals.number(value))


_SIGNAL: Final = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": signals.LEAST, "maximum": signals.MOST}]}
Signal = Annotated[str, Rule(signal_name, _SIGNAL)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """One command, ``["/usr/bin/prog", "argument"]``, or several, each a list or a table; they run one after the other."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    pre: tuple[Command, ...] = ()
    """Before each start, in a body like the service's. A failure is one of the start."""
    post: tuple[Command, ...] = ()
    """Beside the payload, once it runs and before its readiness counts. A failure is one of the start."""
    ready: tuple[Command, ...] = ()
    """Beside the payload, once it is ready and before anybody who waits for it starts. A failure is only told."""
    stop: tuple[Command, ...] = ()
    """Beside the payload, when it is to stop and before the first signal. A failure is only told."""
    cleanup: tuple[Command, ...] = ()
    """After the last process has gone, whatever the ending, and after a start that failed. A failure is only told. They
    have ``SERVICE_RESULT`` (``success``, ``exit-code``, ``signal``, …), ``EXIT_CODE`` and ``EXIT_STATUS`` as systemd's."""


#: The hooks whose failure is one of the start.
DECISIVE: Final = frozenset({"pre", "post"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """How it is told to read its configuration again: a ``signal`` to its main process, or a command, ``exec``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    signal: Signal | None = None
    """As for ``stop_signal``; a card may write ``reload = "HUP"``."""
    exec: Command | None = None
    """Run beside the payload, with ``MAINPID``; a card may write ``reload = ["/usr/bin/prog", "reload"]``."""
    confirm: Flag = False
    """Whether it says ``RELOADING=1`` with its time, and then ``READY=1``, by sd_notify(3): only then it is over."""


def one_way(asked: Reload) -> Reload:
    """Return it when it says one thing to do. Raises Unreadable."""
    if (asked.signal is None) == (asked.exec is None):
        raise Unreadable("", "it is one of signal and exec", 'write "HUP", or ["/usr/bin/prog", "reload"]')
    return asked


# -- shorthands of card files (normalise.py) ---------------------------------------------------------------------------

Convert = Callable[[Any, str], Any]


def timed(tables: Any, field: str, duration: Convert) -> Any:
    """Return tables of commands with their time limits in seconds. Raises Unreadable."""
    if not isinstance(tables, list):
        return tables
    return [
        table | {"timeout": duration(table["timeout"], f"{field}.{index}.timeout")}
        if isinstance(table, dict) and "timeout" in table
        else table
        for index, table in enumerate(tables)
    ]


def hooks(value: Any, field: str, duration: Convert) -> Any:
    """Return the table of hooks, each a list of tables. Raises Unreadable."""
    if not isinstance(value, dict):
        return value
    known = Hooks.__slots__
    return {
        name: timed(commands(item, f"{field}.{name}"), f"{field}.{name}", duration) if name in known else item
        for name, item in value.items()
    }


def reload(value: Any, field: str, duration: Convert) -> Any:
    """Return the table of a signal, of a command's words, or of a table. Raises Unreadable."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return {"signal": value}
    if isinstance(value, list):
        value = {"exec": value}
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is no way to reload", 'write "HUP", or ["/usr/bin/prog", "reload"]')
    if "exec" in value:
        return value | {"exec": timed([command(value["exec"], f"{field}.exec")], f"{field}.exec", duration)[0]}
    return value
