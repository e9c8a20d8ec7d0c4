"""The door to what the kernel and libseccomp know of filters (seccomp(2), landlock(7), seccomp_rule_add(3))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from arje.native import _check, _ffi, _lib


def landlock_abi() -> int:
    """Return the version of landlock's ABI here. Raises OSError (ENOSYS: not built in, EOPNOTSUPP: switched off)."""
    return _check(_lib.arje_landlock_abi())


def seccomp_knows(action: int) -> None:
    """Raise OSError unless the kernel knows a seccomp action (seccomp(2): SECCOMP_GET_ACTION_AVAIL)."""
    _check(_lib.arje_seccomp_knows(action))


def has_libseccomp() -> bool:
    """Return whether libseccomp is installed."""
    return bool(_lib.arje_libseccomp() == 0)


def syscall_number(name: str) -> int:
    """Return a system call's number; negative: this machine lacks it; -1: libseccomp, or its absence, does not know it."""
    return int(_lib.arje_seccomp_number(name.encode()))


def syscall_name(number: int) -> str:
    """Return the name of a system call of this machine, or an empty string."""
    room = 64
    name = _ffi.new("char[]", room)
    return _ffi.string(name).decode() if _lib.arje_seccomp_name(number, name, room) == 0 else ""


def seccomp_compile(action: int, foreign: int, architectures: Iterable[str], rules: Sequence[tuple[int, int]]) -> bytes:
    """Return a filter, an array of struct sock_filter, of ``(number, action)`` rules. Raises OSError."""
    names = [_ffi.new("char[]", name.encode()) for name in architectures]
    array = _ffi.new("struct arje_seccomp_rule[]", list(rules))
    fd = os.memfd_create("arje-seccomp", os.MFD_CLOEXEC)
    try:
        _check(_lib.arje_seccomp_compile(action, foreign, [*names, _ffi.NULL], array, len(rules), fd))
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
