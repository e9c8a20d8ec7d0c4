"""From one root to another: out of an initramfs, into a root that was made ready, or into the same one again.

What is mounted of the kernel's own file systems goes along; the kernel frees an initramfs only file by file, so the last
act there is to delete them, after everything that Python still has to read. Nothing that cannot be undone is done before
it is known that the new root has an init.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arje.errors import ArjeError
from arje.init import unmounting
from arje.init.mounting import MOUNTS
from arje.native import machine

if TYPE_CHECKING:
    from arje.init.boot import Scene

SYSROOT: Final = "/sysroot"
NEXTROOT: Final = "/run/nextroot"  # as systemd's soft-reboot has it
#: What is tried where nobody names an init: arje first, then what systems have.
INITS: Final = ("/usr/lib/arje/stage0", "/usr/sbin/arje-init", "/usr/bin/arje", "/usr/local/bin/arje", "/sbin/init")
_INITRAMFS: Final = frozenset({"rootfs", "tmpfs", "ramfs"})
_MODULES: Final = ("ext4", "btrfs", "xfs", "f2fs", "squashfs", "erofs")
_PATIENCE: Final = 30.0  # seconds for the root's device to appear


def is_wanted(scene: Scene) -> bool:
    """Whether this is an initramfs whose kernel line names a root that it is to go on to."""
    root = next((mount for mount in unmounting.mounts() if mount.place == "/"), None)
    return bool(scene.words.root) and root is not None and root.kind in _INITRAMFS


def enter(scene: Scene) -> None:
    """Mount the root of the kernel line and go on there. Returns never; raises OSError, ArjeError where it cannot."""
    words = scene.words
    device = _await_device(words.root)
    flags = 0 if words.root_writable else machine.RDONLY
    os.makedirs(SYSROOT, exist_ok=True)  # noqa: PTH103 - a string is wanted
    kinds = words.root_type.split(",") if words.root_type else _known_types()
    refused = []
    for kind in kinds:
        try:
            machine.mount(device, SYSROOT, kind, flags, words.root_flags)
            break
        except OSError as error:
            refused.append(f"{kind}: {error.strerror}")
    else:
        raise ArjeError(f"root={words.root} cannot be mounted: {'; '.join(refused)}")
    switch(SYSROOT, words.root_init)


def _await_device(root: str) -> str:
    """Return the device that ``root=`` means, once it is there: a path, UUID=, LABEL= or PARTUUID= (by udev's links)."""
    name, _, value = root.partition("=")
    by = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid"}.get(name)
    device = f"/dev/disk/{by}/{value}" if by and value else root
    end = time.monotonic() + _PATIENCE
    while device.startswith("/dev/") and not Path(device).exists():
        if time.monotonic() > end:
            hint = "; links by UUID and LABEL are udev's: name the device itself" if by else ""
            raise ArjeError(f"root={root} did not appear in {_PATIENCE:g} s{hint}")
        time.sleep(0.05)  # there is no loop yet that could wait
    return device


def _known_types() -> list[str]:
    """Return the file systems on devices that this kernel knows (proc_filesystems(5)), and those it may have as modules.

    A module is loaded when its file system is asked for by name.
    """
    lines = Path("/proc/filesystems").read_text().splitlines()
    known = [line.strip() for line in lines if not line.startswith("nodev")]
    return [*known, *(kind for kind in _MODULES if kind not in known)]


def find_init(root: str, init: str = "") -> str:
    """Return the init of a root, by its path there. Raises ArjeError that says what was looked for."""
    for path in (init,) if init else INITS:
        found = _inside(root, path)
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
            return path
    raise ArjeError(f"{root} has no init that could be executed: looked for {init or ', '.join(INITS)}")


def _inside(root: str, path: str, depth: int = 40) -> os.stat_result | None:
    """Return what a path is below a root, whose absolute links mean that root."""
    done, rest = Path(root), [part for part in path.split("/") if part]
    while rest:
        part = rest.pop(0)
        if part == "..":
            done = done.parent if done != Path(root) else done
            continue
        try:
            found = (done / part).lstat()
        except OSError:
            return None
        if stat.S_ISLNK(found.st_mode) and depth > 0:
            depth -= 1
            target = os.readlink(done / part)
            done = Path(root) if target.startswith("/") else done
            rest = [each for each in target.split("/") if each not in ("", ".")] + rest
            continue
        done /= part
    return done.stat() if done.exists() else None


def switch(root: str, init: str = "") -> None:
    """Make another directory the root and execute its init. Does not return; raises OSError and ArjeError before that."""
    if not Path(root).is_dir():
        raise ArjeError(f"{root} is no directory")
    path = find_init(root, init)
    if not Path(root).is_mount():
        machine.mount(root, root, flags=machine.BIND | machine.RECURSIVE)
    old = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    kind = next((mount.kind for mount in unmounting.mounts() if mount.place == "/"), "")
    _take_along(root)
    os.chdir(root)
    if kind == "rootfs":  # the kernel's first mount: it cannot be pivoted away (pivot_root(2))
        machine.mount(".", "/", flags=machine.MOVE)
        os.chroot(".")
        _empty(old)
    else:
        machine.pivot_root(".", ".")
        machine.umount(".", machine.DETACH)
    os.chdir("/")
    os.close(old)
    execute(path, [path])


def _take_along(root: str) -> None:
    """Move what shows the kernel, and /run, to the new root; what has no place there is let go of."""
    places = {mount.place for mount in unmounting.mounts()}
    for place in ("/dev", "/proc", "/sys", "/run"):
        if place not in places:
            continue
        target = f"{root.rstrip('/')}{place}"
        try:
            os.makedirs(target, exist_ok=True)  # noqa: PTH103 - a string is wanted
            machine.mount(place, target, flags=machine.MOVE)
        except OSError:
            machine.umount(place, machine.DETACH)
    if "/tmp" in places and "/tmp" in {api.place for api in MOUNTS}:
        with contextlib.suppress(OSError):
            machine.umount("/tmp", machine.DETACH)


def _empty(directory: int) -> None:
    """Delete all below a directory that is on its file system: an initramfs is memory until then."""
    device = os.fstat(directory).st_dev
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if found.st_dev != device:
                continue
            if stat.S_ISDIR(found.st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                try:
                    _empty(below)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)


def begin_anew(*, container: bool) -> None:
    """Begin user space again, in /run/nextroot where one is mounted, else here. Does not return; raises OSError."""
    if not container and Path(NEXTROOT).is_mount():
        switch(NEXTROOT)
    execute(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def execute(path: str, argv: list[str]) -> None:
    """Become another program, with nothing of ours: no blocked signal, no handler, no raised limit. Raises OSError."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    open_console()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv(path, argv)


def open_console() -> None:
    """Give the next init what a kernel gives the first one: the console as descriptors 0, 1 and 2."""
    with contextlib.suppress(OSError):
        fd = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
        for standard in range(3):
            os.dup2(fd, standard)
        if fd > 2:
            os.close(fd)
