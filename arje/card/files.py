"""Which files the payload sees (mount_namespaces(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from arje.card.rules import Text, Texts

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay mount (kernel: filesystems/overlayfs). ``lower`` is a list, uppermost first."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    lower: Texts
    """Directories that are read, uppermost first; a card may write one as text."""
    upper: Text = ""
    """Directory that takes what is written; empty makes the overlay read-only."""
    work: Text = ""
    """Empty directory on the file system of ``upper``, for the kernel's own use."""
    merged: Text
    """Where the overlay is mounted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotRoot:
    """The service's new root (pivot_root(2)). With ``put_old_name`` the old root stays reachable below that directory."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    new_root: Text
    """Directory that becomes ``/``."""
    put_old_name: Text = ""
    """Name below it under which the old root stays; empty: it is gone."""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = ("proc", "overlay", "pivot_root")
