"""A cpio archive as the kernel unpacks it (kernel: driver-api/early-userspace/buffer-format): newc, reproducible.

Paths are sorted, times are 0, everything is root's: the same tree is the same bytes, and no root is needed for a device.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Entry(NamedTuple):
    """One file: its mode with the type, what it holds (a link: its target), and a device's numbers."""

    mode: int
    data: bytes = b""
    major: int = 0
    minor: int = 0


class Tree:
    """A file tree to be archived. Paths are absolute in the machine; missing directories are made, 0755."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory."""
        self._add(path, Entry(stat.S_IFDIR | mode))

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(path, Entry(stat.S_IFREG | mode, data))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path: str, mode: int, major: int, minor: int) -> None:
        """Add a character device."""
        self._add(path, Entry(stat.S_IFCHR | mode, b"", major, minor))

    def copy(self, root: Path) -> None:
        """Add everything of a directory of this machine, as root's; devices, sockets and FIFOs are passed over."""
        for directory, below, names in os.walk(root):
            for name in (*below, *names):
                path = Path(directory, name)
                inside, mode = f"/{path.relative_to(root)}", path.lstat().st_mode
                if stat.S_ISLNK(mode):
                    self.link(inside, os.readlink(path))
                elif stat.S_ISDIR(mode):
                    self.directory(inside, stat.S_IMODE(mode))
                elif stat.S_ISREG(mode):
                    self.file(inside, path.read_bytes(), stat.S_IMODE(mode))

    def unpack(self, root: Path) -> None:
        """Write everything into a directory of this machine, but devices. Raises OSError."""
        for path, entry in sorted(self.entries.items()):
            place = root / path[1:]
            if stat.S_ISDIR(entry.mode):
                place.mkdir(parents=True, exist_ok=True)
                place.chmod(stat.S_IMODE(entry.mode))
            elif stat.S_ISLNK(entry.mode):
                place.unlink(missing_ok=True)
                place.symlink_to(entry.data.decode())
            elif stat.S_ISREG(entry.mode):
                place.unlink(missing_ok=True)  # not through a link that lies there
                place.write_bytes(entry.data)
                place.chmod(stat.S_IMODE(entry.mode))

    def _add(self, path: str, entry: Entry) -> None:
        for parent in PurePosixPath(path).parents[:-1]:
            self.entries.setdefault(str(parent), Entry(stat.S_IFDIR | 0o755))
        self.entries[path] = entry

    def encode(self) -> bytes:
        """Return the archive; archives may be written one behind the other, and the later ones win."""
        parts = [
            _record(number, path[1:], entry) for number, (path, entry) in enumerate(sorted(self.entries.items()), 1)
        ]
        return b"".join([*parts, _record(0, "TRAILER!!!", Entry(0))])


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, entry.major, entry.minor, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
