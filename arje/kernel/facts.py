"""What one process is, in the kernel's own words: texts of /proc (proc(5)), parsed when somebody asks.

The texts come from the process itself, right before it became its payload (``native.FACTS``), or are read from outside.
The first is the better witness: a payload may change its umask, limits or session at once, or end.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from functools import cached_property, lru_cache
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from arje.kernel import process, rtnetlink

#: Kinds of namespace to the links that say which one a process will run in. CLONE_NEWTIME takes effect at execve.
_LINKS = {kind: f"ns/{name}" for kind, name in process.NAMESPACE_FILES.items()} | {"time": "ns/time_for_children"}
_FILES = ("status", "limits", "uid_map", "gid_map", "mountinfo", "timens_offsets")


class Mount(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5)): ``root`` is what of the file system is seen at ``point``.

    ``device`` is the file system's number (``0:42``): a new instance has a new one. ``options`` are those of this mount,
    ``super_options`` those of the file system (``size=65536k``, ``hidepid=invisible``).
    """

    device: str
    point: str
    root: str
    options: frozenset[str]
    kind: str
    source: str
    super_options: frozenset[str] = frozenset()


class Facts:
    """The facts of one process. A fact that was not told raises KeyError."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    @classmethod
    def of_report(cls, data: bytes) -> Facts:
        """Return the facts of a child's report: name, NUL, text, NUL, and so on; pieces of one name belong together."""
        pieces = os.fsdecode(data).split("\0")
        texts: dict[str, str] = {}
        for name, text in zip(pieces[::2], pieces[1::2], strict=False):
            texts[name] = texts.get(name, "") + text
        return cls(texts)

    @classmethod
    def of_process(cls, pid: int | str) -> Facts:
        """Read them from outside. Raises FileNotFoundError, ProcessLookupError when the process is gone or ending."""
        texts = {name: Path(f"/proc/{pid}/{name}").read_text(errors="surrogateescape") for name in _FILES}
        if "\nUmask:" not in texts["status"] or "\nState:\tZ" in texts["status"] or "\nState:\tX" in texts["status"]:
            raise ProcessLookupError(3, "the process is ending")  # it has no file system context any more
        texts |= {link: os.readlink(f"/proc/{pid}/{link}") for link in (*_LINKS.values(), "cwd")}
        return cls(texts)

    @classmethod
    def of_now(cls) -> Facts:
        """Return the manager's own mounts as they are now, and nothing else."""
        return cls({"mountinfo": Path("/proc/self/mountinfo").read_text(errors="surrogateescape")})

    @cached_property
    def status(self) -> dict[str, str]:
        """The fields of status, values stripped."""
        return process.parse_status(self.texts["status"])

    def field(self, name: str) -> str:
        """Return one field of status, value stripped: for who needs no other, a tenth of the price. Raises KeyError."""
        _, found, rest = f"\n{self.texts['status']}".partition(f"\n{name}:")
        if not found:
            raise KeyError(name)
        return rest.partition("\n")[0].strip()

    @cached_property
    def limits(self) -> tuple[tuple[int, int], ...]:
        """Soft and hard limits, indexed by RLIMIT_*; infinity is 2**64-1."""
        return process.parse_limits(self.texts["limits"])

    @cached_property
    def namespaces(self) -> dict[str, str]:
        """The namespaces by kind: ``{"mount": "mnt:[4026531841]", …}``; kinds that the kernel lacks are left out."""
        return _namespaces(tuple(self.texts.get(link, "") for link in _LINKS.values()))

    def id_map(self, which: str) -> tuple[tuple[int, int, int], ...]:
        """The lines of ``uid_map`` or ``gid_map``: (inside, outside, count)."""
        return process.parse_id_map(self.texts[which])

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """Every mount that the process sees, in the order in which they were made."""
        return _mounts(self.texts["mountinfo"])

    def place_of(self, path: str) -> tuple[str, str]:
        """Return (device, path inside that file system) of a path, by the mount that covers it. Raises OSError."""
        return self._place_at(os.path.realpath(path, strict=True))

    def is_at(self, path: str, place: tuple[str, str]) -> bool:
        """Whether a path is there (:meth:`place_of`). Files are touched only when its very words are elsewhere.

        That is for symlinks; a mount that has died meanwhile holds nobody up else. Raises OSError.
        """
        return self._place_at(os.path.normpath(path)) == place or self.place_of(path) == place

    def _place_at(self, real: str) -> tuple[str, str]:
        point = real
        while point not in self._line_at and point != "/":
            point = point.rpartition("/")[0] or "/"
        mount = _mount(self._line_at[point])
        inside = os.path.relpath(real, mount.point)
        return mount.device, os.path.normpath(os.path.join(mount.root, inside))  # noqa: PTH118 - texts, not files

    def mounts_below(self, point: str) -> tuple[Mount, ...]:
        """Return the mounts at and below a mount point that can be reached: nothing is mounted over them."""
        at = [point] if point in self._line_at and point != "/" else []
        below = f"{point.rstrip('/')}/"
        first = bisect_left(self._points, below)
        inside = takewhile(lambda place: place.startswith(below), islice(self._points, first, None))
        return tuple(_mount(self._line_at[place]) for place in (*at, *inside) if not self._is_covered(place))

    def _is_covered(self, point: str) -> bool:
        """Whether the mount at a point lies on something else than what is seen above it now."""
        if point == "/":  # nothing is above it; an initramfs is its own parent (proc_pid_mountinfo(5))
            return False
        parent = self._line_at[point].split(" ", 2)[1]
        while (line := self._line_of.get(parent)) is not None and process.unescape(line.split(" ", 5)[4]) == point:
            parent = line.split(" ", 2)[1]  # stacked at the same point
        above = point
        while above != "/":
            above = above.rpartition("/")[0] or "/"
            if above in self._line_at:
                return self._line_at[above].split(" ", 1)[0] != parent
        return False

    @cached_property
    def _line_of(self) -> dict[str, str]:
        """Mount id → its line."""
        return {line.split(" ", 1)[0]: line for line in self.texts["mountinfo"].splitlines()}

    def mount_at(self, point: str) -> Mount | None:
        """Return the mount that covers a mount point, the last one when several are stacked; None when none is there."""
        line = self._line_at.get(point)
        return _mount(line) if line is not None else None

    @cached_property
    def _line_at(self) -> dict[str, str]:
        """The last line of mountinfo for each mount point: most of them nobody asks for, so they are not taken apart."""
        return {process.unescape(line.split(" ", 5)[4]): line for line in self.texts["mountinfo"].splitlines()}

    @cached_property
    def _points(self) -> list[str]:
        return sorted(self._line_at)

    @cached_property
    def devices(self) -> frozenset[str]:
        """The numbers of all file systems that are mounted there."""
        return frozenset(line.split(" ", 3)[2] for line in self.texts["mountinfo"].splitlines())

    @property
    def now(self) -> Facts:
        """The manager's mounts at this moment; own.py has a faster way. Raises OSError."""
        return Facts.of_now()

    @cached_property
    def links(self) -> tuple[rtnetlink.Link, ...]:
        """The network devices of its namespace."""
        return rtnetlink.links(bytes.fromhex(self.texts["links"]))

    @cached_property
    def addresses(self) -> tuple[rtnetlink.Address, ...]:
        """Their addresses, but for those that each device has by itself (fe80::)."""
        return rtnetlink.addresses(bytes.fromhex(self.texts["addresses"]))

    @cached_property
    def ways(self) -> tuple[rtnetlink.Way, ...]:
        """The routes of the main table."""
        return rtnetlink.ways(bytes.fromhex(self.texts["routes"]))

    @property
    def time_offsets(self) -> dict[str, float]:
        """The offsets of the clocks in seconds: ``{"monotonic": 1.5, "boottime": 0.0}``."""
        lines = (line.split() for line in self.texts["timens_offsets"].splitlines())
        return {clock: int(seconds) + int(nanoseconds) / 1e9 for clock, seconds, nanoseconds in lines}


@lru_cache(maxsize=64)
def _namespaces(texts: tuple[str, ...]) -> dict[str, str]:
    """One answer for all processes that are in the same ones: every incarnation keeps its own for as long as it lives."""
    return {kind: text for kind, text in zip(_LINKS, texts, strict=True) if text}


@lru_cache(maxsize=8)
def _mounts(text: str) -> tuple[Mount, ...]:
    return tuple(_mount(line) for line in text.splitlines())


def _mount(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    fields, (kind, source, *more) = left.split(" "), right.split(" ")
    plain = process.unescape
    options = frozenset(fields[5].split(","))
    of_all = frozenset(more[-1].split(",")) if more else frozenset()
    return Mount(fields[2], plain(fields[4]), plain(fields[3]), options, kind, plain(source), of_all)
