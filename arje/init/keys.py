"""The keys that mean something to the first process: Ctrl-Alt-Del, and the keyboard request (Alt-Up on a console)."""

from __future__ import annotations

import fcntl
import os
import signal
from typing import TYPE_CHECKING, Final

from arje.native import machine

if TYPE_CHECKING:
    from arje.init.boot import Scene

_KDSIGACCEPT: Final = 0x4B4E  # ioctl_console(2)


def hear_ctrl_alt_del(scene: Scene) -> str:
    """Let Ctrl-Alt-Del be a SIGINT to us (reboot(2)). Raises OSError."""
    machine.ignore_ctrl_alt_del()
    return "SIGINT"


def hear_request(scene: Scene) -> str:
    """Let the keyboard request be a SIGWINCH to us (ioctl_console(2)). Raises OSError."""
    try:
        fd = os.open("/dev/tty0", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""  # a machine without a keyboard
    try:
        fcntl.ioctl(fd, _KDSIGACCEPT, signal.SIGWINCH)
    finally:
        os.close(fd)
    return "SIGWINCH"
