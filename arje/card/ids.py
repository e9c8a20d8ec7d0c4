"""Who the payload is: user, groups, and the maps of a user namespace (credentials(7), user_namespaces(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """One line of a uid_map or gid_map (user_namespaces(7)): ``inside``, ``outside``, ``count``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    inside: int
    outside: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The identity of the payload. Names or numbers; TOML may also write ``run_as = "user:group"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    user: str | int
    group: str | int | None = None
    """Primary group; None means the user's own."""
    groups: tuple[str | int, ...] | None = None
    """Supplementary groups; None means those of the group database, an empty list none at all."""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = ("id-map", "run_as", "no_new_privs")
