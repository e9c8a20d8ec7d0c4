"""What a payload does that wants out. Runs inside of the cage, with nothing but a Python: ``attempts.py WISHES NAME …``.

``WISHES`` is JSON: ``secret``, a path of the host that nobody inside may reach, and what else an attempt is told. Each
attempt is made in a process of its own and raises the OSError that stopped it, or returns what it got. Printed is JSON:
name → the errno's symbol, or ``escaped: …``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 0x20000, 0x10000000
RDONLY, REMOUNT, BIND, REC, MOVE, PRIVATE = 1, 32, 4096, 16384, 8192, 1 << 18
TOLD = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}


def call(answer: int, what: str = "") -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), what)
    return answer


def mount(source: str, target: str, kind: str = "", flags: int = 0) -> None:
    call(LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None), "mount")


def reach(root: str = "/") -> str:
    """Read the secret as it would be seen from a directory. Raises FileNotFoundError: the host is not there."""
    return Path(root + TOLD["secret"]).read_text()


def dotdot() -> str:
    os.chdir("/")
    for _ in range(50):
        os.chdir("..")
    return reach(".")


def chroot_and_back() -> str:
    """The old trick: a root below, and a working directory that is not."""
    os.mkdir("/tmp/below")  # noqa: PTH102 - plain calls
    outside = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/below")
    os.fchdir(outside)
    for _ in range(50):
        os.chdir("..")
    os.chroot(".")
    return reach()


def root_of_others() -> str:
    """Look through /proc/PID/root and cwd of every process that is seen."""
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        for name in ("root", "cwd"):
            try:
                return reach(f"/proc/{pid}/{name}")
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                continue
    return reach()


def descriptors() -> str:
    """Walk from every descriptor that was inherited."""
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode) and "/proc" not in os.readlink(f"/proc/self/fd/{fd}"):
                return f"descriptor {fd} is {os.readlink(f'/proc/self/fd/{fd}')}"
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
    return reach()


def unmount_the_root() -> str:
    """What is below the root? Nothing, and it cannot be taken off."""
    own_mounts()
    call(LIBC.umount2(b"/", 2), "umount2")  # MNT_DETACH
    os.chdir("/")
    return reach(".")


def move_the_root() -> str:
    own_mounts()
    os.chdir("/")
    mount("/usr", "/", flags=MOVE)
    return reach("/..")


def own_mounts() -> None:
    """A mount namespace to play in, with a user namespace if that is what it takes."""
    if LIBC.unshare(NEWNS) != 0:
        call(LIBC.unshare(NEWUSER | NEWNS), "unshare")


def remount_writable() -> str:
    own_mounts()
    mount("", TOLD["read_only"], flags=REMOUNT | BIND)
    Path(TOLD["read_only"], "written").write_text("x")
    return "written"


def remount_where_i_am() -> str:
    mount("", TOLD["read_only"], flags=REMOUNT | BIND)
    return "remounted"


def write_below() -> str:
    Path(TOLD["read_only"], TOLD["below"], "written").write_text("x")
    return "written"


def unmask() -> str:
    own_mounts()
    call(LIBC.umount2(TOLD["masked"].encode(), 2), "umount2")
    return Path(TOLD["masked"]).read_text() or "nothing"


def bind_around_the_mask() -> str:
    """A bind without what is mounted below would show what a mask hides."""
    own_mounts()
    mount(str(Path(TOLD["masked"]).parent), "/tmp", flags=BIND)
    return Path("/tmp", Path(TOLD["masked"]).name).read_text() or "nothing"


def by_handle() -> str:
    """Open a file by a number that is guessed (open_by_handle_at(2)): the root of the file system."""
    handle = struct.pack("IiQ", 8, 1, 2)
    fd = os.open("/usr", os.O_RDONLY)
    found = call(LIBC.open_by_handle_at(fd, handle, os.O_RDONLY), "open_by_handle_at")
    return f"descriptor {found}"


def device_node() -> str:
    os.mknod("/tmp/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
    return str(os.open("/tmp/mem", os.O_RDONLY))


def memory_of_the_machine() -> str:
    for name in ("mem", "kmem", "port", "kmsg", "sda", "vda"):
        if Path("/dev", name).exists():
            return f"/dev/{name} is there"
    return str(os.open("/dev/mem", os.O_RDONLY))


def core_pattern() -> str:
    """The kernel would run what is written there, outside. Opening it to write is proof enough: it is the machine's."""
    return f"descriptor {os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)}"


def raw_socket() -> str:
    return str(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))


def packet_socket() -> str:
    return str(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))


def abstract_socket() -> str:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("\0" + TOLD["abstract"])
        return door.recv(100).decode()


def nested_user_namespace() -> str:
    call(LIBC.unshare(NEWUSER), "unshare")
    return "unshare"


def lift_the_limit() -> str:
    Path("/proc/sys/user/max_user_namespaces").write_text("1000")
    return nested_user_namespace()


def kill_outside() -> str:
    os.kill(TOLD["outside"], 0)
    return "it can be signalled"


def trace_outside() -> str:
    call(LIBC.ptrace(0x4206, TOLD["outside"], None, None), "ptrace")  # PTRACE_SEIZE
    return "it is traced"


def memory_outside() -> str:
    return str(os.open(f"/proc/{TOLD['outside']}/mem", os.O_RDONLY))


def files_outside() -> str:
    return os.readlink(f"/proc/{TOLD['outside']}/root") + reach(f"/proc/{TOLD['outside']}/root")


def descriptors_outside() -> str:
    """Steal a descriptor (pidfd_getfd(2))."""
    fd = os.pidfd_open(TOLD["outside"])
    return str(call(LIBC.syscall(438, fd, 0, 0), "pidfd_getfd"))


def become_root() -> str:
    os.setresuid(0, 0, 0)
    return "uid 0"


def leave_the_cgroup() -> str:
    Path(TOLD["cgroup"], "..", "cgroup.procs").write_text(str(os.getpid()))
    return "left"


def kill_the_reaper() -> str:
    """Signals of pid 1's own namespace do nothing to it that it does not want (pid_namespaces(7))."""
    for number in (signal.SIGKILL, signal.SIGSTOP):
        os.kill(1, number)
    raise OSError(errno.EPERM, "we live on")


def type_at_the_terminal() -> str:
    """Put a word into the input of whoever started us (TIOCSTI, ioctl_tty(2)), once it is our terminal too."""
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    return "typed"


def take_the_terminal() -> str:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    return type_at_the_terminal()


def open_the_terminal() -> str:
    return f"descriptor {os.open('/dev/tty', os.O_RDWR)}"


def attempt(name: str, function: Callable[[], str]) -> str:
    """Make one in a fork, which may do to itself what it likes."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = f"escaped: {function()}"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        os.write(tell, said.encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said or "no answer"


if __name__ == "__main__":
    print(json.dumps({name: attempt(name, globals()[name]) for name in sys.argv[2:]}))
