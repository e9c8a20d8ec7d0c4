"""How much of the machine a service may use: resource limits and cgroup v2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.devices import IoMax
from arje.card.rules import FORBID, Flag, Rule, text, whole, whole_rule
from arje.card.unreadable import Unreadable, shown

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

_MAX: Final = {"type": "string", "const": "max"}


def _or_max(most: int, least: int) -> Rule:
    """The rule of a number, or ``"max"`` for no limit."""

    def check(value: Any) -> int | str:
        return value if value == "max" and isinstance(value, str) else int(whole(least, most)(value))

    return Rule(check, {"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, _MAX]})


def _bytes() -> Rule:
    plain = _or_max(2**63 - 1, 0)
    sized = {"type": "string", "pattern": r"^\s*[0-9]+\s*([KMGTkmgt]?)([iI]?[bB])?\s*$"}
    return Rule(plain.check, {"anyOf": [{"type": "integer", "minimum": 0}, sized, _MAX]})


def _path(value: Any) -> str:
    """A path that stays below the manager's cgroup. The ancestor's begin with a slash all the same."""
    path = text(value).removeprefix("/")
    parts = path.split("/")
    if path and any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise Unreadable("", f"{shown(value)} is no path below arje's cgroup", 'write names between "/": "web/one"')
    return path


def _cpu_max(value: Any) -> str:
    """Percent as it is, else quota and period as the kernel shows them."""
    words = text(value)
    if re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?%", words):
        if float(words[:-1]) >= 1:
            return words
        raise Unreadable("", f"{shown(value)} is under 1%", "the kernel's least quota is a millisecond of 100")
    found = re.fullmatch(r"(max|[0-9]{1,15})(?:\s+([0-9]{1,15}))?", words)
    if found is None:
        raise Unreadable("", f"{shown(value)} is no limit of CPU time", 'write "50%", "max" or "QUOTA PERIOD"')
    quota, period = found[1], found[2] or "100000"
    if quota != "max" and int(quota) < 1000:
        raise Unreadable("", f"a quota of {quota} µs", "the least is 1000 µs")
    if not 1000 <= int(period) <= 10**6:
        raise Unreadable("", f"a period of {period} µs", "1000 to 1000000 µs")
    return f"{quota if quota == 'max' else int(quota)} {int(period)}"


def _cpuset(value: Any) -> str:
    """A list of CPUs (cpuset(7), "List format")."""
    words = text(value)
    for part in words.split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise Unreadable("", f"{shown(value)} is no list of CPUs", 'write "0-3,5"')
    return words


Weight = Annotated[int, whole_rule(1, 10_000)]
Bytes = Annotated[int | str, _bytes()]
_CPU_MAX: Final = Rule(_cpu_max, {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?%|(max|[0-9]+)(\s+[0-9]+)?)$"})
_CPUSET: Final = Rule(_cpuset, {"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLimits:
    """Place and limits in cgroup v2 (kernel: admin-guide/cgroup-v2). None means: not asked for."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    path: Annotated[str, Rule(_path, {"type": "string"})] = ""
    """Directory below the manager's own cgroup; empty means the label. A leading slash means nothing."""
    cpu_weight: Weight | None = None
    """cpu.weight, 1 to 10000."""
    cpu_max: Annotated[str, _CPU_MAX] | None = None
    """cpu.max: ``"50%"``, ``"max"``, or ``"QUOTA PERIOD"`` in microseconds as the kernel writes it."""
    io_weight: Weight | None = None
    """io.weight, 1 to 10000."""
    memory_max: Bytes | None = None
    """memory.max in bytes, or ``"max"``; TOML may write ``"256M"``."""
    memory_high: Bytes | None = None
    """memory.high in bytes: above it the kernel slows the service down and takes memory back."""
    memory_low: Bytes | None = None
    """memory.low in bytes: below it memory is taken from others first."""
    memory_swap_max: Bytes | None = None
    """memory.swap.max in bytes; 0 for no swap."""
    pids_max: Annotated[int | str, _or_max(2**22, 1)] | None = None
    """pids.max: number of tasks, or ``"max"``."""
    cpuset: Annotated[str, _CPUSET] | None = None
    """cpuset.cpus: ``"0-3,5"``."""
    cpuset_mems: Annotated[str, _CPUSET] | None = None
    """cpuset.mems: memory nodes, ``"0-1"``."""
    cpu_idle: Flag | None = None
    """cpu.idle: it gets CPU time that nobody else wants."""
    memory_min: Bytes | None = None
    """memory.min in bytes: below it nothing is taken from it, not even in need."""
    memory_oom_group: Flag | None = None
    """memory.oom.group: the OOM killer ends all of it or nothing of it."""
    io_max: tuple[IoMax, ...] = ()
    """io.max: a table ``{"/dev/vda" = {rbps = "1M", wiops = 100}}``, or lines ``["254:0 rbps=1M"]``."""
    delegate: Flag = False
    """Whether the service's user may make cgroups below its own: directory and cgroup.procs belong to it."""


#: The names of these wishes in ``require``, ``prefer`` and degradations; ``cgroup`` and ``rlimit`` name their families too.
FEATURES: Final = (
    *(f"rlimit.{name}" for name in RLIMITS),
    "cgroup",
    *(f"cgroup.{name}" for name in CgroupLimits.__slots__ if name != "path"),
    "cpu_affinity",
    "dumpable",
    "nice",
    "ioprio",
    "scheduler",
    "oom_score_adj",
)
