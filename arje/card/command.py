"""A command beside a service's payload: what a hook, a probe or a reload runs. As a person writes it, and as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Flag, Rule, Seconds, Texts, text
from arje.card.unreadable import Unreadable, shown

_EXAMPLE: Final = 'write ["/usr/bin/prog", "argument"], or {exec = "/usr/bin/prog", argv = ["argument"]}'


def _program(value: Any) -> str:
    if not text(value):
        raise Unreadable("", "it is empty", "name a program")
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program that arje runs for a service: in its body, as its user, with its environment and its log.

    A card writes the words, ``["/usr/bin/prog", "argument"]``, or a table. It has ``MAINPID``, where there is a main
    process, and ``ARJE_LABEL`` in its environment.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    exec: Annotated[str, Rule(_program, {"type": "string", "minLength": 1})]
    """Absolute path of the program, or a bare name that is looked up in PATH."""
    argv: Texts = ()
    """Arguments after the program's name."""
    ignore_failure: Flag = False
    """Whether its failure is only told."""
    privileged: Flag = False
    """Whether it runs outside of the service's body: as the manager's user, without any of its isolation."""
    timeout: Seconds | None = None
    """Seconds until it is killed; None: as long as the step of the service that it is part of may take."""

    def __str__(self) -> str:
        return " ".join((self.exec, *self.argv))


def commands(value: Any, field: str) -> Any:
    """Return a list of tables of one command or several, each written as words or as a table. Raises Unreadable."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise Unreadable(field, f"{shown(value)} is no command", _EXAMPLE)
    if value and all(isinstance(word, str) for word in value):
        return [_of_words(value)]
    return [_one(item, f"{field}.{index}") for index, item in enumerate(value)]


def command(value: Any, field: str) -> Any:
    """Return the table of one command. Raises Unreadable."""
    found = commands(value, field)
    if len(found) != 1:
        raise Unreadable(field, f"{len(found)} commands, where one is meant", _EXAMPLE)
    return found[0]


def _one(value: Any, field: str) -> Any:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return _of_words(value)
    raise Unreadable(field, f"{shown(value)} is no command", _EXAMPLE)


def _of_words(words: list[str]) -> dict[str, Any]:
    return {"exec": words[0], "argv": words[1:]}
