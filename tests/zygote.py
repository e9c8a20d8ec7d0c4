"""A process that has imported a program and becomes it as often as it is asked to: a short life is mostly its imports.

What it becomes is a process like any other: our own child (CLONE_PARENT, clone(2)) with descriptors, environment,
directory and arguments of its own, which runs the program's ``main`` from its first line to the interpreter's end. But
/proc/PID/cmdline is the zygote's, and modules are there that the program may not have imported: whoever looks at these
starts it afresh. So do all tests of ``make run``, of ordinary users and of namespaces around arje.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
_zygotes: Final[list[subprocess.Popen[bytes]]] = []
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT: Final = 0x8000
_MOST: Final = 1 << 20  # bytes of a request
_FDS: Final = 64
_HIGH: Final = 500  # received descriptors wait there, above all numbers that they are to have


def inherited() -> list[str]:
    """Return what a child gets from this process beside descriptors, environment and directory (clone(2), execve(2))."""
    spaces = ("cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts")
    found = [os.readlink(f"/proc/thread-self/ns/{space}") for space in spaces]
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    found += [
        line
        for line in lines
        if line.startswith(("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "Cap", "NoNew", "Cpus"))
    ]
    return [*found, Path("/proc/self/limits").read_text(), Path("/proc/thread-self/cgroup").read_text()]


_AT_FIRST: Final = inherited()
_turn: Final = threading.Lock()


class Copy(subprocess.Popen[Any]):
    """A Popen whose program is not executed but taken over from its zygote. ``args`` are the arguments of ``main``.

    While a test has changed what a child would inherit, as its namespaces, it is executed.
    """

    def __init__(self, program: str, args: list[str], **how: Any) -> None:
        self._program = program
        super().__init__(args, **how)

    def _execute_child(  # type: ignore[override]
        self, args: Any, executable: Any, preexec: Any, close: Any, pass_fds: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        if inherited() != _AT_FIRST:
            words = [sys.executable, "-m", self._program, *args]
            super()._execute_child(words, executable, preexec, close, pass_fds, cwd, env, *rest)  # type: ignore[misc]
            return
        pipes = rest[3:9]
        stdio = [own if theirs == -1 else theirs for own, theirs in enumerate((pipes[0], pipes[3], pipes[5]))]
        numbers = [0, 1, 2, *pass_fds]
        request = {"argv": args, "env": dict(os.environ if env is None else env), "fds": numbers}
        request["cwd"] = str(cwd or Path.cwd())
        with _turn:
            line = zygote(self._program)
            socket.send_fds(line, [json.dumps(request).encode()], [*stdio, *pass_fds])
            self.pid = int(line.recv(100))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def ran(program: str, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Let a copy of a program run to its end, as subprocess.run does."""
    pipe = subprocess.PIPE
    with Copy(program, [*words], stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        try:
            said, complaint = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, said, complaint)


@functools.cache
def zygote(program: str) -> socket.socket:
    """Return the line to this process's zygote of a program. It ends when the line does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, "-m", __name__, program, str(theirs.fileno())]
    no = subprocess.DEVNULL
    _zygotes.append(subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=no, stdout=no, cwd=ROOT))
    theirs.close()
    assert ours.recv(100) == b"ready", f"the zygote of {program} did not start"
    return ours


def serve(line: socket.socket) -> None:
    """Answer requests with pids until the line ends. Returns in each copy, which is then to be the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line.send(b"ready")
    while True:
        text, fds, _, _ = socket.recv_fds(line, _MOST, _FDS)
        if not text:
            os._exit(0)
        pid = fork_beside()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            line.close()
            become(json.loads(text), fds)
            return
        for fd in fds:
            os.close(fd)
        line.send(str(pid).encode())


def fork_beside() -> int:
    """Fork a child that is a child of our parent; return its pid, and 0 in itself. Raises OSError."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid: int = ctypes.PyDLL(None, use_errno=True).syscall(
        _CLONE[os.uname().machine], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0
    )
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Take over what is one's own in a process that was executed: descriptors, environment, directory, arguments."""
    import fcntl

    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(high, request["fds"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.argv = ["", *request["argv"]]


def manager() -> Callable[[], int]:
    """Return the main of ``arje``, with all imported that a manager imports, and a card judged: that is pydantic's part."""
    from arje import later

    later.put_off()  # as main does, before anything else comes
    importlib.import_module("arje.init.daemon")
    from arje.card.loader import load_text
    from arje.init.main import main

    load_text(Path("a.toml"), '[payload]\nexec = "/bin/true"\n')
    return main


def client() -> Callable[[], int]:
    """Return the main of ``arjectl``, with all verbs imported."""
    import arje.ctl
    from arje.ctl.main import main

    for module in pkgutil.iter_modules(arje.ctl.__path__, "arje.ctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return main


def start() -> int:
    main = {"arje": manager, "arje.ctl": client}[sys.argv[1]]()
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[2])))
    return main()


if __name__ == "__main__":
    sys.exit(start())
