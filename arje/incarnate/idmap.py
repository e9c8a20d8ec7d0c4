"""Writing a user namespace's maps from outside (user_namespaces(7)): each file once, gid before uid.

A privileged manager writes any line. An ordinary user writes one line for itself with setgroups denied, and ranges
through newuidmap(1) and newgidmap(1), which know /etc/subuid.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator

from arje import native
from arje.card.soma import IdMap
from arje.kernel import helper, powers, process


@contextlib.contextmanager
def target(pid: int, *, parent: int | None) -> Iterator[int]:
    """Lend a descriptor of /proc/PID, so that a number that was recycled meanwhile is never written to.

    ``parent`` is the child of ours that ``pid`` must be below, None for a child of ours, whose number is safe until it is
    reaped. Raises OSError: ProcessLookupError when ``pid`` is somebody else's by now.
    """
    directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if parent is not None and f"\nPPid:\t{parent}\n".encode() not in _read(directory, "status"):
            raise ProcessLookupError(errno.ESRCH, "the child is gone")
        yield directory
    finally:
        os.close(directory)


def is_direct(lines: tuple[IdMap, ...], own: int) -> bool:
    """Whether an ordinary user writes this map itself: one line for one id, its own (user_namespaces(7))."""
    return len(lines) == 1 and lines[0].outside == own and lines[0].count == 1


@functools.cache
def _maps_any() -> bool:
    return powers.both_bits(int(process.status("self")["CapEff"], 16))


def write(
    spawner: native.Spawner, pid: int, directory: int, uid_map: tuple[IdMap, ...], gid_map: tuple[IdMap, ...]
) -> None:
    """Write both maps of the namespace that a process is in; ``directory`` is its :func:`target`. Raises OSError.

    Groups are denied to whoever maps its own group itself; newgidmap(1) leaves them to whoever has a range of them.
    """
    for name, lines, own, helper_name in (
        ("gid_map", gid_map, os.getegid(), "newgidmap"),
        ("uid_map", uid_map, os.geteuid(), "newuidmap"),
    ):
        if _maps_any() or is_direct(lines, own):
            if name == "gid_map" and not _maps_any():
                _write(directory, "setgroups", "deny")
            _write(directory, name, text(lines))
        else:
            _by_helper(spawner, helper_name, pid, lines)


def text(lines: tuple[IdMap, ...]) -> str:
    """Return the lines as a map's file wants them."""
    return "".join(f"{line.inside} {line.outside} {line.count}\n" for line in lines)


def _read(directory: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, 4096)  # of status, what is wanted is among the first
    finally:
        os.close(fd)


def _write(directory: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())  # one write: a map is taken whole or not at all
    finally:
        os.close(fd)


def _by_helper(spawner: native.Spawner, name: str, pid: int, lines: tuple[IdMap, ...]) -> None:
    words = [str(pid), *(str(number) for line in lines for number in (line.inside, line.outside, line.count))]
    done = helper.run(spawner, name, words)
    if done.status != 0:
        raise PermissionError(1, done.said or f"{name} {' '.join(words)} refused")
