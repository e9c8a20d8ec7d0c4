"""One life of a payload, as data: what was asked, what was granted, why not the rest, and how it ended.

Everything here is frozen and knows neither the kernel nor the loop. ``incarnate`` makes these values, ``service`` keeps
them, ``control`` shows them. The promise of arje is in two of the types: a :class:`Grant` for each thing that a card
asked for, and a :class:`Degradation` with a cause for every one that was not granted.

The life of an incarnation's isolation is the table :data:`LIFE`.
"""

from __future__ import annotations

import signal
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from arje.errors import errno_name


class Cause(StrEnum):
    """Why the kernel did not grant something; the remedy follows from it."""

    NO_CAPABILITY = "no-capability"
    SYSCTL = "sysctl"
    LSM = "lsm"
    SECCOMP = "seccomp"
    KERNEL_TOO_OLD = "kernel-too-old"
    CONTROLLER_MISSING = "controller-missing"
    NOT_DELEGATED = "not-delegated"
    HELPER_MISSING = "helper-missing"
    LIMIT = "limit"
    BUSY = "busy"
    READ_ONLY = "read-only"
    DRIFTED = "drifted"


#: The ancestor's names for kinds of degradation, by the first part of the feature (``cgroup.memory_max`` → ``cgroup``).
KINDS: Final = {
    "mount": "NamespaceSkipped",
    "pid": "NamespaceSkipped",
    "net": "NamespaceSkipped",
    "uts": "NamespaceSkipped",
    "ipc": "NamespaceSkipped",
    "user": "NamespaceSkipped",
    "cgroup-ns": "NamespaceSkipped",
    "time": "NamespaceSkipped",
    "id-map": "UidMapFailed",
    "cgroup": "CgroupSkipped",
    "cpu_affinity": "CpuAffinitySkipped",
    "rlimit": "RlimitSkipped",
    "nice": "PrioritySkipped",
    "ioprio": "PrioritySkipped",
    "scheduler": "PrioritySkipped",
    "oom_score_adj": "OomScoreAdjSkipped",
    "run_as": "CredentialsSkipped",
    "no_new_privs": "NoNewPrivsSkipped",
    "root": "MountSkipped",
    "read_only_root": "MountSkipped",
    "overlay": "MountSkipped",
    "pivot_root": "MountSkipped",
    "binds": "MountSkipped",
    "idmapped": "MountSkipped",
    "tmpfs": "MountSkipped",
    "private_tmp": "MountSkipped",
    "proc": "MountSkipped",
    "sysfs": "MountSkipped",
    "dev": "MountSkipped",
    "devpts": "MountSkipped",
    "mqueue": "MountSkipped",
    "masked_paths": "MountSkipped",
    "read_only_paths": "MountSkipped",
    "protect_kernel_tunables": "MountSkipped",
    "files": "MountSkipped",
    "symlinks": "MountSkipped",
    "credentials": "MountSkipped",
    "seccomp": "SeccompSkipped",
    "landlock": "LandlockReduced",
    "groups": "GroupsSkipped",
    "capabilities": "CapabilitySkipped",
    "securebits": "SecurebitsSkipped",
    "keyring": "KeyringSkipped",
    "personality": "PersonalitySkipped",
    "lock_personality": "PersonalitySkipped",
    "disable_nested_userns": "NestedUserNamespaces",
    "join": "JoinSkipped",
    "network": "NetworkSkipped",
    "controlling_tty": "TerminalSkipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """One thing that a card asked for and did not get, and why.

    ``feature`` is the name that ``soma.require`` and ``soma.prefer`` use (``net``, ``cgroup.memory_max``). ``requested``
    and ``obtained`` are for people. ``errno`` is 0 when no system call refused (a missing controller); ``syscall`` is
    then empty. ``since`` is CLOCK_REALTIME in seconds. ``remedy`` is the next thing to do, in the imperative.
    ``partial``: the feature is there all the same, with less than was asked (a landlock ruleset of an older ABI).
    """

    feature: str
    requested: str
    obtained: str
    cause: Cause
    errno: int = 0
    syscall: str = ""
    detail: str = ""
    since: float = 0.0
    remedy: str = ""
    partial: bool = False

    @property
    def kind(self) -> str:
        """The ancestor's name for this kind of loss (``NamespaceSkipped``)."""
        return KINDS.get(self.feature, KINDS.get(self.feature.partition(".")[0], "FeatureSkipped"))

    def __str__(self) -> str:
        how = f"{errno_name(self.errno)} at {self.syscall}" if self.errno else self.cause.value
        because = f"{how} ({self.detail})" if self.detail else how
        return f"{self.feature}: asked {self.requested}, got {self.obtained}: {because}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that a card asked for, and what reading it back from the kernel said.

    ``granted`` is the kernel's own answer (``mnt:[4026532]``, ``0 1000 1``), empty when it could not be had; ``ok`` tells
    whether that answer is what ``requested`` meant. A grant that is not ok has exactly one degradation with its feature.
    """

    feature: str
    requested: str
    granted: str
    ok: bool


class Step(StrEnum):
    """Every step at which an incarnation can fail, in the order in which they happen.

    The members from ``SIGNALS`` on are the steps of the child; their order is the enum ``arje_step`` of
    ``native/abi.h`` and a test holds the two together.
    """

    PLAN = "plan"
    CGROUP = "cgroup"
    PREPARE = "prepare"
    CLONE = "clone"
    CONFIGURE = "configure"
    ID_MAP = "id-map"
    GATE = "gate"
    SIGNALS = "signals"
    DESCRIPTORS = "descriptors"
    UNSHARE = "unshare"
    JOIN = "join"
    MOUNT_NAMESPACE = "mount-namespace"
    MOUNT_PRIVATE = "mount-private"
    HOSTNAME = "hostname"
    LOOPBACK = "loopback"
    NETWORK = "network"
    STAGE = "stage"
    ROOT = "root"
    MOUNT_OVERLAY = "mount-overlay"
    MOUNT_TMPFS = "mount-tmpfs"
    MOUNT_PROC = "mount-proc"
    MOUNT_SYSFS = "mount-sysfs"
    MOUNT_DEVPTS = "mount-devpts"
    MOUNT_MQUEUE = "mount-mqueue"
    MOUNT_DEV = "mount-dev"
    BIND = "bind"
    IDMAP = "idmap"
    FILE = "file"
    SYMLINK = "symlink"
    MASK = "mask"
    READ_ONLY = "read-only"
    PIVOT_ROOT = "pivot-root"
    SESSION = "session"
    CONTROLLING_TTY = "controlling-tty"
    UMASK = "umask"
    AFFINITY = "affinity"
    RLIMIT = "rlimit"
    SCHEDULER = "scheduler"
    PERSONALITY = "personality"
    NO_NESTED_USER = "no-nested-user"
    OBSERVE = "observe"
    BOUNDING = "bounding"
    KEEP_CAPS = "keep-caps"
    GROUPS = "groups"
    GID = "gid"
    UID = "uid"
    CAPSET = "capset"
    AMBIENT = "ambient"
    SECUREBITS = "securebits"
    KEYRING = "keyring"
    PARENT_DEATH_SIGNAL = "parent-death-signal"
    CHDIR = "chdir"
    REPORT = "report"
    NO_NEW_PRIVS = "no-new-privs"
    LOCK_PERSONALITY = "lock-personality"
    LANDLOCK_PATH = "landlock-path"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    REAPER = "reaper"
    EXEC = "exec"


class Phase(StrEnum):
    """Where the isolation of an incarnation is in its life."""

    PLANNED = "planned"
    CLONED = "cloned"
    CONFIGURED = "configured"
    RELEASED = "released"
    CONFIRMED = "confirmed"
    VERIFIED = "verified"
    EXITED = "exited"
    FAILED = "failed"
    CLEANED = "cleaned"


#: From each phase, the phases that may follow. ``cleaned`` (no process, cgroup, mount or descriptor left) ends them all.
LIFE: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.PLANNED: frozenset({Phase.CLONED, Phase.FAILED}),
    Phase.CLONED: frozenset({Phase.CONFIGURED, Phase.FAILED}),
    Phase.CONFIGURED: frozenset({Phase.RELEASED, Phase.FAILED}),
    Phase.RELEASED: frozenset({Phase.CONFIRMED, Phase.FAILED}),
    Phase.CONFIRMED: frozenset({Phase.VERIFIED, Phase.EXITED}),
    Phase.VERIFIED: frozenset({Phase.EXITED}),
    Phase.EXITED: frozenset({Phase.CLEANED}),
    Phase.FAILED: frozenset({Phase.CLEANED}),
    Phase.CLEANED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. ``code`` is 0–255 for ``exited``, the signal's number for ``killed`` and ``dumped``.

    ``unknown``: it has ended, and its status went to its own parent.
    """

    kind: str
    code: int

    @classmethod
    def from_wait(cls, si_code: int, si_status: int) -> Exit:
        """Make an Exit from waitid(2)'s ``si_code`` (CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3) and ``si_status``."""
        return cls({1: "exited", 2: "killed", 3: "dumped"}[si_code], si_status)

    @property
    def ok(self) -> bool:
        """Whether this is an exit with code 0."""
        return self.kind == "exited" and self.code == 0

    @property
    def shell_status(self) -> int:
        """The status a shell would show: the code, or 128 plus the signal's number."""
        return self.code if self.kind in ("exited", "unknown") else 128 + self.code

    def __str__(self) -> str:
        if self.kind == "exited":
            return f"exited {self.code}"
        if self.kind == "unknown":
            return "ended, and its parent alone knows how"
        try:
            name = signal.Signals(self.code).name.removeprefix("SIG")
        except ValueError:
            name = str(self.code)
        return f"signal {name}" + (" (core dumped)" if self.kind == "dumped" else "")


#: The steps of a set-up in the order in which they end. Their times add up to ``setup_ms``.
SETUP_STEPS: Final = ("plan", "cgroup", "clone", "configure", "isolate", "report", "exec")


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What a set-up's steps took: iterate for ``("plan", 0.01)`` and so on, in milliseconds, but for those not known.

    ``packed`` is a C float for each of :data:`SETUP_STEPS`, -1 for not known: pairs would take 560 bytes.
    """

    packed: bytes = b""

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return (pair for pair in zip(SETUP_STEPS, array("f", self.packed), strict=False) if pair[1] >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """One life of a payload, from clone to reaped.

    ``pid`` is the payload's pid as the host sees it, ``leader_pid`` the child that arje waits for (the reaper stub when
    the service has a pid namespace, else the same). ``cgroup`` is the absolute directory, empty when it has none.
    ``setup_ms`` is the start to confirmed exec, in milliseconds, and ``steps`` is what it is made of, in order:
    ``("plan", 0.01)``, cgroup, clone, configure (what the parent does for the waiting child), isolate (what the child
    does for itself), report (what it tells of itself), exec. ``started`` is CLOCK_MONOTONIC seconds at confirmed exec.
    """

    id: int
    label: str
    pid: int
    leader_pid: int
    cgroup: str = ""
    grants: tuple[Grant, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    setup_ms: float = 0.0
    steps: StepTimes = StepTimes()
    started: float = 0.0
    namespaces: dict[str, str] = field(default_factory=dict)


def as_json(value: Any) -> Any:
    """Return a frozen value of this module as plain dicts and lists, fit for ``json.dumps``."""
    import dataclasses

    if isinstance(value, Degradation):
        plain = {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return plain | {"kind": value.kind}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [as_json(item) for item in value]
    return value
