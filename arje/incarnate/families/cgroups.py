"""The service's cgroup: its limits in the words of cgroup v2's files, and whom it belongs to.

Limits are written before anything enters, so they hold from the first instruction on. Everything is read back from the
files themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje.card.devices import IoMax
from arje.card.limits import CgroupLimits
from arje.card.soma import IdMap, Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader
from arje.kernel.capabilities import CGROUP_FILES
from arje.kernel.cgroup import DELEGATED, Cgroup

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final = frozenset({"cgroup.delegate"})  # a service that makes cgroups does not run without
SHOWN_BY: Final[dict[str, str]] = {}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}
READ: Final[dict[str, Reader]] = {}
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # memory.max and its kind are rounded down to pages
_MOST: Final = 2**63 - 1  # from here on the kernel says "max"
_MEMORY: Final = frozenset({"memory_max", "memory_high", "memory_low", "memory_min", "memory_swap_max"})


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the cgroup, its limits, and its delegation."""
    if soma.cgroup is None:
        return
    yield Wish("cgroup", "own cgroup", "soma.cgroup")
    yield from limits(soma.cgroup)
    if soma.cgroup.delegate:
        yield Wish("cgroup.delegate", "it belongs to the service's user", "soma.cgroup.delegate")


def limits(asked: CgroupLimits) -> Iterator[Wish]:
    """Yield the limits that are asked for."""
    for name in CGROUP_FILES:
        value = getattr(asked, name)
        if value is not None and value != ():
            text = "; ".join(map(str, value)) if name == "io_max" else _word(value)
            yield Wish(f"cgroup.{name}", text, f"soma.cgroup.{name}")


def _word(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield what contradicts itself."""
    asked = soma.cgroup
    if asked and asked.cpu_idle and asked.cpu_weight is not None:
        yield Nonsense("soma.cgroup.cpu_weight", "an idle cgroup has no weight", "remove it, or cpu_idle")


# -- writing -----------------------------------------------------------------------------------------------------------


def write(group: Cgroup, asked: CgroupLimits, name: str) -> None:
    """Write one limit. Raises OSError."""
    file, value = CGROUP_FILES[name][1], getattr(asked, name)
    if name != "io_max":
        return group.write(file, text_of(name, value))
    for line in value:
        group.write(file, f"{device_number(line.device)} {' '.join(f'{k}={v}' for k, v in line.limits.items())}")
    return None


def text_of(name: str, value: object) -> str:
    """Return a limit as the cgroup file has it (cpu.max in percent becomes quota and period in microseconds)."""
    text = _word(value)
    if name == "cpu_max" and text.endswith("%"):
        return f"{round(float(text[:-1]) * 1000)} 100000"
    if name == "cpu_max" and " " not in text:
        return f"{text} 100000"
    return text


def device_number(device: str) -> str:
    """Return ``MAJOR:MINOR`` of a block device. Raises OSError."""
    if not device.startswith("/"):
        return device
    number = Path(device).stat().st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def outside(plan: Blueprint) -> tuple[int, int]:
    """Return uid and gid of the payload as the host sees them."""
    who = plan.credentials
    if who is None:
        return os.geteuid(), os.getegid()
    return _mapped(who.uid, plan.uid_map), _mapped(who.gid, plan.gid_map)


def _mapped(number: int, lines: tuple[IdMap, ...]) -> int:
    line = next((line for line in lines if line.inside <= number < line.inside + line.count), None)
    return line.outside + number - line.inside if line else number


# -- reading back ------------------------------------------------------------------------------------------------------


def read(group: Cgroup | None, plan: Blueprint, wish: Wish) -> Answer:
    """Return what the cgroup's files say about one wish."""
    if group is None or plan.soma.cgroup is None:
        return Answer("", False)
    if wish.feature == "cgroup":
        return Answer(str(group.path), True)
    if wish.feature == "cgroup.delegate":
        return _delegated(group, *outside(plan))
    return read_limit(group, plan.soma.cgroup, wish.feature.removeprefix("cgroup."))


def read_limit(group: Cgroup, asked: CgroupLimits, name: str) -> Answer:
    """Return what the file of one limit says, and whether it is what was asked for."""
    value = getattr(asked, name)
    try:
        if name in ("cpuset", "cpuset_mems"):  # what is effective: an outer cgroup may allow less
            granted = group.read(f"{CGROUP_FILES[name][1]}.effective")
            return Answer(granted, numbers_of(granted) == numbers_of(value))
        granted = group.read(CGROUP_FILES[name][1])
        if name == "io_max":
            return _io_max(granted, value)
    except OSError:
        return Answer("", False)
    granted = granted.partition("\n")[0].removeprefix("default ")
    return Answer(granted, granted == (_pages(value) if name in _MEMORY else text_of(name, value)))


def _pages(value: int | str) -> str:
    if isinstance(value, str) or value // _PAGE >= _MOST // _PAGE:
        return "max"
    return str(value // _PAGE * _PAGE)


def _io_max(granted: str, asked: tuple[IoMax, ...]) -> Answer:
    """A device without any limit has no line."""
    found = {line.split()[0]: dict(word.split("=") for word in line.split()[1:]) for line in granted.splitlines()}
    told, ok = [], True
    for line in asked:
        limits = found.get(device_number(line.device), {})
        shown = {name: limits.get(name, "max") for name in line.limits}
        told.append(" ".join((line.device, *(f"{name}={value}" for name, value in shown.items()))))
        ok = ok and shown == line.limits
    return Answer("; ".join(told), ok)


def _delegated(group: Cgroup, uid: int, gid: int) -> Answer:
    try:
        found = [os.stat(group.path / name) for name in ("", *DELEGATED)]
    except OSError:
        return Answer("", False)
    owners = {(each.st_uid, each.st_gid) for each in found}
    return Answer(" ".join(f"uid {u} gid {g}" for u, g in sorted(owners)), owners == {(uid, gid)})


def numbers_of(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-3,5`` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
