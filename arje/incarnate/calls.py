"""What system calls say by their arguments: files, programs, ports, and the capabilities that a call like this needs."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from arje.incarnate.caller import Caller
from arje.incarnate.seen import Seen

Args = Sequence[int]
Note = Callable[[Seen, Caller, Args], None]
_HERE: Final = -100  # AT_FDCWD
_O_PATH: Final = 0o10000000
_O_TMPFILE: Final = 0o20000000


def _open(seen: Seen, caller: Caller, directory: int, address: int, flags: int) -> None:
    if flags & _O_PATH:
        return
    name = caller.absolute(directory, caller.text(address))
    try:
        path, about = caller.resolved(name)
    except (FileNotFoundError, NotADirectoryError):
        if flags & os.O_CREAT:
            _make(seen, caller, name)
        return
    how = flags & os.O_ACCMODE
    if how in (os.O_RDONLY, os.O_RDWR):
        seen.path("read", path)
        _need_file(seen, caller, path, 4)
    if how in (os.O_WRONLY, os.O_RDWR) or flags & os.O_TRUNC:
        seen.path("write", path)
        _need_file(seen, caller, path, 2)
    if stat.S_ISDIR(about.st_mode) and flags & _O_TMPFILE:
        seen.path("write", path)


def _make(seen: Seen, caller: Caller, name: str) -> None:
    """Something is made, renamed or removed in a directory."""
    parent = os.path.dirname(name)  # noqa: PTH120 - a path of another root
    path, _ = caller.resolved(parent)
    seen.path("write", path)
    _need_file(seen, caller, path, 3)


def _need_file(seen: Seen, caller: Caller, path: str, want: int) -> None:
    """Note when only a capability lets it do this."""
    if path.startswith("/proc") or not caller.capabilities & {"dac_override", "dac_read_search"}:
        return
    if not caller.may(path, want):
        reads = want == 4 and "dac_override" not in caller.capabilities
        seen.use("dac_read_search" if reads else "dac_override", path)


def _opens(directory: int, path: int, flags: int) -> Note:
    """Where the arguments are; -1: there is no such argument."""

    def note(seen: Seen, caller: Caller, args: Args) -> None:
        _open(seen, caller, args[directory] if directory >= 0 else _HERE, args[path], args[flags] & 0xFFFFFFFF)

    return note


def _creat(seen: Seen, caller: Caller, args: Args) -> None:
    _open(seen, caller, _HERE, args[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)


def _openat2(seen: Seen, caller: Caller, args: Args) -> None:
    (flags,) = struct.unpack("=Q", caller.memory(args[2], 8))
    _open(seen, caller, args[0], args[1], flags)


def _truncate(seen: Seen, caller: Caller, args: Args) -> None:
    _open(seen, caller, _HERE, args[0], os.O_WRONLY)


def _changes(*places: tuple[int, int]) -> Note:
    """Entries of directories change; ``places``: (directory, path) arguments."""

    def note(seen: Seen, caller: Caller, args: Args) -> None:
        for directory, path in places:
            name = caller.absolute(args[directory] if directory >= 0 else _HERE, caller.text(args[path]))
            _make(seen, caller, name)

    return note


def _mknod(directory: int, path: int) -> Note:
    def note(seen: Seen, caller: Caller, args: Args) -> None:
        _changes((directory, path))(seen, caller, args)
        if stat.S_IFMT(args[path + 1] & 0xFFFF) in (stat.S_IFCHR, stat.S_IFBLK):
            seen.use("mknod", "a device")

    return note


def _exec(seen: Seen, caller: Caller, name: str) -> None:
    for path in caller.programs(name):
        seen.path("execute", path)
        if caller.privileged_program(path):
            seen.privileged_programs.add(path)


def _execve(seen: Seen, caller: Caller, args: Args) -> None:
    _exec(seen, caller, caller.absolute(_HERE, caller.text(args[0])))


def _execveat(seen: Seen, caller: Caller, args: Args) -> None:
    name = caller.text(args[1])
    _exec(seen, caller, caller.absolute(args[0], name) if name else caller.open_file(args[0]))


def _ioctl(seen: Seen, caller: Caller, args: Args) -> None:
    path = caller.open_file(args[0] & 0xFFFFFFFF)
    if path.startswith("/dev/"):
        seen.path("ioctl_dev", path)
    elif path.startswith("socket:") and args[1] in _CHANGES_NETWORK:
        seen.use("net_admin", "ioctl of a network device")


#: SIOCSIF* and SIOC…RT of netdevice(7).
_CHANGES_NETWORK: Final = frozenset({0x890B, 0x890C, 0x8914, 0x8916, 0x891A, 0x891C, 0x8922, 0x8924, 0x8923, 0x8930})


def _address(seen: Seen, caller: Caller, args: Args, kind: str) -> None:
    data = caller.memory(args[1], min(args[2], 128))
    family = int.from_bytes(data[:2], "little")
    if family in (socket.AF_INET, socket.AF_INET6):
        port = int.from_bytes(data[2:4], "big")
        if caller.tcp(args[0] & 0xFFFFFFFF):
            seen.port(kind, port)
        if kind == "tcp_bind" and 0 < port < _first_free_port():
            seen.use("net_bind_service", f"port {port}")
    elif family == socket.AF_UNIX and kind == "tcp_bind" and data[2:3] not in (b"", b"\0"):
        _make(seen, caller, caller.absolute(_HERE, os.fsdecode(data[2:].partition(b"\0")[0])))


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024


def _bind(seen: Seen, caller: Caller, args: Args) -> None:
    _address(seen, caller, args, "tcp_bind")


def _connect(seen: Seen, caller: Caller, args: Args) -> None:
    _address(seen, caller, args, "tcp_connect")


def _socket(seen: Seen, caller: Caller, args: Args) -> None:
    seen.families.add(args[0])
    if args[0] == socket.AF_PACKET or (args[0] in (2, 10) and args[1] & 0xF == socket.SOCK_RAW):
        seen.use("net_raw", "a raw socket")


def _kill(seen: Seen, caller: Caller, args: Args) -> None:
    number = args[0] & 0xFFFFFFFF
    if not 0 < number < 1 << 31:
        return
    other = Caller(number).status["Uid"].split()
    mine = caller.status["Uid"].split()
    if not {mine[0], mine[1]} & {other[0], other[2]}:
        seen.use("kill", f"a process of uid {other[0]}")


def _prctl(seen: Seen, caller: Caller, args: Args) -> None:
    if args[0] == 24 or (args[0] == 28):  # PR_CAPBSET_DROP, PR_SET_SECUREBITS
        seen.use("setpcap", "prctl")


def _nice(seen: Seen, caller: Caller, args: Args) -> None:
    value = args[2] & 0xFFFFFFFF
    if value >> 31:
        seen.use("sys_nice", "a nice level below 0")


def _uses(capability: str) -> Callable[[str], Note]:
    return lambda name: lambda seen, caller, args: seen.use(capability, name)


#: Calls that need a capability whatever their arguments are; for root they may do nothing that needs it.
_CAPABILITY_OF: Final = {
    "setgid": "setgid setregid setresgid setgroups setfsgid",
    "setuid": "setuid setreuid setresuid setfsuid",
    "chown": "chown fchown lchown fchownat",
    "sys_chroot": "chroot",
    "sys_admin": """mount umount umount2 pivot_root move_mount fsopen fsmount mount_setattr setns unshare sethostname
        setdomainname quotactl swapon swapoff bpf fanotify_init""",
    "sys_time": "settimeofday clock_settime adjtimex clock_adjtime",
    "sys_module": "init_module finit_module delete_module",
    "sys_rawio": "iopl ioperm",
    "sys_boot": "reboot kexec_load kexec_file_load",
    "sys_pacct": "acct",
    "syslog": "syslog",
    "sys_ptrace": "process_vm_readv process_vm_writev ptrace kcmp",
    "ipc_lock": "mlock mlock2 mlockall",
    "dac_read_search": "open_by_handle_at",
    "sys_tty_config": "vhangup",
    "sys_nice": "sched_setscheduler sched_setattr migrate_pages",
}

#: Calls whose arguments are looked at; of all others the name is enough, once.
NOTES: Final[dict[str, Note]] = {
    "open": _opens(-1, 0, 1),
    "openat": _opens(0, 1, 2),
    "openat2": _openat2,
    "creat": _creat,
    "truncate": _truncate,
    "mkdir": _changes((-1, 0)),
    "mkdirat": _changes((0, 1)),
    "rmdir": _changes((-1, 0)),
    "unlink": _changes((-1, 0)),
    "unlinkat": _changes((0, 1)),
    "rename": _changes((-1, 0), (-1, 1)),
    "renameat": _changes((0, 1), (2, 3)),
    "renameat2": _changes((0, 1), (2, 3)),
    "link": _changes((-1, 0), (-1, 1)),
    "linkat": _changes((0, 1), (2, 3)),
    "symlink": _changes((-1, 1)),
    "symlinkat": _changes((1, 2)),
    "mknod": _mknod(-1, 0),
    "mknodat": _mknod(0, 1),
    "execve": _execve,
    "execveat": _execveat,
    "ioctl": _ioctl,
    "bind": _bind,
    "connect": _connect,
    "socket": _socket,
    "kill": _kill,
    "tkill": _kill,
    "prctl": _prctl,
    "setpriority": _nice,
    **{name: _uses(cap)(name) for cap, names in _CAPABILITY_OF.items() for name in names.split()},
}


def note(seen: Seen, name: str, caller: Caller, args: Args) -> None:
    """Take note of one call. Raises OSError, LookupError and ValueError for what cannot be read or understood."""
    seen.calls.add(name)
    if (look := NOTES.get(name)) is not None:
        before = set(seen.capabilities)
        look(seen, caller, args)
        for capability in seen.capabilities.keys() - before - caller.capabilities:  # it went without, or failed
            del seen.capabilities[capability]
