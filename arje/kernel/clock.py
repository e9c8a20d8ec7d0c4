"""What this machine says of time besides its clocks: its zone, and the id by which it is told from others."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

LOCALTIME: Final = Path("/etc/localtime")


def local_zone() -> tzinfo:
    """Return the machine's time zone: ``$TZ``, else /etc/localtime (localtime(5)), else UTC."""
    import zoneinfo  # only who has a timer needs it

    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name and not name.startswith("/"):
            return zoneinfo.ZoneInfo(name)
        with open(name or LOCALTIME, "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return UTC


def zone_mark() -> tuple[object, ...]:
    """Return something that is another when somebody has chosen another time zone for the machine."""
    try:
        found = LOCALTIME.lstat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_dev


def machine_id() -> str:
    """Return the machine's id (machine-id(5)), else its name."""
    try:
        return Path("/etc/machine-id").read_text().strip() or os.uname().nodename
    except OSError:
        return os.uname().nodename
