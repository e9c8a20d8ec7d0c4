"""Which files the payload sees (mount_namespaces(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay mount (kernel: filesystems/overlayfs). ``lower`` is a list, uppermost first."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    lower: tuple[str, ...]
    upper: str = ""
    work: str = ""
    merged: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotRoot:
    """The service's new root (pivot_root(2)). With ``put_old_name`` the old root stays reachable below that directory."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    new_root: str
    put_old_name: str = ""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = ("proc", "overlay", "pivot_root")
