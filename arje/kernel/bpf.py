"""Filters over system calls for this machine's own architecture, as short as they can be: a search among ranges.

libseccomp makes two instructions of each call, and the kernel runs a new filter for every call that there is, and compiles
it: 0.15 ms per start for the usual list. Neighbours with the same action are one range here. Classic BPF, bpf(4) of the
kernel's networking/filter; what may stand in a filter is seccomp(2)'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

#: AUDIT_ARCH_* by machine (linux/audit.h).
ARCHES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _RETURN, _JUMP, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST = 0x20, 0x06, 0x05, 0x15, 0x35
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_X32: Final = 0x40000000  # the bit that x32 numbers have, beside x86-64's architecture
_SKIPPED: Final = 0xFFFFFFFF  # a tracer's word for a call that is left out; no architecture's

Instruction = tuple[int, int, int, int]


def own(rules: Iterable[tuple[int, int]], *, default: int, foreign: int, machine: str) -> bytes:
    """Return the filter that gives each numbered call its action, other calls ``default``, other ABIs' ``foreign``.

    Raises KeyError for a machine that is not known.
    """
    actions = {number: action for number, action in rules if number >= 0}
    starts = _ranges(actions, default)
    if machine == "x86_64":
        starts += [(_X32, foreign), (_SKIPPED, default)]
    merged = [pair for before, pair in zip([(0, None), *starts], starts, strict=False) if before[1] != pair[1]]
    check: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_IF_EQUAL, 1, 0, ARCHES[machine]),
        (_RETURN, 0, 0, foreign),
        (_LOAD, 0, 0, _NUMBER),
    ]
    return b"".join(struct.pack("=HBBI", *one) for one in (*check, *_search(merged)))


def _ranges(actions: dict[int, int], default: int) -> list[tuple[int, int]]:
    """Return (first number, action) of each range, from 0 on, in order."""
    edges = sorted({0, *actions, *(number + 1 for number in actions)})
    return [(edge, actions.get(edge, default)) for edge in edges]


def _search(ranges: list[tuple[int, int]]) -> list[Instruction]:
    """Find the range that the accumulator is in. A conditional jump reaches 255 instructions, the other any."""
    if len(ranges) == 1:
        return [(_RETURN, 0, 0, ranges[0][1])]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    value = ranges[middle][0]
    if len(below) <= 255:
        return [(_JUMP_IF_AT_LEAST, len(below), 0, value), *below, *above]
    return [(_JUMP_IF_AT_LEAST, 0, 1, value), (_JUMP, 0, 0, len(below)), *below, *above]
