"""What runs in a card's body: a native program, a daemon that expects systemd's surroundings, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A program started by execve(2).

    ``argv`` holds the arguments after the program's own name; ``argv0`` replaces that name. The environment is made
    from nothing: ``envp``, and before it the variables that ``pass_env`` names in the manager's environment.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    exec: str
    """Absolute path of the program, or a bare name that is looked up in PATH."""
    argv: tuple[str, ...] = ()
    """Arguments after the program's name."""
    argv0: str = ""
    """What the program sees as its own name; empty means ``exec``."""
    envp: tuple[tuple[str, str], ...] = ()
    """The environment, name and value. A TOML card writes ``env = {NAME = "value"}``."""
    pass_env: tuple[str, ...] = ()
    """Names of variables that are taken from the manager's environment when they are set there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy(Native):
    """A daemon that expects systemd's surroundings; ``fakes`` names the ones it needs (systemd-compat gives them)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    fakes: tuple[str, ...] = ()
    """Surroundings to be faked; none exists before systemd-compat does."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """No process: a group or a synchronisation point."""


Payload = Native | Legacy | Virtual
