"""Running the few programs that do for an ordinary user what the kernel does for root only, such as newuidmap(1)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from typing import NamedTuple

from arje import native

_MOST = 4096  # bytes of what it says


class Finished(NamedTuple):
    """How a helper ended: its exit status (128 and more: a signal) and what it said on stderr."""

    status: int
    said: str


def run(spawner: native.Spawner, helper: str, words: list[str]) -> Finished:
    """Run a helper of PATH to its end, which is milliseconds away. Raises OSError (FileNotFoundError: not installed)."""
    path = shutil.which(helper)
    if path is None:
        raise FileNotFoundError(2, f"{helper} is not installed")
    plan = native.Plan([], [path.encode()], [helper.encode(), *map(str.encode, words)], [], reaper=False)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        with open("/dev/null", "r+b", buffering=0) as null:
            child = spawner.spawn(plan, (null.fileno(), null.fileno(), write), clone_flags=0)
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    try:
        return _finish(child, read)
    except BaseException:  # its stack is not given back before it has ended
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        raise
    finally:
        for fd in (read, child.pidfd, child.status_fd):
            os.close(fd)
        spawner.give_back(child)


def _finish(child: native.Child, stderr: int) -> Finished:
    failed = 0
    native.release(child.status_fd)
    while record := native.receive(child.status_fd, block=True):
        failed = record.errno or failed
    said = b""
    while piece := os.read(stderr, _MOST):
        said = (said + piece)[:_MOST]
    info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    if failed:
        raise OSError(failed, os.strerror(failed))
    status = 0 if info is None else info.si_status + (0 if info.si_code == os.CLD_EXITED else 128)
    return Finished(status, said.decode(errors="replace").strip())
