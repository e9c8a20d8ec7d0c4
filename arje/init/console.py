"""What people in front of a machine see: lines on /dev/console, and lines in the kernel's log.

The console is opened anew for each burst of lines, as a getty may hang it up (vhangup(2)). Nothing here waits for it: a
thread writes, and what a console that is stopped (Ctrl-S) does not take in time is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

CONSOLE: Final = "/dev/console"
KMSG: Final = "/dev/kmsg"
_ACTIVE: Final = Path("/sys/class/tty/console/active")
#: syslog(3)'s numbers of log levels.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2, "exception": 3}
_LONGEST: Final = 900  # bytes of one record of /dev/kmsg; the kernel takes 976 with its prefix (PRINTKRB_RECORD_MAX)


def terminal() -> str:
    """Return the device behind the console (``/dev/ttyS0``): the console itself cannot control a session everywhere."""
    try:
        names = _ACTIVE.read_text().split()
    except OSError:
        names = []
    if not names:
        return CONSOLE
    if names[-1] == "tty0":
        try:
            names.append((_ACTIVE.parent.parent / "tty0/active").read_text().strip())
        except OSError:
            return CONSOLE
    found = f"/dev/{names[-1]}"
    return found if Path(found).exists() else CONSOLE


def say(text: str) -> None:
    """Write a line to the console at once, as far as it takes it now. Never raises."""
    try:
        fd = os.open(CONSOLE, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        fd = 2
    try:
        os.write(fd, f"{text}\n".encode(errors="replace"))
    except OSError:
        pass
    finally:
        if fd != 2:
            os.close(fd)


def put(data: bytes) -> bool:
    """Write log lines to the console; return whether all were taken."""
    try:
        fd = os.open(CONSOLE, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def put_in_kmsg(data: bytes) -> bool:
    """Write log lines to the kernel's log, each a record with its level (the kernel's ABI/testing/dev-kmsg)."""
    try:
        fd = os.open(KMSG, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        for line in data.splitlines():
            if line:
                os.write(fd, f"<{_priority(line)}>arje[{os.getpid()}]: ".encode() + line[:_LONGEST])
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def to_file(path: str) -> Callable[[bytes], bool]:
    """Return what appends log lines to a file, made when the first one comes."""

    def put_in_file(data: bytes) -> bool:
        try:
            with open(path, "ab", buffering=0) as file:
                return file.write(data) == len(data)
        except OSError:
            return False

    return put_in_file


def _priority(line: bytes) -> int:
    _, _, rest = line.partition(b"level=")
    return _PRIORITIES.get(rest.partition(b" ")[0].decode(errors="replace"), 6)
