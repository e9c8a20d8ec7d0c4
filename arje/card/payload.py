"""What runs in a card's body: a native program, a daemon that expects systemd's surroundings, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Rule, Text, Texts, many, matching, text
from arje.card.unreadable import Unreadable, shown

_NAME: Final = matching("[^=\\x00]+", "is no name of a variable", 'write a name without "="')
_PAIR: Final = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "string"}], "minItems": 2, "maxItems": 2}


def _program(value: Any) -> str:
    if not text(value):
        raise Unreadable("", "it is empty", "name a program")
    return str(value)


def variable(name: Any) -> str:
    """Return a name that an environment can have (environ(7)). Raises Unreadable."""
    return str(_NAME.check(name))


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Unreadable("", f"{shown(value)} is no variable", 'write ["NAME", "value"]')
    return variable(value[0]), text(value[1])


def _file(value: Any) -> str:
    if not text(value).removeprefix("-").startswith("/"):
        raise Unreadable("", f"{shown(value)} is no absolute path", 'begin it with "/", or "-/" when it may be missing')
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A program started by execve(2).

    ``argv`` holds the arguments after the program's own name; ``argv0`` replaces that name. The environment is made
    from nothing: ``envp``, before it the variables that ``pass_env`` names in the manager's environment, and
    ``ARJE_SERVICE``, by which a service's processes are known where no cgroup holds them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    exec: Annotated[str, Rule(_program, {"type": "string", "minLength": 1})]
    """Absolute path of the program, or a bare name that is looked up in PATH."""
    argv: Texts = ()
    """Arguments after the program's name."""
    argv0: Text = ""
    """What the program sees as its own name; empty means ``exec``."""
    envp: Annotated[tuple[tuple[str, str], ...], Rule(many(_pair), {"type": "array", "items": _PAIR})] = ()
    """The environment, name and value. A TOML card writes ``env = {NAME = "value"}``."""
    env_file: Annotated[
        tuple[str, ...], Rule(many(_file), {"type": "array", "items": {"type": "string", "pattern": "^-?/"}})
    ] = ()
    """Files with lines ``NAME=VALUE``, read at each start; ``-`` before one that may be missing. ``envp`` wins."""
    pass_env: Annotated[tuple[str, ...], Rule(many(variable), {"type": "array", "items": _NAME.written})] = ()
    """Names of variables that are taken from the manager's environment when they are set there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy(Native):
    """A daemon that expects systemd's surroundings; ``fakes`` names the ones it needs (systemd-compat gives them)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    fakes: Texts = ()
    """Surroundings to be faked; none exists before systemd-compat does."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """No process: a group or a synchronisation point."""


Payload = Native | Legacy | Virtual
