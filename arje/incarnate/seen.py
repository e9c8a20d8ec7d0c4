"""What a service was seen to do: the calls it made, the files, ports and powers that it used. Grows, and is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Paths that are kept of one kind; beyond, only their directories are.
MOST: Final = 5_000


@dataclass(slots=True)
class Seen:
    """Paths are those of the service's own root, links resolved, and only of what was there.

    ``write`` holds files that were there already, and the directories in which something was made, renamed or removed.
    ``capabilities``: name → what it was used for. ``refused``: what an enforcing observer refused, and how often.
    ``unread``: arguments that could not be read or understood.
    """

    calls: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)
    execute: set[str] = field(default_factory=set)
    ioctl_dev: set[str] = field(default_factory=set)
    tcp_bind: set[int] = field(default_factory=set)
    tcp_connect: set[int] = field(default_factory=set)
    families: set[int] = field(default_factory=set)
    capabilities: dict[str, str] = field(default_factory=dict)
    privileged_programs: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    powerful: bool = False
    """It had capabilities after its first exec."""
    started: bool = False
    """Its program was executed."""
    unread: int = 0

    def path(self, kind: str, path: str) -> None:
        """Note a path of one kind: read, write, execute or ioctl_dev."""
        paths: set[str] = getattr(self, kind)
        if len(paths) >= MOST and path not in paths:
            path = path.rpartition("/")[0] or "/"
        if len(paths) < 2 * MOST:
            paths.add(path)

    def port(self, kind: str, port: int) -> None:
        """Note a TCP port: tcp_bind or tcp_connect."""
        getattr(self, kind).add(port)

    def use(self, capability: str, what: str) -> None:
        """Note the first use of a capability."""
        self.capabilities.setdefault(capability, what)
