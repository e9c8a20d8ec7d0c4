"""What a set of processes uses: the counters of its cgroup where the kernel keeps them, else the sum over its processes.

cgroup v2 (kernel: admin-guide/cgroup-v2) counts for all that ever lived in the cgroup: ``cpu.stat`` always, the others
where their controller is handed down. Without one, /proc is summed over those who live now (proc(5)): what an ended
process has used is in its parent's figures only if that waited for it. What the kernel tells of children that were reaped
(getrusage(2)) is the third source. Each figure says from which it is.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CGROUP: Final = "cgroup"
PROC: Final = "proc"
RUSAGE: Final = "rusage"
_PAGE: Final = resource.getpagesize()
_TICKS: Final = os.sysconf("SC_CLK_TCK")

ReadFile = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Figures, None where nothing tells them: bytes, seconds of processor time, numbers. ``sources``: figure → source."""

    memory: int | None = None
    memory_peak: int | None = None
    swap: int | None = None
    cpu_user: float | None = None
    cpu_system: float | None = None
    io_read: int | None = None
    io_write: int | None = None
    tasks: int | None = None
    oom_kills: int | None = None
    net_received: int | None = None
    net_sent: int | None = None
    sources: dict[str, str] = field(default_factory=dict)


Figures = dict[str, int | float]


def usage(*found: tuple[str, Figures]) -> Usage:
    """Return the figures of several sources, each from the first that has it."""
    figures: Figures = {}
    sources: dict[str, str] = {}
    for source, some in found:
        for name, value in some.items():
            if name not in figures:
                figures[name], sources[name] = value, source
    return Usage(**figures, sources=sources)  # type: ignore[arg-type]  # the names are those of the fields


def of_cgroup(read: ReadFile, *, ended: bool = False) -> Figures:
    """Return what the files of a cgroup tell; ``read`` returns the text of one, None when it is not there.

    ``ended``: what only those who live use is not asked for.
    """
    found: Figures = {}
    for file, name in _NUMBERS.items():
        if ended and name in _OF_LIVING:
            continue
        if (text := read(file)) is not None and text.isdigit():
            found[name] = int(text)
    for file, names in _KEYED.items():
        for line in (read(file) or "").splitlines():
            key, _, value = line.partition(" ")
            if key in names and value.isdigit():
                name, unit = names[key]
                found[name] = int(value) * unit
    if (text := read("io.stat")) is not None:
        found |= _io(text)
    if not ended and "tasks" not in found and (text := read("cgroup.threads")):
        found["tasks"] = len(text.split())  # without the pids controller
    return found


_NUMBERS: Final = {
    "memory.current": "memory",
    "memory.peak": "memory_peak",
    "memory.swap.current": "swap",
    "pids.current": "tasks",
}
_OF_LIVING: Final = frozenset({"memory", "swap", "tasks"})
_KEYED: Final[dict[str, dict[str, tuple[str, int | float]]]] = {
    "cpu.stat": {"user_usec": ("cpu_user", 1e-6), "system_usec": ("cpu_system", 1e-6)},
    "memory.events": {"oom_kill": ("oom_kills", 1)},
}


def _io(text: str) -> Figures:
    """Sum ``8:0 rbytes=1 wbytes=2 …`` over the devices."""
    found: Figures = {"io_read": 0, "io_write": 0}
    for line in text.splitlines():
        pairs = dict(word.partition("=")[::2] for word in line.split()[1:])
        found["io_read"] += int(pairs.get("rbytes", 0))
        found["io_write"] += int(pairs.get("wbytes", 0))
    return found


def of_processes(pids: Iterable[int], proc: Path = Path("/proc")) -> Figures:
    """Return the sum over processes that live now. Memory is what is resident: shared pages count in each of them."""
    total: Figures = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for name, value in _of_process(proc / str(pid)).items():
                total[name] = total.get(name, 0) + value
    return total


@dataclass(frozen=True, slots=True)
class Share:
    """What one process uses: bytes that are resident, seconds of its own processor time. ``uid`` is the effective one."""

    uid: int
    state: str
    threads: int
    memory: int
    cpu: float


def of_process(pid: int, proc: Path = Path("/proc")) -> Share | None:
    """Return what a process uses; None when it has gone."""
    place = proc / str(pid)
    try:
        fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
        uid = place.stat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Share(uid, fields[0], int(fields[17]), max(0, int(fields[21])) * _PAGE, cpu)


def _of_process(place: Path) -> Figures:
    fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
    user, system, children_user, children_system = (int(text) for text in fields[11:15])
    found: Figures = {
        "cpu_user": (user + children_user) / _TICKS,
        "cpu_system": (system + children_system) / _TICKS,
        "tasks": int(fields[17]),
        "memory": max(0, int(fields[21])) * _PAGE,
    }
    for line in (place / "status").read_text(errors="replace").splitlines():
        if line.startswith("VmSwap:"):
            found["swap"] = int(line.split()[1]) * 1024
    with contextlib.suppress(PermissionError, FileNotFoundError):  # not ours to see (ptrace(2)), or not counted at all
        pairs = dict(line.partition(": ")[::2] for line in (place / "io").read_text().splitlines())
        found |= {"io_read": int(pairs["read_bytes"]), "io_write": int(pairs["write_bytes"])}
    return found


def of_network(pid: int, proc: Path = Path("/proc")) -> Figures:
    """Return the bytes that a process's network namespace has received and sent, but for lo; nothing when it is ours."""
    found: Figures = {"net_received": 0, "net_sent": 0}
    try:
        if os.readlink(proc / str(pid) / "ns/net") == os.readlink(proc / "self/ns/net"):
            return {}
        lines = (proc / str(pid) / "net/dev").read_text().splitlines()
    except OSError:
        return {}
    for line in lines[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            numbers = counters.split()
            found["net_received"] += int(numbers[0])
            found["net_sent"] += int(numbers[8])
    return found


def of_rusage(used: resource.struct_rusage) -> Figures:
    """Return what the kernel tells of a reaped child, and of those that it had waited for. A block is 512 bytes."""
    return {
        "cpu_user": used.ru_utime,
        "cpu_system": used.ru_stime,
        "memory_peak": used.ru_maxrss * 1024,
        "io_read": used.ru_inblock * 512,
        "io_write": used.ru_oublock * 512,
    }
