"""Whether newuidmap(1) and newgidmap(1) write an ordinary user's id maps here, and from which ids. Tried, not guessed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from arje import native
from arje.incarnation import Cause
from arje.kernel import helper, process
from arje.kernel.powers import Powers

HELPERS = ("newuidmap", "newgidmap")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not to be had: what an Availability says of it."""

    cause: Cause
    detail: str
    remedy: str
    errno: int = 0


def files(powers: Powers) -> dict[str, Refusal | None]:
    """Return for ``subuid`` and ``subgid`` why there are no ids to give, None when there are."""
    found: dict[str, Refusal | None] = {}
    for name, ranges in (("subuid", powers.sub_uids), ("subgid", powers.sub_gids)):
        remedy = f"add a line such as {powers.owner}:100000:65536 to /etc/subuid and /etc/subgid"
        no = Refusal(Cause.NOT_DELEGATED, f"/etc/{name} gives {powers.owner} no range", remedy)
        found[name] = None if ranges else no
    return found


def helpers(powers: Powers, probe: Callable[[int], int]) -> dict[str, Refusal | None]:
    """Return for each helper why it does not work, None when it does.

    A manager that may write maps itself never asks them: then it matters only whether they are there.
    """
    found = {name: _installed(name) for name in HELPERS}
    if powers.maps_any or any(found.values()) or not (powers.sub_uids and powers.sub_gids):
        return found
    if probe(native.CLONE_NEW["user"]) != 0:
        return found
    return dict(_tried(powers))


def _installed(name: str) -> Refusal | None:
    path = shutil.which(name)
    if path is None:
        return Refusal(Cause.HELPER_MISSING, f"{name} is not installed", "install the package uidmap")
    if os.stat(path).st_mode & stat.S_ISUID or "security.capability" in os.listxattr(path):
        return None
    return Refusal(Cause.HELPER_MISSING, f"{path} has no rights of its own", "install the package uidmap again")


def _tried(powers: Powers) -> Iterator[tuple[str, Refusal | None]]:
    """Let each map one id of a child that only waits."""
    spawner = native.Spawner()
    plan = native.Plan([], [b"/nonexistent"], [b"probe"], [], reaper=False)
    with open("/dev/null", "r+b", buffering=0) as null:
        fd = null.fileno()
        child = spawner.spawn(plan, (fd, fd, fd), clone_flags=native.CLONE_NEW["user"])
    try:
        for name, ranges in (("newgidmap", powers.sub_gids), ("newuidmap", powers.sub_uids)):
            try:
                done = helper.run(spawner, name, [str(child.pid), "0", str(ranges[0][0]), "1"])
                yield name, _refused(name, done.said) if done.status else None
            except OSError as error:
                yield name, Refusal(Cause.HELPER_MISSING, f"{name}: {error.strerror}", "", error.errno or 0)
    finally:
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        os.close(child.pidfd)
        os.close(child.status_fd)
        spawner.give_back(child)


def _refused(name: str, said: str) -> Refusal:
    if process.status("self").get("NoNewPrivs") == "1":
        return Refusal(
            Cause.NO_CAPABILITY,
            f"{name} gets no rights: no_new_privs is set on this process",
            "start the manager without no_new_privs",
            errno.EPERM,
        )
    return Refusal(Cause.NOT_DELEGATED, said or f"{name} refused", "check /etc/subuid and /etc/subgid", errno.EPERM)
