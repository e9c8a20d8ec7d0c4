"""The body of a card: namespaces, ids, files, limits, descriptors. The parts have a file each beside this one.

Every field is a request. What became of it is in the incarnation's grants and degradations, under the names of
:data:`FEATURES`. Fields that isolation is promised for but that are not built yet are in :data:`NOT_YET`; the loader
refuses them by name, because a sandbox rule that is silently ignored is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from arje.card import files, filters, ids, join, limits, namespaces, network, privileges, signals
from arje.card.files import Bind, Credential, InjectedFile, Overlay, PivotRoot, Proc, Symlink, Tmpfs
from arje.card.filters import Landlock, LandlockRules, Seccomp, SeccompFilter
from arje.card.ids import IdMap, IdMaps, RunAs
from arje.card.join import Join
from arje.card.limits import INFINITY, RLIMITS, CgroupLimits
from arje.card.namespaces import Hostname, Namespaces, TimeOffsets
from arje.card.network import Network
from arje.card.priority import IoPriority, Nice, OomScoreAdj, Scheduler, sound
from arje.card.privileges import Capabilities, Keyring, Personality, Securebits
from arje.card.rules import FORBID, Flag, Rule, Text, Texts, many, matching, whole, whole_rule

__all__ = [
    "FEATURES",
    "INFINITY",
    "NOT_YET",
    "RLIMITS",
    "Bind",
    "Capabilities",
    "CgroupLimits",
    "Credential",
    "IdMap",
    "InjectedFile",
    "IoPriority",
    "Join",
    "Landlock",
    "Namespaces",
    "Network",
    "Overlay",
    "PivotRoot",
    "Proc",
    "RunAs",
    "Scheduler",
    "Seccomp",
    "Soma",
    "Stdio",
    "Symlink",
    "TimeOffsets",
    "Tmpfs",
]


#: Card field → what it will be, for fields that isolation.md promises and that this version refuses by name.
NOT_YET: Final[dict[str, str]] = {}


def _death(value: Any) -> str:
    return "" if value == "" else signals.name_of(signals.number(value))


_STDIN: Final = matching(
    "null|inherit|socket|(file|tty|socket):/[^\\x00]*",
    "is nothing to read from",
    "write null, inherit, file:/PATH, tty:/dev/TTY, socket:/PATH or socket",
)
_OUTPUT: Final = matching(
    "null|log|inherit|socket|(file|append|tty|socket):/[^\\x00]*",
    "is nothing to write to",
    "write null, log, inherit, file:/PATH, append:/PATH, tty:/dev/TTY, socket:/PATH or socket",
)
_TTY: Final = matching("/[^\\x00]*", "is no absolute path", 'write "/dev/tty1"', empty=True)
_DEV: Final = matching("minimal|host", "is no /dev", 'write "minimal", or leave it out for the host\'s')
_CPUS: Final = Rule(
    many(whole(0, 1023)), {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1023}}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Where descriptors 0, 1 and 2 lead: ``null``, ``log`` (1 and 2), ``inherit``, a file, a terminal or a socket.

    Descriptors that name the same ``tty:`` or ``socket:`` share it: one connection, as from inetd. ``socket`` without a
    path is what the service was started for: the connection, or the only one of the card's ``sockets``; it is not passed
    as descriptor 3 then.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    stdin: Annotated[str, _STDIN] = "null"
    """Where it reads: ``null``, ``inherit``, ``file:/PATH``, ``tty:/dev/TTY`` or ``socket:/PATH``, which it connects to."""
    stdout: Annotated[str, _OUTPUT] = "log"
    """Where it writes: ``null``, ``log``, ``inherit``, ``file:/PATH`` (emptied first), ``append:/PATH``, ``tty:/dev/TTY``
    or ``socket:/PATH``, a stream socket that listens (unix(7))."""
    stderr: Annotated[str, _OUTPUT] = "log"
    """Where it complains; as ``stdout``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soma:
    """Everything that surrounds the payload."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    namespaces: Namespaces = field(default_factory=Namespaces)
    """Which namespaces are its own: a table, a list of kinds, or a preset: ``"all"`` is pid, mount, net, uts, ipc and
    cgroup, ``"minimal"`` is pid, mount, net and cgroup. Neither has user and time."""
    uid_map: IdMaps = ()
    """Lines of the uid map; empty with a user namespace means one line: 0 inside, the service's uid outside."""
    gid_map: IdMaps = ()
    """Lines of the gid map; empty as for ``uid_map``."""
    auto_map: Flag = False
    """A map without lines is found: 0 is the manager's user, from 1 on come the ids that /etc/subuid and /etc/subgid give
    it. A manager that is root takes all of them from those of ``arje``, or else of ``root``. As a card writes it:
    ``uid_map = "auto"``; ``run_as`` then means ids inside."""
    disable_nested_userns: Flag = False
    """Nobody in the service can make user namespaces. Wants a user namespace of its own, and takes CAP_SYS_RESOURCE in it
    away, with which the limit (user.max_user_namespaces, namespaces(7)) could be lifted again."""
    join: Join = field(default_factory=Join)
    """Namespaces of other services that it lives in: ``join = {net = "other-service"}``."""
    run_as: RunAs | None = None
    """User and groups of the payload; None means those of the manager."""
    capabilities: Capabilities | None = None
    """What it may do beyond its user: a list (``["net_bind_service"]``: exactly these; ``[]``: none), or a table."""
    securebits: Securebits = ()
    """Securebits of capabilities(7): ``noroot``, ``no-setuid-fixup``, … and ``-locked``; a list sets exactly these."""
    keyring: Keyring = "inherit"
    """Session keyring (session-keyring(7)): ``inherit`` the manager's, or a ``new`` one."""
    personality: Personality = ()
    """Execution domain and flags of personality(2): ``"linux32"``, ``["addr-no-randomize"]``; empty: the manager's."""
    lock_personality: Flag = False
    """Whether personality(2) can change nothing any more."""
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """Limits of setrlimit(2), one number or soft and hard; a card writes ``{nofile = 1024, core = [0, "infinity"]}``."""
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
    network: Network | None = None
    """Its network; None means: lo alone with a net namespace, the host's network without."""
    root: Text = ""
    """Directory that is the service's root, with all that is mounted below it; empty means the manager's own."""
    read_only_root: Flag = False
    """Nothing can be written to the root and what is mounted below it, but to the card's own tmpfs, binds and the like."""
    overlay: Overlay | None = None
    """An overlay: its root, or a directory of it."""
    pivot_root: PivotRoot | None = None
    """Its own root, and where the old one stays."""
    private_tmp: Flag = False
    """A /tmp and a /var/tmp of its own, on tmpfs."""
    tmpfs: tuple[Tmpfs, ...] = ()
    """Mounted in this order, before the binds."""
    binds: tuple[Bind, ...] = ()
    """Mounted in this order; a card may write ``["/src", "/src:/dst:ro", "-/may/be/missing"]``."""
    proc: Flag | Proc | None = None
    """A new /proc for the service; None means: when it has a pid and a mount namespace."""
    sysfs: Flag = False
    """A new, read-only /sys, which shows the service's net namespace."""
    dev: Annotated[str, _DEV] = "host"
    """``minimal``: a /dev with null, zero, full, random, urandom, tty, pts, shm and the links, and nothing else."""
    devpts: Flag = False
    """Pseudo terminals of its own at /dev/pts."""
    mqueue: Flag = False
    """The message queues of its ipc namespace at /dev/mqueue."""
    masked_paths: Texts = ()
    """Files that read as empty and directories that look so; ``"kernel"`` is the usual list of /proc and /sys."""
    read_only_paths: Texts = ()
    """Nothing can be written to these, nor to what is mounted below; ``-`` before one that may be missing."""
    protect_kernel_tunables: Flag = False
    """The kernel's settings can be read only: /proc/sys, /proc/sysrq-trigger, /proc/irq and the like, and /sys but for its
    cgroups; /proc/kcore and /proc/kallsyms read as empty. Without it a payload that is the machine's root writes there even
    without capabilities, for the files are root's. One that keeps sys_admin can undo it."""
    files: tuple[InjectedFile, ...] = ()
    """Files that are put in; a card may write a table ``{"/etc/motd" = "hello"}``."""
    symlinks: tuple[Symlink, ...] = ()
    """Links that are put in; a card may write a table ``{"/bin" = "usr/bin"}``."""
    credentials: tuple[Credential, ...] = ()
    """Secrets of its own; a card writes a table ``{name = {source = "/etc/key"}}`` or ``{name = "text"}``."""
    no_new_privs: Flag = False
    """Whether execve can never give it privileges (PR_SET_NO_NEW_PRIVS(2const)). Filters imply it where they need it."""
    seccomp: SeccompFilter | None = None
    """Which system calls it may use: a table, a list, or one set such as ``"@system-service"``."""
    landlock: LandlockRules | None = None
    """Which files, ports and processes it is confined to."""
    parent_death_signal: Annotated[str, Rule(_death, {"anyOf": [{"type": "string"}, {"type": "integer"}]})] = ""
    """Signal sent when arje's thread dies (``"TERM"``); empty for none: services outlive a crash of arje."""
    dumpable: Flag | None = None
    """False means no core dumps: RLIMIT_CORE=0, because exec resets PR_SET_DUMPABLE."""
    new_session: Flag = True
    """Whether the payload leads a session of its own (setsid(2))."""
    controlling_tty: Annotated[str, _TTY] = ""
    """Terminal of that session (``"/dev/tty1"``), by its path outside; it must be nobody else's (ioctl_tty(2))."""
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
        return self.namespaces.pid and self.namespaces.mount if self.proc is None else bool(self.proc)


#: Every feature name that ``require`` and ``prefer`` know. ``cgroup.*`` and ``rlimit.*`` may be named by their family.
FEATURES: Final = (
    *namespaces.FEATURES,
    *ids.FEATURES,
    *privileges.FEATURES,
    *join.FEATURES,
    *files.FEATURES,
    *limits.FEATURES,
    *filters.FEATURES,
    *network.FEATURES,
    "loopback",
    "parent_death_signal",
    "new_session",
    "controlling_tty",
    "chdir",
    "umask",
)
