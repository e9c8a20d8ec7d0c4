"""A process that waits for the answer to its system call, and what its arguments mean in its own world."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from arje.card.privileges import CAPABILITIES
from arje.kernel import process
from arje.native import notices

_AT_FDCWD: Final = -100
_LONGEST: Final = 4096
#: What /proc/self means to the service is something else to us.
_OWN_PROC: Final = re.compile(r"^/proc/(self|thread-self|\d+)(/|$)")


class Caller:
    """Its memory, root and powers; read while it waits, so that they stay as they are. Raises OSError where it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = f"/proc/{pid}"

    @cached_property
    def status(self) -> dict[str, str]:
        """The fields of /proc/PID/status."""
        with open(f"{self._proc}/status") as file:
            return process.parse_status(file.read())

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Its effective capabilities."""
        bits = int(self.status["CapEff"], 16)
        return frozenset(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)

    @cached_property
    def ids(self) -> tuple[int, frozenset[int]]:
        """The user and the groups by which the kernel judges what it does with files."""
        groups = {int(self.status["Gid"].split()[3]), *map(int, self.status.get("Groups", "").split())}
        return int(self.status["Uid"].split()[3]), frozenset(groups)

    def memory(self, address: int, size: int) -> bytes:
        """Return bytes of its memory, fewer at the end of a mapping."""
        with open(f"{self._proc}/mem", "rb", buffering=0) as file:
            file.seek(address)
            page = 4096 - address % 4096
            data = file.read(min(size, page)) or b""
            if len(data) == page and size > page and b"\0" not in data:
                with contextlib.suppress(OSError):
                    data += file.read(size - page) or b""
            return data

    def text(self, address: int) -> str:
        """Return the string at an address."""
        return os.fsdecode(self.memory(address, _LONGEST).partition(b"\0")[0])

    def open_file(self, fd: int) -> str:
        """Return what /proc says of one of its descriptors: a path, or ``socket:[…]``."""
        return self._inside(os.readlink(f"{self._proc}/fd/{fd}"))

    def absolute(self, directory: int, path: str) -> str:
        """Return a path argument as an absolute path of its root, links not resolved."""
        if path.startswith("/"):
            return os.path.normpath(path)
        fd = directory & 0xFFFFFFFF
        fd = fd - (1 << 32) if fd >> 31 else fd
        base = self._inside(os.readlink(f"{self._proc}/cwd")) if fd == _AT_FDCWD else self.open_file(fd)
        return os.path.normpath(f"{base}/{path}")

    def _inside(self, path: str) -> str:
        root = os.readlink(f"{self._proc}/root")
        return path.removeprefix(root) or "/" if root != "/" and f"{path}/".startswith(f"{root}/") else path

    def resolved(self, path: str) -> tuple[str, os.stat_result]:
        """Return what a path really is, and its status. Raises FileNotFoundError."""
        if found := _OWN_PROC.match(path):
            return "/proc", os.stat(f"{self._proc}/{path[found.end() :]}", follow_symlinks=False)
        root = os.open(f"{self._proc}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            fd = notices.open_in_root(root, os.fsencode(path))
        finally:
            os.close(root)
        try:
            return self._inside(os.readlink(f"/proc/self/fd/{fd}")), os.stat(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)

    def head(self, path: str) -> bytes:
        """Return the beginning of a regular file of its root."""
        root = os.open(f"{self._proc}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            fd = notices.open_in_root(root, os.fsencode(path))
        finally:
            os.close(root)
        try:
            with open(f"/proc/self/fd/{fd}", "rb") as file:
                return file.read(_LONGEST)
        finally:
            os.close(fd)

    def privileged_program(self, path: str) -> bool:
        """Whether executing a file gives privileges: set-uid, set-gid, or file capabilities."""
        mode = self.resolved(path)[1].st_mode
        if mode & stat.S_ISUID or (mode & stat.S_ISGID and mode & stat.S_IXGRP):
            return True
        try:
            return bool(os.getxattr(f"{self._proc}/root{path}", "security.capability"))
        except OSError:
            return False

    def tcp(self, fd: int) -> bool:
        """Whether one of its descriptors is a TCP socket."""
        with socket.socket(fileno=notices.take_fd(self._leader, fd)) as copy:
            inet = copy.family in (socket.AF_INET, socket.AF_INET6)
            return inet and copy.type == socket.SOCK_STREAM and copy.proto in (0, socket.IPPROTO_TCP)

    @property
    def _leader(self) -> int:
        return int(self.status["Tgid"])

    def may(self, path: str, want: int) -> bool:
        """Whether its ids alone give it this right (4 read, 2 write, 1 execute) to a file, and the way to it."""
        parts = path.split("/")[1:]
        for place in ["/" + "/".join(parts[:depth]) for depth in range(len(parts))]:
            if not self._permits(place, 1):
                return False
        return self._permits(path, want)

    def _permits(self, path: str, want: int) -> bool:
        about = os.stat(f"{self._proc}/root{path}", follow_symlinks=False)
        uid, groups = self.ids
        shift = 6 if about.st_uid == uid else 3 if about.st_gid in groups else 0
        return (about.st_mode >> shift) & want == want

    def programs(self, path: str) -> Iterator[str]:
        """Yield a program, and what the kernel executes to run it: interpreters (#!) and loaders (ELF)."""
        for _ in range(5):  # as deep as the kernel goes: BINPRM_RECURSION
            try:
                path = self.resolved(path)[0]
                yield path
                path = interpreter(self.head(path))
            except OSError:
                return
            if not path:
                return


def interpreter(head: bytes) -> str:
    """Return what a file says that it is run by: of a script the word behind ``#!``, of ELF its loader; empty: nothing."""
    if head.startswith(b"#!"):
        words = head[2:].partition(b"\n")[0].split(maxsplit=1)
        return os.fsdecode(words[0]) if words else ""
    if not head.startswith(b"\x7fELF\x02\x01"):
        return ""
    number = int.from_bytes
    at, size, count = (number(head[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
    for entry in (head[at + i * size :][:size] for i in range(count)):
        if number(entry[:4], "little") == 3:  # PT_INTERP
            place, length = number(entry[8:16], "little"), number(entry[32:40], "little")
            return os.fsdecode(head[place : place + length].rstrip(b"\0"))
    return ""
