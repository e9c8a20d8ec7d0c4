"""Who listens on an address: the socket's inode in /proc/net, and the process that has it open (proc_pid_net(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def of_port(port: int, *, stream: bool) -> str:
    """Return who listens on a port (``nginx, pid 12``); empty when one cannot know."""
    inodes = set()
    for name in ("tcp", "tcp6") if stream else ("udp", "udp6"):
        for words in _rows(name):
            listens = words[3] == ("0A" if stream else "07")
            if listens and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(words[9])
    return _process(inodes)


def of_path(path: str) -> str:
    """Return who has a unix socket of this path, or ``@name``; empty when one cannot know."""
    return _process({words[6] for words in _rows("unix") if words[7:] == [path]})


def _rows(name: str) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/net/{name}").read_text(errors="replace").splitlines()[1:]:
            yield line.split(maxsplit=7) if name == "unix" else line.split()


def _process(inodes: set[str]) -> str:
    """Return the first process that has one of these sockets open, of those that we may look into."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdecimal, os.listdir("/proc") if wanted else ()):  # noqa: PTH208 - names alone
        with contextlib.suppress(OSError):
            fds = Path("/proc", pid, "fd")
            if any(os.readlink(fds / fd) in wanted for fd in os.listdir(fds)):  # noqa: PTH208 - as above
                return f"{Path('/proc', pid, 'comm').read_text().strip()}, pid {pid}"
    return ""
