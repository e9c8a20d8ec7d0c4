"""Disk images of ext4, made and read outside of any machine, without root (mke2fs(8), debugfs(8))."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vm.kernel import NoMachine


def make(image: Path, *, size: int, tree: Path | None = None, label: str = "") -> None:
    """Make an image of ``size`` bytes that holds the files of a directory. Raises NoMachine, CalledProcessError."""
    words = [_tool("mke2fs"), "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0,lazy_itable_init=0", "-m", "0"]
    words += ["-d", str(tree)] if tree else []
    words += ["-L", label] if label else []
    with image.open("wb") as stream:
        stream.truncate(size)
    subprocess.run([*words, str(image)], check=True, capture_output=True)


def read(image: Path, path: str) -> bytes:
    """Return what a file in an image holds; empty when there is none. Raises NoMachine."""
    return subprocess.run([_tool("debugfs"), "-R", f"cat {path}", str(image)], capture_output=True, check=False).stdout


def is_clean(image: Path) -> bool:
    """Whether its file system was unmounted: nothing is left in the journal to be replayed. Raises NoMachine."""
    said = subprocess.run([_tool("dumpe2fs"), "-h", str(image)], capture_output=True, text=True, check=False).stdout
    return "needs_recovery" not in said and "Filesystem state:         clean" in said


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise NoMachine(f"{name} is not installed: run tools/packages")
    return found
