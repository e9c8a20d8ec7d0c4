"""A file system whose server never answers (FUSE without a server): what opens or enters it hangs in the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

_INIT = 26  # opcode, fuse(4) and linux/fuse.h
_MNT_DETACH = 2


class DeadMount:
    """A mount at ``path``. Its questions are not even read, so who asks can still be killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR)
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        if self._libc.mount(b"dead", str(path).encode(), b"fuse", 0, options):
            os.close(self._fd)
            pytest.skip(f"no FUSE mount here: {os.strerror(ctypes.get_errno())}")
        self._greet()

    def take_questions(self) -> None:
        """Read the next question and keep the answer: who asked can not be killed any more."""
        self.asked()
        os.read(self._fd, 65536)

    def _greet(self) -> None:
        """Answer the kernel's greeting, the only question that is answered."""
        question = os.read(self._fd, 65536)
        _, opcode, unique = struct.unpack_from("=IIQ", question)
        assert opcode == _INIT
        body = struct.pack("=IIIIHHIIHHIIII", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0).ljust(64, b"\0")
        os.write(self._fd, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)

    def asked(self) -> None:
        """Wait until somebody has asked."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        """Let everybody who hangs go on, with an error. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._libc.umount2(str(self.path).encode(), _MNT_DETACH)


@contextlib.contextmanager
def dead_mount(path: Path) -> Iterator[DeadMount]:
    mount = DeadMount(path)
    try:
        yield mount
    finally:
        mount.close()
