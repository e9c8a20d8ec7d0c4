"""Facts of a running process, read from /proc (proc(5)). Read only.

A pid may be recycled between two reads; callers hold the process's pidfd, and compare :func:`start_time` where it matters.
Every function raises ``ProcessLookupError`` or ``FileNotFoundError`` when the process is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Kinds of namespace by the names that cards use, to the names of /proc/PID/ns.
NAMESPACE_FILES = {
    "mount": "mnt",
    "pid": "pid",
    "net": "net",
    "uts": "uts",
    "ipc": "ipc",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}

#: The lines of /proc/PID/limits, in the order of RLIMIT_* (getrlimit(2)).
_LIMIT_LINES = (
    "Max cpu time",
    "Max file size",
    "Max data size",
    "Max stack size",
    "Max core file size",
    "Max resident set",
    "Max processes",
    "Max open files",
    "Max locked memory",
    "Max address space",
    "Max file locks",
    "Max pending signals",
    "Max msgqueue size",
    "Max nice priority",
    "Max realtime priority",
    "Max realtime timeout",
)


class Process(NamedTuple):
    """One line of a process tree."""

    pid: int
    ppid: int
    command: str


def namespaces(pid: int | str) -> dict[str, str]:
    """Return the namespaces of a process by kind: ``{"mount": "mnt:[4026531841]", …}``; unreadable kinds are left out."""
    found = {}
    for kind, name in NAMESPACE_FILES.items():
        try:
            found[kind] = os.readlink(f"/proc/{pid}/ns/{name}")
        except PermissionError:
            continue
    return found


def status(pid: int | str) -> dict[str, str]:
    """Return the fields of /proc/PID/status, values stripped (``{"Umask": "0022", "SigBlk": "0…", …}``)."""
    return parse_status(Path(f"/proc/{pid}/status").read_text(errors="replace"))


def status_text(pid: int, *, parent: tuple[int, ...]) -> str:
    """Return /proc/PID/status of a process that is executing, a child of one of ``parent``.

    Raises ProcessLookupError when it ended, or when its pid belongs to somebody else by now.
    """
    text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    found = parse_status(text)
    if found["State"][:1] in "ZX" or int(found["PPid"]) not in parent:
        raise ProcessLookupError(3, "the process has ended")
    return text


def parse_status(text: str) -> dict[str, str]:
    """Return the fields of a text of /proc/PID/status."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def limits(pid: int | str) -> tuple[tuple[int, int], ...]:
    """Return the soft and hard limits of a process, indexed by RLIMIT_*; infinity is 2**64-1."""
    return parse_limits(Path(f"/proc/{pid}/limits").read_text())


def parse_limits(text: str) -> tuple[tuple[int, int], ...]:
    """Return the limits of a text of /proc/PID/limits."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines()[1:]:
        soft, hard = line[26:].split()[:2]
        found[line[:26].strip()] = (_limit(soft), _limit(hard))
    return tuple(found[name] for name in _LIMIT_LINES)


def _limit(text: str) -> int:
    return 2**64 - 1 if text == "unlimited" else int(text)


def id_map(pid: int | str, which: str) -> tuple[tuple[int, int, int], ...]:
    """Return the lines of /proc/PID/uid_map or gid_map (``which``): (inside, outside, count)."""
    return parse_id_map(Path(f"/proc/{pid}/{which}").read_text())


def parse_id_map(text: str) -> tuple[tuple[int, int, int], ...]:
    """Return the lines of a text of /proc/PID/uid_map or gid_map."""
    return tuple((int(a), int(b), int(c)) for a, b, c in (line.split() for line in text.splitlines()))


def unescape(text: str) -> str:
    """Return a path of /proc/PID/mountinfo as it is: octal escapes stand for space, tab, newline and backslash."""
    if "\\" not in text:
        return text
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text


def cgroup(pid: int | str) -> str:
    """Return the path of a process in the cgroup v2 hierarchy (``/`` when it is in none)."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def _stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on; the second may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot: with the pid it names a process for good."""
    return int(_stat(pid)[19])


def command(pid: int) -> str:
    """Return the command line of a process with spaces between the words, or ``[name]`` when it has none."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    if words:
        return words.decode(errors="replace")
    return f"[{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()}]"


def table() -> dict[int, int]:
    """Return pid → parent's pid of every process that is there now."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - a hundred Path objects per walk are waste
        if name.isdigit():
            try:
                found[int(name)] = int(_stat(name)[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def descendants(root: int) -> Iterator[int]:
    """Yield the pids below a process, parents before children; the process itself is not among them."""
    children: dict[int, list[int]] = {}
    for pid, parent in table().items():
        children.setdefault(parent, []).append(pid)
    waiting = [root]
    while waiting:
        for child in sorted(children.get(waiting.pop(0), [])):
            yield child
            waiting.append(child)


def tree(pids: list[int]) -> tuple[Process, ...]:
    """Return those of the processes that still live, with parents and command lines."""
    found = []
    for pid in pids:
        try:
            found.append(Process(pid, int(_stat(pid)[1]), command(pid)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return tuple(found)
