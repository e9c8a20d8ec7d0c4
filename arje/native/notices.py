"""The door to the system calls of others that wait for an answer (seccomp_unotify(2))."""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

from arje.native import _check, _ffi, _lib

#: Numbers of system calls that a table of what need not be told has room for; the highest of Linux are below 500.
NUMBERS: Final = 1024


class Notice(NamedTuple):
    """One call: its id for the answer, who calls as we see it (a thread's id), the number and the arguments."""

    id: int
    pid: int
    number: int
    args: tuple[int, ...]


def observing_filter(arch: int, sendto: int) -> bytes:
    """Return the filter that lets every call of this architecture (AUDIT_ARCH_*) wait for an answer, others pass."""
    load, jump, give = 0x20, 0x15, 0x06
    allow, notify = 0x7FFF0000, 0x7FC00000
    program = (
        (load, 0, 0, 4),
        (jump, 0, 4, arch),
        (load, 0, 0, 0),
        (jump, 0, 3, sendto),
        (load, 0, 0, 16 + 5 * 8),
        (jump, 0, 1, int(_lib.ARJE_UNSEEN)),
        (give, 0, 0, allow),
        (give, 0, 0, notify),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def next_notice(listener: int, silent: bytearray) -> Notice | None:
    """Wait for a call whose number ``silent`` does not hold; None when nobody is left who could call. Raises OSError.

    ``silent`` may be changed by another thread meanwhile.
    """
    notice = _ffi.new("struct arje_notice *")
    if _check(_lib.arje_notice_next(listener, _ffi.from_buffer(silent), len(silent), notice)) == 0:
        return None
    return Notice(notice.id, notice.pid, notice.number, tuple(notice.args))


def answer(listener: int, notice: Notice, error: int = 0) -> None:
    """Let a call through, or refuse it with an errno. A caller that is gone needs none. Raises OSError."""
    _check(_lib.arje_notice_answer(listener, notice.id, error))


def take_fd(pid: int, fd: int) -> int:
    """Return a copy of another process's descriptor (pidfd_getfd(2)). Raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        return _check(_lib.arje_pidfd_getfd(pidfd, fd))
    finally:
        os.close(pidfd)


def open_in_root(root: int, path: bytes) -> int:
    """Return an O_PATH descriptor of what a path means below a root (openat2(2)). Raises OSError."""
    return _check(_lib.arje_open_in_root(root, path))
