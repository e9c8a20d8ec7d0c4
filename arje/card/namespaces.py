"""Which namespaces a service has for itself (namespaces(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Which of the eight namespace kinds are the service's own. TOML may also write a list: ``["mount", "pid"]``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    mount: bool = False
    pid: bool = False
    net: bool = False
    uts: bool = False
    ipc: bool = False
    user: bool = False
    cgroup: bool = False
    time: bool = False

    def asked(self) -> tuple[str, ...]:
        """Return the names of the kinds that are asked for, in the order of this class."""
        return tuple(name for name in self.__slots__ if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOffsets:
    """Offsets of a time namespace's clocks in seconds (time_namespaces(7))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    monotonic: float = 0.0
    boottime: float = 0.0


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = (
    *(name if name != "cgroup" else "cgroup-ns" for name in Namespaces.__slots__),
    "hostname",
    "time_offsets",
)
