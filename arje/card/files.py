"""Which files the payload sees (mount_namespaces(7)).

Paths of sources are the manager's, paths of targets are the service's: absolute, without ``..``, and no symlink may be on
the way to them. A missing mount point is made only where nothing but the service can see it: on its own tmpfs or overlay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Flag, Rule, Text, Texts, matching, whole, whole_rule

_MOST: Final = 2**63 - 1
_BYTES: Final = Rule(
    whole(0, _MOST), {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _MOST}, {"type": "string"}]}
)
_MODE: Final = Rule(whole(0, 0o7777), {"type": "string", "pattern": "^0?o?[0-7]{1,4}$"})
_ID: Final = whole_rule(0, 2**32 - 2)
_HIDEPID: Final = matching("off|noaccess|invisible|ptraceable", "is no hidepid", "write invisible, for example")
_SUBSET: Final = matching("pid", "is no subset", 'there is one: "pid"', empty=True)
_NAME: Final = matching("[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", "is no file name", "letters, digits and . _ -")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay mount (kernel: filesystems/overlayfs). Without an upper layer it is read-only."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    lower: Texts
    """Directories that are read, uppermost first; a card may write one as text."""
    upper: Text = ""
    """Directory that takes what is written; empty makes the overlay read-only."""
    work: Text = ""
    """Empty directory on the file system of ``upper``, for the kernel's own use."""
    tmpfs_upper: Annotated[int, _BYTES] = 0
    """Instead of ``upper`` and ``work``: bytes of a private tmpfs, whose contents end with the service (``"64M"``)."""
    merged: Text = ""
    """Where it is seen; empty means that it is the service's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotRoot:
    """The service's new root (pivot_root(2)). With ``put_old_name`` the old root stays reachable below that directory."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    new_root: Text
    """Directory that becomes ``/``."""
    put_old_name: Text = ""
    """Name below it under which the old root stays; empty: it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of the manager's that is seen at ``target``. A card may write ``"-/src:/dst:ro"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    source: Text
    """Path as the manager sees it."""
    target: Text = ""
    """Path as the service sees it; empty means the same path as the source."""
    read_only: Flag = False
    """Nothing can be written through it, nor through what is mounted below it (mount_setattr(2), AT_RECURSIVE)."""
    recursive: Flag = True
    """With everything that is mounted below the source."""
    optional: Flag = False
    """A missing source is no error: then there is no bind."""
    idmapped: Flag = False
    """Owners on disk are taken as ids inside the service's user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP)."""

    @property
    def where(self) -> str:
        """The target, or the source's path."""
        return self.target or self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """A private tmpfs(5) that belongs to the service's user. A card may write ``"/tmp:64M"``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    target: Text
    """``/`` makes it the service's root."""
    size: Annotated[int, _BYTES] = 0
    """Bytes; 0 means the kernel's default, half of the memory."""
    mode: Annotated[int, _MODE] = 0o755
    """Of its root directory; a card writes it in octal: ``"1777"``."""
    noexec: Flag = False
    """Nothing on it can be executed."""
    nosuid: Flag = True
    """Set-user-ID bits on it mean nothing."""
    nodev: Flag = True
    """Device files on it open nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proc:
    """How the service's own /proc is mounted (proc(5))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    hidepid: Annotated[str, _HIDEPID] = "off"
    """``off``, ``noaccess``, ``invisible`` or ``ptraceable``: which processes of others are seen."""
    subset: Annotated[str, _SUBSET] = ""
    """``pid``: processes only, nothing of the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFile:
    """A file at ``path``: written there on the service's own tmpfs, elsewhere bound read-only over what is there."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    path: Text
    """Where the service sees it."""
    content: Text = ""
    """Its text."""
    source: Text = ""
    """File whose content is taken when the service starts, instead of ``content``."""
    mode: Annotated[int, _MODE] = 0o644
    """Of the file; a card writes it in octal: ``"0600"``."""
    owner: Annotated[int, _ID] | None = None
    """Numeric user (and group) as the service sees it; None means whoever mounts: root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symlink:
    """A symlink at ``path``, on the service's own tmpfs or overlay. A card may write a table ``{"/bin" = "usr/bin"}``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    path: Text
    """Where it lies."""
    to: Text
    """What it says, as ``ln -s`` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret, readable by the service's user alone, in the directory that ``$CREDENTIALS_DIRECTORY`` names."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    name: Annotated[str, _NAME]
    """Name of the file: letters, digits and ``. _ -``."""
    content: Text = ""
    """Its text."""
    source: Text = ""
    """File whose content is taken when the service starts, instead of ``content``."""


#: What ``masked_paths = "kernel"`` stands for: files through which a payload reads or disturbs the machine.
KERNEL_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
)

#: What ``protect_kernel_tunables`` makes read-only: directories and files of /proc through which root, with or without
#: capabilities, changes the machine, and the mounts of /sys. It is systemd's list (systemd.exec(5)); the cgroups stay.
TUNABLES: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/timer_stats",
)
TUNABLE_MOUNTS: Final = (
    "/sys",
    "/sys/firmware/efi/efivars",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
)
#: And what it hides: through these the kernel's memory is read.
KERNEL_MEMORY: Final = ("/proc/kallsyms", "/proc/kcore")

#: Families with a wish for each item: ``binds./srv/data``.
ITEMISED: Final = ("binds", "idmapped", "tmpfs", "files", "symlinks")

#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = (
    "root",
    "read_only_root",
    "overlay",
    "pivot_root",
    "private_tmp",
    "dev",
    "proc",
    "sysfs",
    "devpts",
    "mqueue",
    "masked_paths",
    "read_only_paths",
    "protect_kernel_tunables",
    "credentials",
    *ITEMISED,
)
