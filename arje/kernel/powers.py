"""What this process may do itself, and which ids are its to give: capabilities(7), credentials(7), subuid(5)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from arje.kernel import identity, process, raises

#: (first, count) of ids in a row.
Ranges = tuple[tuple[int, int], ...]

SETGID: Final = 6
SETUID: Final = 7
SETPCAP: Final = 8
SYS_ADMIN: Final = 21
SYS_RESOURCE: Final = 24
_CPU_SETSIZE: Final = 1024  # glibc's cpu_set_t
#: Whose subordinate ids a manager that is root uses: the first of these names that has any.
_OF_ROOT: Final = ("arje", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """The manager's own rights, read once.

    ``permitted`` and ``bounding`` are bits of capabilities, ``last`` is the highest that the kernel knows. ``uids`` and
    ``gids`` are those that exist in its user namespace, ``sub_uids`` and ``sub_gids`` those that /etc gives it.
    """

    last: int
    permitted: int
    bounding: int
    uids: Ranges
    gids: Ranges
    sub_uids: Ranges
    sub_gids: Ranges
    owner: str
    """Whose subordinate ids they are."""
    groups_denied: bool
    """setgroups(2) is denied in its user namespace, and so in those below (user_namespaces(7))."""
    uid: int = field(default_factory=os.geteuid)
    gid: int = field(default_factory=os.getegid)
    groups: tuple[int, ...] = field(default_factory=lambda: tuple(os.getgroups()))
    limits: Ranges = field(default_factory=lambda: process.limits("self"))
    """Its own soft and hard limits, indexed by RLIMIT_*: its children's when their cards say nothing."""
    nr_open: int = field(default_factory=raises.nr_open)
    nice: int = field(default_factory=lambda: os.getpriority(os.PRIO_PROCESS, 0))
    oom_score_adj: int = field(default_factory=raises.own_oom_score_adj)
    cpus: tuple[int, ...] = field(default_factory=lambda: _cpus())
    """Those that the machine and an outer cpuset leave to its children (sched_setaffinity(2))."""

    @classmethod
    def detect(cls, subuid: str = "/etc/subuid", subgid: str = "/etc/subgid") -> Powers:
        """Read them. Raises OSError without /proc."""
        status = process.status("self")
        permitted = int(status["CapEff"], 16)
        owner, sub_uids, sub_gids = _subordinate(subuid, subgid, both_bits(permitted))
        return cls(
            last=int(Path("/proc/sys/kernel/cap_last_cap").read_text()),
            permitted=permitted,
            bounding=int(status["CapBnd"], 16),
            uids=tuple((inside, count) for inside, _, count in process.id_map("self", "uid_map")),
            gids=tuple((inside, count) for inside, _, count in process.id_map("self", "gid_map")),
            sub_uids=sub_uids,
            sub_gids=sub_gids,
            owner=owner,
            groups_denied=_setgroups() == "deny",
        )

    def has(self, number: int) -> bool:
        """Whether it has a capability."""
        return bool(self.permitted >> number & 1)

    @property
    def maps_any(self) -> bool:
        """Whether it may write any line into the maps of a user namespace below its own (user_namespaces(7))."""
        return both_bits(self.permitted)

    @property
    def sets_groups(self) -> bool:
        """Whether it may change supplementary groups (setgroups(2))."""
        return self.has(SETGID) and not self.groups_denied


def both_bits(permitted: int) -> bool:
    """Whether CAP_SETUID and CAP_SETGID are there."""
    return permitted >> SETUID & permitted >> SETGID & 1 == 1


def _cpus() -> tuple[int, ...]:
    """Ask for all: what the kernel makes of it is all that there are. This thread's own are put back."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, range(_CPU_SETSIZE))
        return tuple(sorted(os.sched_getaffinity(0)))
    except OSError:  # a filter over us
        return tuple(sorted(before))
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)


def _setgroups() -> str:
    try:
        return Path("/proc/self/setgroups").read_text().strip()
    except FileNotFoundError:
        return ""


def _subordinate(subuid: str, subgid: str, privileged: bool) -> tuple[str, Ranges, Ranges]:
    """Return whose they are, and the ranges in order, without those that are there twice."""
    uid = os.getuid()
    names = _OF_ROOT if privileged else (identity.name_of(uid),)
    for name in names:
        also = {name, str(uid)} if name == identity.name_of(uid) else {name}
        uids, gids = identity.sub_ids_of(subuid, also), identity.sub_ids_of(subgid, also)
        if uids and gids:
            return name, merged(uids), merged(gids)
    return names[-1], (), ()


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same ids in the fewest ranges, in order."""
    found: list[tuple[int, int]] = []
    for first, count in sorted(ranges):
        if count <= 0:
            continue
        if found and first <= sum(found[-1]):
            before = found.pop()
            first, count = before[0], max(sum(before), first + count) - before[0]
        found.append((first, count))
    return tuple(found)


def holds(ranges: Ranges, first: int, count: int) -> bool:
    """Whether every id of a row is in one of the ranges."""
    return any(start <= first and first + count <= start + length for start, length in merged(ranges))


def words(ranges: Ranges) -> str:
    """Return ranges for people: ``100000 to 165535, 5``."""
    return (
        ", ".join(str(first) if count == 1 else f"{first} to {first + count - 1}" for first, count in ranges) or "none"
    )
