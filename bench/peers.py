"""The others: bwrap, unshare and crun, told to make the same sandbox around the same program.

Mount, pid, uts, ipc and cgroup namespaces, an own /proc, the host's root file system. None of them makes a cgroup here,
and none reads back what the kernel granted; arje does both within its time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

#: What Debian calls the package.
PACKAGES: Final = {"bwrap": "bubblewrap", "unshare": "util-linux", "crun": "crun"}
#: To be followed by the program.
COMMANDS: Final = {
    "bwrap": (
        *("bwrap", "--dev-bind", "/", "/", "--proc", "/proc"),
        *("--unshare-pid", "--unshare-uts", "--unshare-ipc", "--unshare-cgroup", "--"),
    ),
    "unshare": (
        *("unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--mount-proc"),
        *("--propagation", "private", "--"),
    ),
}
#: crun works only where /sys/fs/cgroup is cgroup2 alone, and its root must be a mount that is not ``/`` itself.
PRIVATE: Final = ("unshare", "--mount", "--propagation", "private", "--")


#: Files that a command finds open, by descriptor.
Opened = Mapping[int, Path]
_NONE: Final[Opened] = {}


def life(command: tuple[str, ...], opened: Opened = _NONE) -> tuple[int, int]:
    """Run a command; return the nanoseconds to the program's first byte and to its end. Raises CalledProcessError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 2)]
    files = [(os.POSIX_SPAWN_OPEN, fd, str(path), os.O_RDONLY, 0) for fd, path in opened.items()]
    actions = [*null, (os.POSIX_SPAWN_DUP2, writer, 1), *files]
    began = time.perf_counter_ns()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsigmask=())
    os.close(writer)
    os.read(reader, 1)
    spoke = time.perf_counter_ns()
    _, status = os.waitpid(pid, 0)
    ended = time.perf_counter_ns()
    os.close(reader)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return spoke - began, ended - began


def absent(name: str, packages: Mapping[str, str] = PACKAGES) -> str:
    """Return why a peer is left out before it was tried; empty when it is installed."""
    return "" if shutil.which(name) else f"{name} is not installed; apt install {packages[name]}"


def refused(name: str, command: tuple[str, ...], opened: Opened = _NONE) -> str:
    """Return why a peer cannot make its sandbox here; empty when it can."""
    with ExitStack() as stack:
        for number, path in opened.items():
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            os.dup2(fd, number)
            stack.callback(os.close, number)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, pass_fds=tuple(opened)
        )
    return "" if done.returncode == 0 else f"{name} cannot run here: {' '.join(done.stderr.split()) or done.returncode}"


@contextmanager
def bundle(program: Path) -> Iterator[Path]:
    """Make the directory that :func:`enter_bundle` works in, and remove it."""
    directory = Path(mkdtemp(prefix="arje-bench-crun."))
    try:
        (directory / "rootfs").mkdir()
        (directory / "config.json").write_text(json.dumps(_config(directory / "rootfs", program)))
        yield directory
    finally:
        (directory / "rootfs").rmdir()  # before all else: were the host's root still mounted here, this would refuse
        shutil.rmtree(directory)


def _config(root: Path, program: Path) -> dict[str, object]:
    """The OCI runtime specification's config.json, version 1.0."""
    proc = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "nodev", "noexec"]}
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": [str(program)], "env": [], "cwd": "/"},
        "root": {"path": str(root)},
        "mounts": [proc],
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc", "cgroup")]},
    }


def enter_bundle(directory: Path) -> tuple[str, ...]:
    """Mount in this process's own mount namespace what crun needs, and return its command. Raises CalledProcessError.

    crun populates its /dev with nodes of its own and replaces ptmx, so it gets an empty one: not the host's.
    """
    refuse_shared_mounts()
    root = str(directory / "rootfs")
    for words in (
        ("--bind", "/", root),
        ("-t", "tmpfs", "tmpfs", f"{root}/dev"),
        ("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"),
    ):
        subprocess.run(["mount", *words], check=True)
    crun = crun_command(directory)
    if why := refused("crun", crun):
        raise RuntimeError(why)
    return crun


def refuse_shared_mounts() -> None:
    """Raise RuntimeError unless this process has a mount namespace that its parent has not."""
    if os.stat("/proc/self/ns/mnt").st_ino == os.stat(f"/proc/{os.getppid()}/ns/mnt").st_ino:
        raise RuntimeError("this would change the mounts of the machine")


def crun_command(directory: Path) -> tuple[str, ...]:
    """Return what runs the bundle in a directory."""
    state = ("--root", str(directory / "state"), "--cgroup-manager=disabled")
    return ("crun", *state, "run", "--bundle", str(directory), f"arje-bench-{os.getpid()}")
