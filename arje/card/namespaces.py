"""Which namespaces a service has for itself (namespaces(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Flag, Rule, matching, real

_LONGEST: Final = 2**62 // 10**9  # seconds; half of what the kernel's clocks can hold (KTIME_SEC_MAX / 2)
Offset = Annotated[
    float, Rule(real(-_LONGEST, _LONGEST), {"type": "number", "minimum": -_LONGEST, "maximum": _LONGEST})
]

#: hostname(7): letters, digits and hyphens between dots, at most 63 each; sethostname(2): at most 64 bytes in all.
Hostname = Annotated[
    str,
    matching(
        r"(?!.{65})[A-Za-z0-9][A-Za-z0-9-]{0,62}(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*",
        "is no hostname",
        "letters, digits, hyphens and dots, at most 64 bytes, 63 between dots",
        empty=True,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Which of the eight namespace kinds are the service's own. TOML may also write a list: ``["mount", "pid"]``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    mount: Flag = False
    """Its own mounts (mount_namespaces(7))."""
    pid: Flag = False
    """Its own process ids (pid_namespaces(7))."""
    net: Flag = False
    """Its own network (network_namespaces(7)); loopback comes up."""
    uts: Flag = False
    """Its own hostname (uts_namespaces(7))."""
    ipc: Flag = False
    """Its own System V IPC and POSIX queues (ipc_namespaces(7))."""
    user: Flag = False
    """Its own ids and capabilities (user_namespaces(7))."""
    cgroup: Flag = False
    """Its own view of the cgroup tree (cgroup_namespaces(7))."""
    time: Flag = False
    """Its own clocks since boot (time_namespaces(7))."""

    def asked(self) -> tuple[str, ...]:
        """Return the names of the kinds that are asked for, in the order of this class."""
        return tuple(name for name in self.__slots__ if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOffsets:
    """Offsets of a time namespace's clocks in seconds (time_namespaces(7))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    monotonic: Offset = 0.0
    """Added to CLOCK_MONOTONIC, in seconds; may be negative."""
    boottime: Offset = 0.0
    """Added to CLOCK_BOOTTIME, in seconds; may be negative."""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = (
    *(name if name != "cgroup" else "cgroup-ns" for name in Namespaces.__slots__),
    "hostname",
    "time_offsets",
)
