"""What the first process sets in the kernel: the host's name, the loopback device, sysctl.d(5), its log's gate."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arje.kernel import rtnetlink
from arje.kernel.rtnetlink import Socket, link, message

if TYPE_CHECKING:
    from arje.init.boot import Scene

_PROC_SYS: Final = "/proc/sys"
#: sysctl.d(5): of files of one name the first directory's counts; all are taken in the order of their names.
_SYSCTL_DIRECTORIES: Final = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
#: What belongs to a container's namespaces; every other setting is the host's, and ours to write where uid 0 is its root.
_NAMESPACED: Final = ("net/", "fs/mqueue/", "kernel/shm", "kernel/msg", "kernel/sem")
_UNNAMED: Final = ("", "(none)", "localhost")


def name_host(scene: Scene) -> str:
    """Set the host's name: from the kernel line, /etc/hostname (hostname(5)), else ``localhost`` where there is none."""
    name, now = scene.words.hostname or _written_name(), os.uname().nodename
    if not name and now in _UNNAMED:
        name = "localhost"
    if not name or name == now or (scene.container and now not in _UNNAMED and not scene.words.hostname):
        return ""
    socket.sethostname(name)
    return name


def _written_name() -> str:
    try:
        lines = Path("/etc/hostname").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")


def bring_up(scene: Scene) -> str:
    """Bring the loopback device up (netdevice(7))."""
    with Socket() as kernel:
        found = kernel.link(name="lo")
        if found is None or found.up:
            return ""
        kernel.ask(message(rtnetlink.NEWLINK, link(found.index, up=True)))
    return "lo"


def open_kmsg(scene: Scene) -> str:
    """Let the kernel's log take our lines without a rate limit (printk.devkmsg of the kernel's sysctl documentation)."""
    path = Path(_PROC_SYS, "kernel/printk_devkmsg")
    if path.read_text().strip() == "on":
        return ""
    path.write_text("on\n")
    return "printk_devkmsg=on"


def set_sysctls(scene: Scene) -> str:
    """Write every setting, in a container its own ones. Raises OSError that names those refused, when all are tried."""
    done, refused = 0, []
    for key, value, may_fail in sysctls(_SYSCTL_DIRECTORIES, Path("/etc/sysctl.conf")):
        if scene.container and not key.startswith(_NAMESPACED):
            continue
        try:
            with open(f"{_PROC_SYS}/{key}", "w") as file:
                file.write(value)
            done += 1
        except OSError as error:
            if (
                not may_fail
                and error.errno != errno.ENOENT
                and not (scene.container and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM))
            ):
                refused.append(f"{key}: {error.strerror}")
    if refused:
        raise OSError(f"{len(refused)} of {done + len(refused)} refused: {'; '.join(refused)}")
    return f"{done} settings" if done else ""


def sysctls(directories: tuple[str, ...], last: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (path below /proc/sys, value, whether it may fail) of every setting, the later overriding the earlier."""
    settings: dict[str, tuple[str, bool]] = {}
    spared: set[str] = set()
    for path in [*files(directories, ".conf"), last]:
        for key, value, may_fail in _lines(path):
            if value is None:
                spared.add(key)  # "-key": globs leave it alone
            elif any(mark in key for mark in "*?["):
                found = [str(each.relative_to(_PROC_SYS)) for each in sorted(Path(_PROC_SYS).glob(key))]
                for name in found:
                    if name not in spared:
                        settings.setdefault(name, (value, may_fail))
            else:
                spared.add(key)  # one that is named is not a glob's any more
                settings[key] = (value, may_fail)
    yield from ((key, value, may_fail) for key, (value, may_fail) in settings.items())


def files(directories: tuple[str, ...], ending: str) -> list[Path]:
    """Return the files of layered directories in the order of their names; a link to /dev/null hides those below."""
    found: dict[str, Path] = {}
    for directory in directories:
        for path in sorted(Path(directory).glob(f"*{ending}")):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def _lines(path: Path) -> Iterator[tuple[str, str | None, bool]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        may_fail = text.startswith("-")
        key, equals, value = text.removeprefix("-").partition("=")
        yield _place(key.strip()), value.strip() if equals else None, may_fail


def _place(key: str) -> str:
    """Return a key as a path: with a dot before the first slash, dots part and slashes are dots (sysctl.d(5))."""
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return key.translate(str.maketrans("./", "/."))
    return key
