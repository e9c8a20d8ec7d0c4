"""Writing a user namespace's maps from outside (user_namespaces(7)): each file once, gid before uid.

A privileged manager writes any line. An ordinary user writes one line for itself with setgroups denied, and ranges
through newuidmap(1) and newgidmap(1), which know /etc/subuid.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from arje import native
from arje.card.soma import IdMap


def write(spawner: native.Spawner, pid: int, uid_map: tuple[IdMap, ...], gid_map: tuple[IdMap, ...]) -> None:
    """Write both maps of the namespace that ``pid`` is in. Raises OSError."""
    privileged = os.geteuid() == 0
    if not privileged:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    for name, lines, own, helper in (
        ("gid_map", gid_map, os.getegid(), "newgidmap"),
        ("uid_map", uid_map, os.geteuid(), "newuidmap"),
    ):
        if privileged or (len(lines) == 1 and lines[0].outside == own and lines[0].count == 1):
            text = "".join(f"{line.inside} {line.outside} {line.count}\n" for line in lines)
            Path(f"/proc/{pid}/{name}").write_text(text)
        else:
            _by_helper(spawner, helper, pid, lines)


def _by_helper(spawner: native.Spawner, helper: str, pid: int, lines: tuple[IdMap, ...]) -> None:
    path = shutil.which(helper)
    if path is None:
        raise FileNotFoundError(2, f"{helper} is not installed")
    words = [str(pid), *(str(number) for line in lines for number in (line.inside, line.outside, line.count))]
    plan = native.Plan([], [path.encode()], [helper.encode(), *map(str.encode, words)], [], reaper=False)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    child = spawner.spawn(plan, (null, null, null), clone_flags=0)
    try:
        native.release(child.status_fd)
        while native.receive(child.status_fd, block=True):
            pass
        info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        if info is None or info.si_status != 0:
            raise PermissionError(1, f"{helper} {' '.join(words)} refused")
    finally:
        for fd in (null, child.pidfd, child.status_fd):
            os.close(fd)
        spawner.give_back(child)
