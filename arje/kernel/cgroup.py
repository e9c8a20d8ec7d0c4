"""cgroup v2 (kernel: admin-guide/cgroup-v2): finding our place in it, and one directory as an object.

On a hybrid machine the v2 hierarchy is mounted without controllers; ``cgroup.kill``, ``.freeze`` and ``.events`` work
there all the same, so a cgroup is worth having even then.

Its files are the kernel's memory (kernfs): no server stands behind them, so reading and writing them holds nobody up. Only
what waits for something (:meth:`Cgroup.freeze`, cgroup.procs with its RCU grace period) belongs into a thread or a step
that is rare.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from pathlib import Path
from typing import Final

from arje.kernel import process

#: What belongs to whom a cgroup is delegated to, beside the directory (admin-guide/cgroup-v2, "Model of Delegation").
DELEGATED: Final = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
#: Bytes: a read that returns fewer has come to the end. The kernel fills a page with whole records, none longer than this.
_WHOLE: Final = 2048
_FREEZING: Final = 1.0  # seconds; frozen is what every thread is at its next return from the kernel


def mounts() -> list[tuple[Path, str]]:
    """Return (mount point, root inside the hierarchy) of every cgroup2 mount, from /proc/self/mountinfo."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ", 1)[0] == "cgroup2":
            fields = left.split(" ")
            found.append((Path(process.unescape(fields[4])), process.unescape(fields[3])))
    return found


def own() -> Path | None:
    """Return the directory of the cgroup that this process is in, or None when no cgroup2 mount shows it."""
    place = process.cgroup("self")
    for point, root in mounts():
        if place == root or place.startswith(root.rstrip("/") + "/"):
            directory = point / place[len(root.rstrip("/")) :].lstrip("/")
            if directory.is_dir():
                return directory
    return None


def place_of(path: Path) -> str:
    """Return how /proc/PID/cgroup names a directory, as this process sees it; ``/`` for one below no cgroup2 mount."""
    for point, root in mounts():
        if path.is_relative_to(point):
            return f"{root.rstrip('/')}/{path.relative_to(point)}".removesuffix("/.") or "/"
    return "/"


def find_base(name: str, number: int = 1) -> Path | None:
    """Make and return the directory for this manager's services; None when there is no writable cgroup2.

    ``number``: which one of several managers of this name that meet here.

    It lies beside the manager's own processes, never above them, as a cgroup with limits for its children may hold no
    processes itself (the no-internal-process rule). Controllers are handed down where the kernel lets us.
    """
    place = own_place(name)
    if place is None:
        return None
    base = place / (name if number == 1 else f"{name}-{number}")
    try:
        base.mkdir(exist_ok=True)
    except OSError:
        return None
    if not os.access(base, os.W_OK):
        return None
    _step_aside(place, name)
    for directory in (place, base):
        enable_controllers(directory)
    return base


def _step_aside(place: Path, name: str) -> None:
    """Leave a cgroup that was delegated to us alone for a leaf of it, or no controller could be handed down.

    The root of the hierarchy is exempt from the rule, and a cgroup with other people's processes is not ours to empty.
    """
    with contextlib.suppress(OSError):
        alone = (place / "cgroup.procs").read_text().split() == [str(os.getpid())]
        if alone and (place / "cgroup.type").exists() and (place / "cgroup.controllers").read_text().strip():
            enter_leaf(place, name)


def own_place(name: str) -> Path | None:
    """Return the cgroup in which a manager of this name makes its services': our own, or above the leaf we went into."""
    found = own()
    return found.parent if found is not None and found == leaf_of(found.parent, name) else found


def leaf_of(place: Path, name: str) -> Path:
    """Return where a manager's own process is when it has stepped aside."""
    return place / f"{name}-manager"


def enter_leaf(place: Path, name: str) -> None:
    """Move this process into its leaf. Raises OSError."""
    leaf = leaf_of(place, name)
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))


def enable_controllers(directory: Path) -> frozenset[str]:
    """Hand every controller of a cgroup down to its children; return those that the kernel let us hand down.

    One by one, because one refusal (EBUSY: the cgroup holds processes; ENOENT; EACCES) would refuse all.
    """
    for controller in (directory / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")
    handed = frozenset((directory / "cgroup.subtree_control").read_text().split())
    _HANDED_DOWN[str(directory)] = handed
    return handed


#: What each directory handed down when we last had a say in it: a file of another controller is not looked for.
_HANDED_DOWN: Final[dict[str, frozenset[str]]] = {}
_COUNTING: Final = frozenset(
    {"memory", "io", "pids"}
)  # their files are there only with the controller; cpu.stat always is


class Cgroup:
    """One directory of the hierarchy. ``fd`` is an O_PATH descriptor of it, fit for CLONE_INTO_CGROUP."""

    def __init__(self, path: Path, base: Path | None = None) -> None:
        self.path = path
        self._base = base or path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @classmethod
    def create(cls, base: Path, relative: str) -> Cgroup:
        """Make the directory below ``base``; one of this name that is empty is taken over.

        Raises OSError: EBUSY when processes live in it, EINVAL for a path that is not plainly below ``base``, mkdir(2).
        """
        if not relative or any(part in ("", ".", "..") for part in relative.split("/")):
            raise OSError(errno.EINVAL, f"{relative!r} is no path below {base}")
        path = base / relative
        try:
            path.mkdir()
        except FileExistsError:
            group = cls(path, base)
            if not group.populated():
                return group
            group.close()
            raise OSError(errno.EBUSY, f"processes live in {path} already") from None
        except FileNotFoundError:
            path.parent.mkdir(parents=True)
            for parent in reversed([p for p in path.parents if p.is_relative_to(base)]):
                enable_controllers(parent)
            path.mkdir()
        try:
            return cls(path, base)
        except OSError:  # no descriptor left: then nobody else would remove it
            path.rmdir()
            raise

    def write(self, name: str, value: str) -> None:
        """Write a cgroup file. Raises OSError: FileNotFoundError when the controller is missing."""
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def read(self, name: str) -> str:
        """Return what a cgroup file says, stripped. Raises OSError."""
        handed = _HANDED_DOWN.get(str(self.path.parent), _COUNTING)
        if name.partition(".")[0] in _COUNTING - handed:
            raise FileNotFoundError(errno.ENOENT, "the controller is not handed down", f"{self.path}/{name}")
        fd = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)  # a third of the price of Path.read_text
        try:
            text = b""
            while piece := os.read(fd, 16384):
                text += piece
                if len(piece) < _WHOLE:
                    break
        finally:
            os.close(fd)
        return text.decode().strip()

    def pids(self) -> list[int]:
        """Return the pids in this cgroup and below it."""
        found: list[int] = []
        for directory, _, _ in os.walk(self.path):
            with contextlib.suppress(FileNotFoundError):
                found += map(int, Path(directory, "cgroup.procs").read_text().split())
        return found

    def populated(self) -> bool:
        """Return whether any process lives here or below. A removed cgroup is empty."""
        try:
            return "populated 1" in self.read("cgroup.events")
        except (FileNotFoundError, OSError) as error:
            if isinstance(error, FileNotFoundError) or error.errno == errno.ENODEV:
                return False
            raise

    def kill(self) -> None:
        """Kill every process here and below at once (cgroup.kill, Linux 5.14). Raises OSError."""
        self.write("cgroup.kill", "1")

    def freeze(self, *, frozen: bool) -> bool:
        """Freeze or thaw every process here and below, and return whether it is so now. Raises OSError.

        Waits up to a second: a process that sleeps uninterruptibly freezes when it wakes.
        """
        self.write("cgroup.freeze", "1" if frozen else "0")
        return self._await_event(f"frozen {int(frozen)}", _FREEZING)

    @property
    def frozen(self) -> bool:
        """Whether every process here and below is frozen. A removed cgroup is not."""
        try:
            return "frozen 1" in self.read("cgroup.events")
        except OSError:
            return False

    def _await_event(self, line: str, seconds: float) -> bool:
        """Wait until cgroup.events has a line. It is told as POLLPRI."""
        end = time.monotonic() + seconds
        fd = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while line not in os.pread(fd, 4096, 0).decode():
                if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                    return False
        finally:
            os.close(fd)
        return True

    def delegate(self, uid: int, gid: int) -> None:
        """Let a user make cgroups in this one. Its own limits stay ours. Raises OSError (chown(2))."""
        for name in ("", *DELEGATED):
            os.chown(self.path / name, uid, gid)

    def close(self) -> None:
        """Close the descriptor; the directory stays. May be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def remove_empty(self) -> bool:
        """Remove the directory if nothing is in it, and close. Returns whether it is gone."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        self.close()
        if self.path.parent != self._base:
            self._remove_parents()
        return True

    def remove(self) -> None:
        """Remove the directory, those below it and empty ones above it, and close. Raises OSError (EBUSY: it is in use)."""
        self.close()
        if self.remove_empty():
            return
        for directory, _, _ in os.walk(self.path, topdown=False):  # a service that may has made cgroups below it
            with contextlib.suppress(FileNotFoundError):
                Path(directory).rmdir()
        if self.path.parent != self._base:
            self._remove_parents()

    def _remove_parents(self) -> None:
        """Remove the directories up to the base that nothing else is in."""
        with contextlib.suppress(OSError):
            for parent in self.path.parents:
                if parent == self._base or not parent.is_relative_to(self._base):
                    break
                parent.rmdir()
