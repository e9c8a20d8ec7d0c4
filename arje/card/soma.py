"""The body of a card: namespaces, ids, limits, cgroup, mounts, descriptors.

Every field is a request. What became of it is in the incarnation's grants and degradations, under the names of
:data:`FEATURES`. Fields that isolation is promised for but that are not built yet are in :data:`NOT_YET`; the loader
refuses them by name, because a sandbox rule that is silently ignored is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

#: Card field → what it will be, for fields that isolation.md promises and that this version refuses by name.
NOT_YET: Final = {
    "join": "entering another service's namespaces",
    "disable_nested_userns": "forbidding nested user namespaces",
    "capabilities": "capability sets",
    "securebits": "securebits",
    "keyring": "session keyrings",
    "personality": "execution domains",
    "root": "a root directory of its own",
    "read_only_root": "a read-only root",
    "binds": "bind mounts",
    "tmpfs": "tmpfs mounts",
    "private_tmp": "a private /tmp",
    "sysfs": "an own /sys",
    "dev": "a minimal /dev",
    "devpts": "an own devpts",
    "mqueue": "an own mqueue",
    "masked_paths": "masked paths",
    "read_only_paths": "read-only paths",
    "files": "injected files",
    "credentials": "credentials",
    "network": "network set-ups other than the net namespace's loopback",
    "nice": "nice levels",
    "ioprio": "io priorities",
    "scheduler": "scheduling policies",
    "oom_score_adj": "OOM score adjustment",
    "seccomp": "seccomp filters",
    "landlock": "landlock rules",
    "controlling_tty": "a controlling terminal",
    "delegate": "cgroup delegation",
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOffsets:
    """Offsets of a time namespace's clocks in seconds (time_namespaces(7))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    monotonic: float = 0.0
    boottime: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Where descriptors 0, 1 and 2 lead: ``null``, ``log`` (1 and 2), ``inherit``, ``file:PATH`` or ``append:PATH``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    stdin: str = "null"
    stdout: str = "log"
    stderr: str = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Soma:
    """Everything that surrounds the payload."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    namespaces: Namespaces = field(default_factory=Namespaces)
    uid_map: tuple[IdMap, ...] = ()
    """Lines of the uid map; empty with a user namespace means one line: 0 inside, the service's uid outside."""
    gid_map: tuple[IdMap, ...] = ()
    run_as: RunAs | None = None
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """``(name, soft, hard)`` per limit; a card writes a table ``{nofile = 1024, core = [0, "infinity"]}``."""
    cgroup: CgroupLimits | None = None
    cpu_affinity: tuple[int, ...] = ()
    hostname: str = ""
    time_offsets: TimeOffsets | None = None
    proc: bool | None = None
    """A new /proc for the service; None means: when it has a pid and a mount namespace."""
    overlay: Overlay | None = None
    pivot_root: PivotRoot | None = None
    no_new_privs: bool = False
    parent_death_signal: str = ""
    """Signal sent when arje's thread dies (``"TERM"``); empty for none: services outlive a crash of arje."""
    dumpable: bool | None = None
    """False means no core dumps: RLIMIT_CORE=0, because exec resets PR_SET_DUMPABLE."""
    new_session: bool = True
    """Whether the payload leads a session of its own (setsid(2))."""
    chdir: str = ""
    """Working directory inside the service's root; empty means ``/``."""
    umask: int = 0o022
    """File mode creation mask; a card writes it in octal: ``"027"``."""
    stdio: Stdio = field(default_factory=Stdio)
    strict_caps: bool = False
    """Any degradation refuses the incarnation before the payload runs."""
    require: tuple[str, ...] = ()
    """Features (or families: ``cgroup``) that must be granted."""
    prefer: tuple[str, ...] = ()
    """Features that may degrade although they must be granted by default."""

    @property
    def wants_proc(self) -> bool:
        """Whether a new /proc is to be mounted."""
        return self.namespaces.pid and self.namespaces.mount if self.proc is None else self.proc


#: Every feature name that ``require`` and ``prefer`` know. ``cgroup.*`` and ``rlimit.*`` may be named by their family.
FEATURES: Final = (
    *(name if name != "cgroup" else "cgroup-ns" for name in Namespaces.__slots__),
    "id-map",
    "run_as",
    *(f"rlimit.{name}" for name in RLIMITS),
    "cgroup",
    *(f"cgroup.{name}" for name in CgroupLimits.__slots__ if name != "path"),
    "cpu_affinity",
    "hostname",
    "loopback",
    "time_offsets",
    "proc",
    "overlay",
    "pivot_root",
    "no_new_privs",
    "parent_death_signal",
    "dumpable",
    "new_session",
    "chdir",
    "umask",
)
