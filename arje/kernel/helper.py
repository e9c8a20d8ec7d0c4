"""Running the few programs that do for an ordinary user what the kernel does for root only, such as newuidmap(1)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
from typing import NamedTuple

from arje import native

_MOST = 4096  # bytes of what it says


class Finished(NamedTuple):
    """How a helper ended: its exit status (128 and more: a signal) and what it said on stderr."""

    status: int
    said: str


def run(spawner: native.Spawner, helper: str, words: list[str], seconds: float | None = None) -> Finished:
    """Run a helper of PATH to its end, which is milliseconds away, or is awaited so many ``seconds``.

    Raises OSError (FileNotFoundError: not installed; TimeoutError: it was killed).
    """
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
        return _finish(child, read, seconds)
    except BaseException:  # its stack is not given back before it has ended
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            if _has_something(child.pidfd, seconds):  # one that hangs in the kernel is left to it
                os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        raise
    finally:
        for fd in (read, child.pidfd, child.status_fd):
            os.close(fd)
        spawner.give_back(child)


def _finish(child: native.Child, stderr: int, seconds: float | None) -> Finished:
    failed = 0
    native.release(child.status_fd)
    while record := native.receive(child.status_fd, block=True):
        failed = record.errno or failed
    said = b""
    while (in_time := _has_something(stderr, seconds)) and (piece := os.read(stderr, _MOST)):
        said = (said + piece)[:_MOST]
    if not in_time:
        raise TimeoutError(errno.ETIMEDOUT, "it takes too long")
    info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    if failed:
        raise OSError(failed, os.strerror(failed))
    status = 0 if info is None else info.si_status + (0 if info.si_code == os.CLD_EXITED else 128)
    return Finished(status, said.decode(errors="replace").strip())


def _has_something(fd: int, seconds: float | None) -> bool:
    """Wait until a pipe can be read, or is at its end, at most so many seconds. Returns whether it is so."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
