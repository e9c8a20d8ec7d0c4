"""The body of a card: namespaces, ids, files, limits, descriptors. The parts have a file each beside this one.

Every field is a request. What became of it is in the incarnation's grants and degradations, under the names of
:data:`FEATURES`. Fields that isolation is promised for but that are not built yet are in :data:`NOT_YET`; the loader
refuses them by name, because a sandbox rule that is silently ignored is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from arje.card import files, ids, limits, namespaces, signals
from arje.card.files import Overlay, PivotRoot
from arje.card.ids import IdMap, IdMaps, RunAs
from arje.card.limits import INFINITY, RLIMITS, CgroupLimits
from arje.card.namespaces import Hostname, Namespaces, TimeOffsets
from arje.card.priority import IoPriority, Nice, OomScoreAdj, Scheduler, sound
from arje.card.rules import Flag, Rule, Text, Texts, many, matching, whole, whole_rule

__all__ = [
    "FEATURES",
    "INFINITY",
    "NOT_YET",
    "RLIMITS",
    "CgroupLimits",
    "IdMap",
    "IoPriority",
    "Namespaces",
    "Overlay",
    "PivotRoot",
    "RunAs",
    "Scheduler",
    "Soma",
    "Stdio",
    "TimeOffsets",
]

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

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
    "seccomp": "seccomp filters",
    "landlock": "landlock rules",
    "controlling_tty": "a controlling terminal",
}


def _death(value: Any) -> str:
    return "" if value == "" else signals.name_of(signals.number(value))


_STDIN: Final = matching("null|inherit|file:/[^\\x00]*", "is nothing to read from", "write null, inherit or file:/PATH")
_OUTPUT: Final = matching(
    "null|log|inherit|(file|append):/[^\\x00]*",
    "is nothing to write to",
    "write null, log, inherit, file:/PATH or append:/PATH",
)
_CPUS: Final = Rule(
    many(whole(0, 1023)), {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1023}}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Where descriptors 0, 1 and 2 lead: ``null``, ``log`` (1 and 2), ``inherit``, ``file:PATH`` or ``append:PATH``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    stdin: Annotated[str, _STDIN] = "null"
    """Where it reads: ``null``, ``inherit`` or ``file:/PATH``."""
    stdout: Annotated[str, _OUTPUT] = "log"
    """Where it writes: ``null``, ``log``, ``inherit``, ``file:/PATH`` (emptied first) or ``append:/PATH``."""
    stderr: Annotated[str, _OUTPUT] = "log"
    """Where it complains; as ``stdout``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soma:
    """Everything that surrounds the payload."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    namespaces: Namespaces = field(default_factory=Namespaces)
    """Which namespaces are its own: a table, a list, or ``"all"`` or ``"minimal"``."""
    uid_map: IdMaps = ()
    """Lines of the uid map; empty with a user namespace means one line: 0 inside, the service's uid outside."""
    gid_map: IdMaps = ()
    """Lines of the gid map; empty as for ``uid_map``."""
    run_as: RunAs | None = None
    """User and groups of the payload; None means those of the manager."""
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """``(name, soft, hard)`` per limit; a card writes a table ``{nofile = 1024, core = [0, "infinity"]}``."""
    cgroup: CgroupLimits | None = None
    """Place and limits in cgroup v2."""
    cpu_affinity: Annotated[tuple[int, ...], _CPUS] = ()
    """Numbers of the CPUs that it may run on (sched_setaffinity(2)); empty means any."""
    nice: Nice | None = None
    """Nice level, -20 (first) to 19 (setpriority(2))."""
    ioprio: IoPriority | None = None
    """Whose I/O goes first: ``"best-effort:4"``, ``"realtime:0"``, ``"idle"``."""
    scheduler: Annotated[Scheduler, Rule(sound)] | None = None
    """Policy of the CPU scheduler: ``"batch"``, ``"idle"``, ``"fifo:50"``, or a table."""
    oom_score_adj: OomScoreAdj | None = None
    """What the OOM killer adds to its score, -1000 (never) to 1000 (first)."""
    hostname: Hostname = ""
    """Hostname in its uts namespace (hostname(7))."""
    time_offsets: TimeOffsets | None = None
    """What its time namespace adds to the clocks."""
    proc: Flag | None = None
    """A new /proc for the service; None means: when it has a pid and a mount namespace."""
    overlay: Overlay | None = None
    """An overlay mount that it sees."""
    pivot_root: PivotRoot | None = None
    """Its own root."""
    no_new_privs: Flag = False
    """Whether execve can never give it privileges (PR_SET_NO_NEW_PRIVS(2const))."""
    parent_death_signal: Annotated[str, Rule(_death, {"anyOf": [{"type": "string"}, {"type": "integer"}]})] = ""
    """Signal sent when arje's thread dies (``"TERM"``); empty for none: services outlive a crash of arje."""
    dumpable: Flag | None = None
    """False means no core dumps: RLIMIT_CORE=0, because exec resets PR_SET_DUMPABLE."""
    new_session: Flag = True
    """Whether the payload leads a session of its own (setsid(2))."""
    chdir: Text = ""
    """Working directory inside the service's root; empty means ``/``."""
    umask: Annotated[int, whole_rule(0, 0o777)] = 0o022
    """File mode creation mask; a card writes it in octal: ``"027"``."""
    stdio: Stdio = field(default_factory=Stdio)
    """Where its descriptors 0, 1 and 2 lead."""
    strict_caps: Flag = False
    """Any degradation refuses the incarnation before the payload runs."""
    require: Texts = ()
    """Features (or families: ``cgroup``) that must be granted."""
    prefer: Texts = ()
    """Features that may degrade although they must be granted by default."""

    @property
    def wants_proc(self) -> bool:
        """Whether a new /proc is to be mounted."""
        return self.namespaces.pid and self.namespaces.mount if self.proc is None else self.proc


#: Every feature name that ``require`` and ``prefer`` know. ``cgroup.*`` and ``rlimit.*`` may be named by their family.
FEATURES: Final = (
    *namespaces.FEATURES,
    *ids.FEATURES,
    *files.FEATURES,
    *limits.FEATURES,
    "loopback",
    "parent_death_signal",
    "new_session",
    "chdir",
    "umask",
)
