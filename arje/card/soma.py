"""The body of a card: namespaces, ids, files, limits, descriptors. The parts have a file each beside this one.

Every field is a request. What became of it is in the incarnation's grants and degradations, under the names of
:data:`FEATURES`. Fields that isolation is promised for but that are not built yet are in :data:`NOT_YET`; the loader
refuses them by name, because a sandbox rule that is silently ignored is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from arje.card import files, ids, limits, namespaces
from arje.card.files import Overlay, PivotRoot
from arje.card.ids import IdMap, RunAs
from arje.card.limits import INFINITY, RLIMITS, CgroupLimits
from arje.card.namespaces import Namespaces, TimeOffsets

__all__ = [
    "FEATURES",
    "INFINITY",
    "NOT_YET",
    "RLIMITS",
    "CgroupLimits",
    "IdMap",
    "Namespaces",
    "Overlay",
    "PivotRoot",
    "RunAs",
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
