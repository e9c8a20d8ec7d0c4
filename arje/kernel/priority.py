"""How urgent a thread is: nice, io priority, scheduler, CPUs, OOM score. One wrapper per question.

All of these but the OOM score belong to a thread, not to its process; a new thread or process inherits them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

#: ioprio_set(2): classes by name. 0 means that nobody set one: then nice and scheduler decide.
IO_CLASSES: Final = {"realtime": 1, "best-effort": 2, "idle": 3}
#: sched(7): policies by name.
POLICIES: Final = {"other": 0, "fifo": 1, "rr": 2, "batch": 3, "idle": 5, "deadline": 6}
REAL_TIME: Final = frozenset({"fifo", "rr"})
RESET_ON_FORK: Final = 0x40000000


def io_value(kind: str, level: int) -> int:
    """Return the kernel's number of an io priority."""
    return IO_CLASSES[kind] << 13 | level


def io_text(value: int) -> str:
    """Return an io priority as a card has it: ``best-effort:4``, ``idle``; ``none`` when it was never set."""
    kind = next((name for name, number in IO_CLASSES.items() if number == value >> 13), "none")
    return f"{kind}:{value & 7}" if kind in ("realtime", "best-effort") else kind


def policy_text(number: int, priority: int) -> str:
    """Return a policy with its flag (sched_getscheduler(2)) as a card has it: ``fifo:50 reset-on-fork``, ``batch``."""
    policy = number & ~RESET_ON_FORK
    name = next((name for name, known in POLICIES.items() if known == policy), str(policy))
    flag = " reset-on-fork" if number & RESET_ON_FORK else ""
    return (f"{name}:{priority}" if name in REAL_TIME else name) + flag


class Stat(NamedTuple):
    """What /proc/PID/stat says of scheduling (proc_pid_stat(5))."""

    nice: int
    priority: int


def parse_stat(text: str) -> Stat:
    """Return the fields 19 and 40 of a text of /proc/PID/stat; the second field may hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[16]), int(fields[37]))


def threads(pid: int) -> Iterator[int]:
    """Yield the threads of a process; none when it is gone."""
    try:
        names = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - as process.table
    except (FileNotFoundError, ProcessLookupError):
        return
    yield from map(int, names)
