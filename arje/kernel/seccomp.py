"""Filters over system calls (seccomp(2)): compiling them, and reading what a compiled one decides.

A filter is a program of classic BPF over the system call's number, architecture and arguments, in the kernel's own format
(an array of struct sock_filter, 8 bytes each). :func:`decide` runs one, so that what it does to arje's own last calls is
known before a child is cloned, for the filters of others as well.

**Who compiles.** A filter for this machine's own architecture is compiled here (kernel/bpf.py). libseccomp compiles those
for several (``architectures``), numbers the names, and is the reference: tests compile every named set both ways, in every
mode, and hold the two programs against each other number by number, with the calls of i386 and x32. Why not libseccomp
alone: the kernel checks and compiles a filter anew at each start, before exec, in time that grows with its length. Of
``@system-service`` libseccomp makes 493 instructions, two for each call, and neighbours with one action are one range here:
119. That is 0.15 ms of every start. Nor can it number the calls that are younger than itself. The price is a search of 30
lines that knows nothing but ranges; no card compares the arguments of calls.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Final

from arje.kernel import bpf
from arje.native import filtering

ALLOW: Final = 0x7FFF0000
LOG: Final = 0x7FFC0000
USER_NOTIF: Final = 0x7FC00000
ERRNO: Final = 0x00050000
KILL_PROCESS: Final = 0x80000000
FLAG_LOG: Final = 2  # SECCOMP_FILTER_FLAG_LOG: log what is not allowed
LONGEST: Final = 4096  # instructions: BPF_MAXINSNS

#: Features by what raises OSError when the kernel lacks them (seccomp(2)).
PROBES: Final[Mapping[str, Callable[[], None]]] = {
    "seccomp": lambda: filtering.seccomp_knows(ERRNO),
    "seccomp.kill-process": lambda: filtering.seccomp_knows(KILL_PROCESS),
    "seccomp.log": lambda: filtering.seccomp_knows(LOG),
    "seccomp.user-notif": lambda: filtering.seccomp_knows(USER_NOTIF),
}

#: Calls that libseccomp may be too old for; from 403 on all architectures number alike.
_NEWER_NAMES: Final = """cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
    open_tree_attr file_getattr file_setattr"""
_NEWER: Final = {name: number for number, name in enumerate(_NEWER_NAMES.split(), 451)}
_ONLY_HERE: Final = {
    "x86_64": {"uretprobe": 335, "uprobe": 336, "execve": 59},
    "aarch64": {"execve": 221},
}


def arch() -> int:
    """Return this machine's AUDIT_ARCH_* number."""
    return bpf.ARCHES[os.uname().machine]


@cache
def number_of(name: str) -> int:
    """Return the number of a system call here; negative when this machine has no call of this name."""
    number = filtering.syscall_number(name)
    if number != -1:
        return number
    return _NEWER.get(name, _ONLY_HERE.get(os.uname().machine, {}).get(name, -1))


def here(names: Iterable[str]) -> frozenset[str]:
    """Return those of the system calls that this machine has."""
    return frozenset(name for name in names if number_of(name) >= 0)


def compiled(
    rules: Mapping[str, int], *, default: int, foreign: int, architectures: Iterable[str] = ("native",)
) -> bytes:
    """Return the filter that gives each named call its action, all other calls ``default``.

    Calls of an architecture that is not named get ``foreign``. With others than this machine's it is libseccomp that
    compiles. Raises OSError: ENOENT without libseccomp, EINVAL for an
    architecture that does not go with this machine's.
    """
    others = [name for name in architectures if name != "native"]
    numbered = {name: (filtering.syscall_number(name) if others else number_of(name)) for name in rules}
    pairs = sorted((number, rules[name]) for name, number in numbered.items() if number != -1)
    if not others:
        return bpf.own(pairs, default=default, foreign=foreign, machine=os.uname().machine)
    return filtering.seccomp_compile(default, foreign, others, pairs)


_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD, _RETURN, _JUMP, _AND = 0x20, 0x06, 0x05, 0x54
_TESTS: Final[Mapping[int, Callable[[int, int], bool]]] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}


#: The codes that seccomp takes (linux/bpf_common.h).
_TAKEN: Final = frozenset(
    bytes.fromhex("20 80 81 00 01 60 61 02 03 06 16 07 87 84 05")  # loads, stores, returns, moves, negation, goto
    + bytes.fromhex("04 0c 14 1c 24 2c 34 3c 44 4c 54 5c 64 6c 74 7c a4 ac")  # arithmetic with a value, with X
    + bytes.fromhex("15 1d 25 2d 35 3d 45 4d")  # jumps if equal, greater, greater or equal, bits set
)


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """Return the instructions (code, jump if true, jump if false, value). Raises OSError(EINVAL) for what is no filter."""
    count, rest = divmod(len(program), _INSTRUCTION.size)
    found = list(_INSTRUCTION.iter_unpack(program)) if rest == 0 else []
    if not 1 <= count <= LONGEST or rest or found[-1][0] & 7 != _RETURN:
        raise OSError(errno.EINVAL, "it is no array of struct sock_filter that ends with a return")
    for at, (code, true, false, value) in enumerate(found):
        if code not in _TAKEN or (code == _LOAD and (value % 4 or value >= 64)):
            raise OSError(errno.EINVAL, f"instruction {at} is none that seccomp takes")
        furthest = value if code == _JUMP else max(true, false) if code & 7 == _JUMP else 0
        if at + 1 + furthest >= count and code & 7 != _RETURN:
            raise OSError(errno.EINVAL, f"instruction {at} leads out of the filter")
    return found


@lru_cache(maxsize=16)
def _steps(program: bytes) -> tuple[tuple[int, int, int, int], ...]:
    return tuple(instructions(program))


def decide(program: bytes, number: int, *, arch: int = 0, arguments: int = 0) -> int | None:
    """Return the action that a filter gives a system call with every argument ``arguments``.

    ``arch`` is an AUDIT_ARCH_* number, this machine's when 0. None: the filter has instructions that are not read here.
    Raises OSError(EINVAL) for what is no filter.
    """
    steps = _steps(program)
    low, high = arguments & 0xFFFFFFFF, arguments >> 32
    data = (number & 0xFFFFFFFF, arch or bpf.ARCHES[os.uname().machine], 0, 0, *(low, high) * 6)
    at = accumulator = 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == _RETURN:
            return value
        if code == _LOAD and value % 4 == 0 and value // 4 < len(data):
            accumulator = data[value // 4]
        elif code == _JUMP:
            at += value
        elif code == _AND:
            accumulator &= value
        elif code in _TESTS:
            at += true if _TESTS[code](accumulator, value) else false
        else:
            return None
