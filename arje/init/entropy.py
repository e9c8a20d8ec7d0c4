"""The random seed: what the pool knew at the end of the last run, stirred in at the beginning of this one (random(4)).

The credit policy is that of systemd-random-seed.service(8). A seed is stirred in always, and counted as entropy only when
the machine's owner says so (``arje.random_credit=yes`` on the kernel line) and the file bears the mark that it was made
when the pool was initialised; ``force`` counts one without the mark. Before a seed is counted it is replaced on the
disk, and that is flushed: a machine that loses its power, or an image that is copied, must not count one twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from arje.init.boot import Scene

FILE: Final = Path("/var/lib/arje/random-seed")
_SIZE: Final = 512  # bytes; the pool holds 32 since Linux 5.18
_MARK: Final = "user.random-seed-creditable"
_ADD: Final = 0x40085203  # RNDADDENTROPY


def stir(scene: Scene) -> str:
    """Stir the seed in and make the next one. Raises OSError."""
    try:
        seed = FILE.read_bytes()[:_SIZE]
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # a root that is not writable yet: the end of this run makes one
            save()
        return ""
    credit = scene.words.random_credit
    counted = credit == "force" or (credit in ("1", "yes", "true") and _is_marked())
    with open("/dev/urandom", "wb", buffering=0) as pool:
        pool.write(seed)
    kept = _replaced()
    counted = counted and kept
    if counted:
        add(seed)
    words = "counted as entropy" if counted else "not counted"
    return f"{len(seed)} bytes, {words}" + ("" if kept else ", and not replaced: the disk is read-only")


def add(seed: bytes) -> None:
    """Stir in what counts as full entropy (RNDADDENTROPY of random(4)). Raises OSError."""
    with open("/dev/random", "wb", buffering=0) as pool:
        fcntl.ioctl(pool, _ADD, struct.pack("=ii", len(seed) * 8, len(seed)) + seed)


def save() -> None:
    """Write a new seed, marked when the pool is initialised, and flush it to the disk. Raises OSError."""
    try:
        seed, good = os.getrandom(_SIZE, os.GRND_NONBLOCK), True
    except BlockingIOError:
        with open("/dev/urandom", "rb", buffering=0) as pool:
            seed, good = pool.read(_SIZE), False
    FILE.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    half = FILE.with_name(".random-seed.new")
    half.unlink(missing_ok=True)
    fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, seed)
        if good:
            with contextlib.suppress(OSError):  # a file system without attributes: it is never counted
                os.setxattr(fd, _MARK, b"1")
        os.fsync(fd)
    finally:
        os.close(fd)
    half.rename(FILE)
    directory = os.open(FILE.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _replaced() -> bool:
    try:
        save()
    except OSError:
        return False
    return True


def _is_marked() -> bool:
    try:
        return os.getxattr(FILE, _MARK) == b"1"
    except OSError:
        return False
