"""The door to what only the first process asks of the kernel: mounts of the machine, its end, and the guard over that.

Every function raises OSError with the path.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Final

from arje.native import _lib

#: mount(2)
RDONLY: Final = 1
NOSUID: Final = 2
NODEV: Final = 4
NOEXEC: Final = 8
REMOUNT: Final = 32
MOVE: Final = 8192
BIND: Final = 4096
RECURSIVE: Final = 16384
#: umount2(2)
DETACH: Final = 2
NOFOLLOW: Final = 8


class Reboot(IntEnum):
    """The commands of reboot(2)."""

    NONE = 0  # no command: the process exits
    RESTART = 0x01234567
    HALT = 0xCDEF0123
    POWER_OFF = 0x4321FEDC
    KEXEC = 0x45584543


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, remount or move (mount(2))."""
    _check(_lib.arje_mount(*map(os.fsencode, (source, target, kind)), flags, os.fsencode(data)), target)


def umount(target: str, flags: int = NOFOLLOW) -> None:
    """Unmount (umount2(2))."""
    _check(_lib.arje_umount(os.fsencode(target), flags), target)


def swapoff(path: str) -> None:
    """Use a swap area no more (swapoff(2))."""
    _check(_lib.arje_swapoff(os.fsencode(path)), path)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make another mount the root (pivot_root(2))."""
    _check(_lib.arje_pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def reboot(command: Reboot) -> None:
    """End the machine, or in a pid namespace its processes (reboot(2)). Returns only from commands that end nothing."""
    _check(_lib.arje_reboot(command), "")


def ignore_ctrl_alt_del() -> None:
    """Let Ctrl-Alt-Del be a SIGINT to pid 1 instead of the machine's end (reboot(2), LINUX_REBOOT_CMD_CAD_OFF)."""
    _check(_lib.arje_reboot(0), "")


def guard(seconds: float, command: Reboot = Reboot.NONE, status: int = 1) -> None:
    """End the machine (or this process, with ``status``, where it may not) unless called again in time; 0: call it off.

    A thread of C does it, so it needs no Python that runs. Raises OSError when there can be no thread.
    """
    _check(_lib.arje_guard(max(0, int(seconds * 1000)), command, status), "")


def _check(answer: int, path: str) -> None:
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer), *([path] if path else []))
