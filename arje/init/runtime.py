"""The manager's runtime directory: ours alone, one manager at a time, and the cgroup that goes with it.

The fallback under /tmp can be made by anybody before us. So a directory is used only when it is a real one, belongs to us
and nobody else can write to it; the lock is never opened through a link.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from arje import paths
from arje.errors import ArjeError, ManagerRunning

_LONGEST_SOCKET = 107  # bytes; unix(7): sun_path holds 108 with the NUL


@contextlib.contextmanager
def owned(directory: Path, *, user: bool) -> Iterator[int]:
    """Own a runtime directory; yields the pid of its last owner when that one died without leaving, else 0.

    Raises ManagerRunning when another manager has it, ArjeError when it cannot be trusted, OSError when it cannot be made.
    """
    _check(directory, user=user)
    fd = _lock(directory)
    try:
        text = os.read(fd, 32).strip()
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield int(text) if text.isdigit() else 0
        (directory / paths.LOCK_NAME).unlink(missing_ok=True)
    finally:
        os.close(fd)


def _check(directory: Path, *, user: bool) -> None:
    socket = os.fsencode(paths.socket_of(directory))
    if len(socket) > _LONGEST_SOCKET:
        raise ArjeError(
            f"--runtime-dir {directory}: too long: a socket's path has at most {_LONGEST_SOCKET} bytes, this would have "
            f"{len(socket)}; choose a shorter one"
        )
    directory.mkdir(mode=0o700 if user else 0o755, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ArjeError(f"{directory} is not a directory itself; name a real one with --runtime-dir")
    if found.st_uid != os.geteuid():
        raise ArjeError(f"{directory} belongs to user {found.st_uid}, not to us; name another one with --runtime-dir")
    if found.st_mode & 0o022:
        mode = f"{found.st_mode & 0o7777:o}"
        raise ArjeError(f"{directory} can be written to by others (mode {mode}); chmod go-w {directory}")


def _lock(directory: Path) -> int:
    """Return the locked file. One that was unlinked between our open and our lock is nobody's: open again."""
    path = directory / paths.LOCK_NAME
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(fd, 32).strip()
            os.close(fd)
            raise ManagerRunning(directory, int(text) if text.isdigit() else 0) from None
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)


def cgroup_name(directory: Path, *, user: bool) -> str:
    """Return the name of the cgroup of this directory's manager: ``arje`` for the system's, else one of its own."""
    if not user and directory == paths.SYSTEM_RUNTIME:
        return "arje"
    return f"arje-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}"


def raise_descriptors() -> int:
    """Let this process have as many descriptors as it may: each service takes some. Returns the limit until now.

    Payloads get that one: select(2) breaks beyond 1024, and some programs close every descriptor that they could have.
    Returns 0 when there is nothing to raise (getrlimit(2)).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
