"""Landlock (landlock(7)): the rights that a ruleset handles, since when each is there, and how a ruleset is told to C.

Denied is what a ruleset handles and no rule allows. A kernel refuses rights that it does not know, so a ruleset is made of
those that its ABI has; what a right that is missing here would have denied stays possible.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from arje.native import filtering

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE: Final = 1 << 4 | 1 << 5  # directories, files
MAKE_DEVICE: Final = 1 << 6 | 1 << 11  # character and block devices
MAKE: Final = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12  # directories, files, sockets, fifos, symbolic links
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1
SCOPES: Final = {"abstract-unix-socket": 1 << 0, "signal": 1 << 1}

#: What each kind of path allows.
READ: Final = READ_FILE | READ_DIR
WRITE: Final = WRITE_FILE | REMOVE | MAKE | REFER | TRUNCATE
RUN: Final = EXECUTE | READ  # execve(2) opens what it executes for reading as well


class Later(NamedTuple):
    """A right that came after the first ABI: its bits among those of files, the ABI, the Linux that brought it."""

    fs: int
    abi: int
    linux: str


#: Rights by the names that degradations use.
LATER: Final = {
    "refer": Later(REFER, 2, "5.19"),
    "truncate": Later(TRUNCATE, 3, "6.2"),
    "tcp_bind": Later(0, 4, "6.7"),
    "tcp_connect": Later(0, 4, "6.7"),
    "ioctl_dev": Later(IOCTL_DEV, 5, "6.10"),
    "abstract-unix-socket": Later(0, 6, "6.12"),
    "signal": Later(0, 6, "6.12"),
}
FILES: Final = WRITE | RUN | MAKE_DEVICE | IOCTL_DEV

#: Features by what raises OSError when the kernel lacks them.
PROBES: Final[Mapping[str, Callable[[], object]]] = {"landlock": filtering.landlock_abi}


def abi() -> int:
    """Return the version of the ABI, 0 when there is none."""
    try:
        return filtering.landlock_abi()
    except OSError:
        return 0


class Trial(NamedTuple):
    """What must be refused afterwards, if it was possible before.

    Opening a path with these O_* flags, or (no path) binding a TCP port.
    """

    path: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """One ruleset: the rights that are handled, and what is allowed of them by path (``(path, rights)``) and by port."""

    fs: int = 0
    net: int = 0
    scoped: int = 0
    paths: Sequence[tuple[str, int]] = ()
    ports: Sequence[tuple[int, int]] = ()
    trial: Trial | None = None

    def encode(self) -> tuple[bytes, bytes]:
        """Return what the op's ``p`` and ``q`` point to (abi.h: struct arje_landlock)."""
        trial = self.trial
        head = struct.pack(
            "=QQQIIIIQ",
            self.fs,
            self.net,
            self.scoped,
            len(self.paths),
            len(self.ports),
            bool(trial and trial.path),
            bool(trial and not trial.path),
            trial.value if trial else 0,
        )
        rules = [struct.pack("=QQ", rights, 0) for _, rights in self.paths]
        rules += [struct.pack("=QQ", rights, port) for port, rights in self.ports]
        texts = [trial.path if trial else "", *(path for path, _ in self.paths)]
        return head + b"".join(rules), b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
