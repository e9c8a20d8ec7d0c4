"""Ships arje: ``python -m ship wheel`` and ``python -m ship deb`` (``make wheel``, ``make deb``).

Everything is made below ``build/ship``, where downloads stay as well. Nothing here is part of arje itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
BUILD: Final = ROOT / "build/ship"
DIST: Final = BUILD / "dist"


class CannotShip(Exception):
    """Something that is needed to build is not here and could not be had; the text says what to do."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Build while nobody else does: tests that run beside each other share what is built. Not to be nested (flock(2))."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """Run a program and return what it prints. Raises CannotShip with its own words when it fails or is missing."""
    command = [str(word) for word in words]
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotShip(f"{command[0]} is not installed") from error
    if done.returncode:
        raise CannotShip(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
