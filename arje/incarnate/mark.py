"""How a service's processes are known where no cgroup and no pid namespace holds them together: by a mark.

The mark is a variable of their environment, which children inherit (environ(7)). Who clears it is still known by the
session that the service's leader led, or by a parent that bears it. All of them are below this process, which is a
subreaper (prctl(2)). A walk sees what lives at one moment, so the killers here walk until nothing new is found.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from arje.kernel import process

NAME: Final = "ARJE_SERVICE"
_DYING: Final = 1.0  # seconds for killed processes to go; the kernel needs milliseconds

Judge = Callable[[int], bool]


@functools.cache
def _token() -> str:
    """This process among all that ever had its pid."""
    return f"{os.getpid()}-{process.start_time(os.getpid())}"


def of(label: str) -> str:
    """Return the value of the variable for a service of this manager."""
    return f"{_token()}/{label}"


def of_service(label: str, leader: int) -> list[int]:
    """Return the living processes of a service, parents before children. ``leader`` may have gone already."""
    mine = of(label).encode()

    def is_one(pid: int) -> bool:
        borne = _borne(pid)  # who bears another's mark has the leader's number by recycling
        return borne == mine if borne is not None else pid == leader or _in_session(pid, leader)

    return _below(is_one)


def sweep(label: str, leader: int) -> tuple[int, str]:
    """Kill what is left of a service until nothing is. Returns how many went, and why one could not be killed."""
    return _kill_all(lambda: of_service(label, leader))


def sweep_all(spare: Iterable[int] = (), courtesy: float = 0.0) -> tuple[int, str]:
    """Kill every process below this one but ``spare`` and what is below those. Returns what :func:`sweep` does.

    ``courtesy``: seconds between a TERM to all of them and the KILL.
    """
    spared = frozenset(spare)

    def left() -> list[int]:
        return _below(lambda pid: True, spared)

    if courtesy:
        _tell_all(left(), courtesy)
    return _kill_all(left)


def _tell_all(pids: list[int], seconds: float) -> None:
    """Send TERM, and wait until all have gone or the time is over; somebody else reaps them."""
    end = time.monotonic() + seconds
    fds = []
    try:
        for pid in pids:
            with contextlib.suppress(OSError):
                fds.append(fd := os.pidfd_open(pid))
                signal.pidfd_send_signal(fd, signal.SIGTERM)
                signal.pidfd_send_signal(fd, signal.SIGCONT)
        for fd in fds:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(0.0, end - time.monotonic()) * 1000)
    finally:
        for fd in fds:
            os.close(fd)


def children() -> list[int]:
    """Return the pids right below this process."""
    return [pid for pid, parent in process.table().items() if parent == os.getpid()]


def refusal(pid: int) -> str:
    """Say why a process cannot be signalled."""
    try:
        return f"cannot be signalled: it runs as uid {process.status(pid)['Uid'].split()[0]}"
    except (OSError, KeyError):
        return "cannot be signalled"


def _below(is_one: Judge, spared: frozenset[int] = frozenset()) -> list[int]:
    """Return the living processes below this one that a judge picks, and all that is below them."""
    children: dict[int, list[int]] = {}
    for pid, parent in process.table().items():
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [(os.getpid(), False)]
    while waiting:
        parent, picked = waiting.pop(0)
        for pid in children.get(parent, ()):
            if pid in spared:
                continue
            one = picked or is_one(pid)
            waiting.append((pid, one))
            if one and _lives(pid):
                found.append(pid)
    return found


def _borne(pid: int) -> bytes | None:
    """Return the mark that a process bears; None for none, for another user's process and for one that is gone."""
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == NAME.encode():
                return value
    return None


def _in_session(pid: int, leader: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getsid(pid) == leader
    return False


def _lives(pid: int) -> bool:
    try:
        return process.status(pid)["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False


def _kill_all(look: Callable[[], list[int]]) -> tuple[int, str]:
    killed, stays, why = 0, set[int](), ""
    while found := [pid for pid in look() if pid not in stays]:
        for pid in found:
            if reason := _kill(pid):
                stays.add(pid)
                why = reason
            else:
                killed += 1
    return killed, why


def _kill(pid: int) -> str:
    """Kill a process and wait for its end. Returns why it is still there."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return ""
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        end = time.monotonic() + _DYING
        while not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            if time.monotonic() >= end:
                return "does not die"
    except ProcessLookupError:
        pass
    except PermissionError:
        return refusal(pid)
    finally:
        os.close(fd)
    return ""
