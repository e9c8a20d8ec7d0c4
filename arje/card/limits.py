"""How much of the machine a service may use: resource limits and cgroup v2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

#: The sixteen limits of setrlimit(2), by the names that /proc/PID/limits and prlimit(1) use; the value is RLIMIT_*.
RLIMITS: Final = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}

#: RLIM_INFINITY, which a card writes as ``"infinity"``.
INFINITY: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLimits:
    """Place and limits in cgroup v2 (kernel: admin-guide/cgroup-v2). None means: not asked for."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    path: str = ""
    """Directory below the manager's own cgroup; empty means the label."""
    cpu_weight: int | None = None
    """cpu.weight, 1 to 10000."""
    cpu_max: str | None = None
    """cpu.max: ``"50%"``, or ``"QUOTA PERIOD"`` in microseconds as the kernel writes it."""
    io_weight: int | None = None
    """io.weight, 1 to 10000."""
    memory_max: int | None = None
    """memory.max in bytes; TOML may write ``"256M"``."""
    memory_high: int | None = None
    memory_low: int | None = None
    memory_swap_max: int | None = None
    pids_max: int | None = None
    """pids.max: number of tasks."""
    cpuset: str | None = None
    """cpuset.cpus: ``"0-3,5"``."""


#: The names of these wishes in ``require``, ``prefer`` and degradations; ``cgroup`` and ``rlimit`` name their families too.
FEATURES: Final = (
    *(f"rlimit.{name}" for name in RLIMITS),
    "cgroup",
    *(f"cgroup.{name}" for name in CgroupLimits.__slots__ if name != "path"),
    "cpu_affinity",
    "dumpable",
)
