"""How much memory a service really uses, and being told when that becomes more than so much (admin-guide/cgroup-v2).

cgroup v2 tells of two limits, in ``memory.events``, whose changes inotify(7) sees. ``memory.max`` is too late: the kernel
kills there. ``memory.high`` is a soft one: whoever is over it is slowed down and gives back what can be given back, and
``high`` is counted. So the threshold is written there. Page cache counts against it and is given back first: an event says
that somebody should look, not that the service itself uses that much. What it uses is what cannot be given back, and what
has been swapped.

Without the memory controller nothing tells, and one has to look at the processes: their proportional share (``Pss``), as
pages that forks have in common are there once, or what is resident where we may not know better (ptrace(2)).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from arje import native
from arje.kernel import usage
from arje.kernel.cgroup import Cgroup

_MODIFY: Final = 0x2  # IN_MODIFY (linux/inotify.h)
_CACHE: Final = ("active_file", "inactive_file")


class MemoryEvents:
    """The kernel tells, by ``fd``, when a cgroup comes to use more than so many bytes. Close it."""

    def __init__(self, group: Cgroup, most: int) -> None:
        """Raises OSError: FileNotFoundError where the memory controller is not handed down to the cgroup."""
        self._group = group
        self._before = group.read("memory.high")
        self.fd = native.inotify_init()
        try:
            native.inotify_add(self.fd, group.path / "memory.events", _MODIFY)
            if self._before == "max" or int(self._before) > most:
                group.write("memory.high", str(most))
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        """Tell no more, and slow nobody down any more: what has to stop needs memory for that. May be called twice."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # it may be gone
                self._group.write("memory.high", self._before)
            os.close(self.fd)
            self.fd = -1


def of_cgroup(read: Callable[[str], str | None]) -> int | None:
    """Return the bytes that a cgroup uses, without page cache and with swap; None where nothing counts them.

    ``read`` returns the text of one of its files, None when it is not there.
    """
    now = read("memory.current")
    if now is None:
        return None
    stat = dict(line.partition(" ")[::2] for line in (read("memory.stat") or "").splitlines())
    cache = sum(int(stat.get(name, 0)) for name in _CACHE)
    return max(0, int(now) - cache) + int(read("memory.swap.current") or 0)


def of_processes(pids: Iterable[int], proc: Path = Path("/proc")) -> int:
    """Return the bytes that processes use: each one's share, and what of it is swapped."""
    return sum(_of_process(proc, pid) for pid in pids)


def _of_process(proc: Path, pid: int) -> int:
    try:
        text = (proc / str(pid) / "smaps_rollup").read_text()
        found = dict(line.split(":", 1) for line in text.splitlines()[1:])
        return sum(int(found[name].split()[0]) * 1024 for name in ("Pss", "SwapPss") if name in found)
    except (FileNotFoundError, ProcessLookupError):  # it has gone, or is a zombie
        return 0
    except OSError:
        return int(usage.of_processes([pid], proc).get("memory", 0))
