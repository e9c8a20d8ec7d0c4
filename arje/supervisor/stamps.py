"""When persistent timers were last due, kept over arje's own absence: a small file for each, in a directory of state."""

from __future__ import annotations

import math
import os
from pathlib import Path


def name_of(label: str, number: int) -> str:
    """Return the file name of a service's timer; no label has a colon."""
    return f"{label}:{number}" if number else label


def read(directory: Path, name: str) -> float | None:
    """Return the last time (CLOCK_REALTIME, seconds); None when there was none, or the file says none. Raises OSError.

    May hang, as every read may.
    """
    try:
        wall = float((directory / name).read_text(errors="replace"))
    except (FileNotFoundError, ValueError):
        return None
    return wall if math.isfinite(wall) and wall >= 0 else None


def write(directory: Path, name: str, wall: float) -> None:
    """Keep a time, whole or not at all, whatever happens meanwhile (rename(2)). Raises OSError; may hang."""
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{name}.new"
    with temporary.open("w") as file:
        file.write(f"{wall:.6f}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / name)
