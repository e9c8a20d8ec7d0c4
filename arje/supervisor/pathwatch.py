"""Paths that start a service, watched with inotify(7): nothing is asked again and again.

inotify knows inodes, not paths. So the nearest directory that is there is watched for the next part of the path, and every
directory on the way for being moved or deleted; after each such event everything is looked at anew. That happens in a
thread, with a new inotify instance: the old one is read once more when the new one is in force, so nothing falls between
the two. While the service runs nobody reads the instance, and the kernel keeps its events: what happened meanwhile is
known when the run has ended (more than fs.inotify.max_queued_events count as a change).
"""

from __future__ import annotations

import contextlib
import glob
import os
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from arje import native
from arje.card.path_watch import LEVELS, Sign, Watch
from arje.supervisor.opening import make_directories

Ask = Callable[[str, Callable[[], Any]], Awaitable[Any]]

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
_OVERFLOW, _MASK_ADD = 0x4000, 0x20000000
_COMES: Final = _MOVED_TO | _CREATE
_GOES: Final = _DELETE_SELF | _MOVE_SELF
_CHANGED: Final = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _DELETE | _COMES | _GOES
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name


@dataclass(frozen=True, slots=True)
class _Interest:
    """What an event of one inotify watch means: for which ``name`` in it (empty: any), and which events are the sign."""

    watch: Watch
    name: str = ""
    signs: int = 0


@dataclass(slots=True)
class _Armed:
    """An inotify instance, what its watches are for, and a level that holds already."""

    fd: int
    interests: dict[int, list[_Interest]] = field(default_factory=dict)
    holds: Watch | None = None


class PathWatch:
    """The paths of one service. One task at a time waits for them. Without a watch (in a replay) ``_armed`` is None."""

    def __init__(self, label: str, watches: tuple[Watch, ...], ask: Ask) -> None:
        self.watches = watches
        self._label = label
        self._ask = ask
        self._armed: _Armed | None = None
        self._hit: Watch | None = None
        self._closed = False

    async def arm(self) -> None:
        """Watch from now on, and make the directories that are to be made. Raises OSError."""
        await self._arm("paths")

    async def _arm(self, what: str) -> None:
        gone = threading.Event()

        def arm() -> _Armed:
            armed = _arm(self.watches)
            if gone.is_set():  # nobody waits for it any more
                os.close(armed.fd)
            return armed

        try:
            armed = await self._ask(f"{what} of {self._label}", arm)
        except trio.Cancelled:
            gone.set()
            raise
        if self._closed:
            if armed is not None:
                os.close(armed.fd)
            raise trio.ClosedResourceError
        self._read()
        self._let_go()
        self._armed = armed

    async def wait(self) -> Watch:
        """Wait until one of the paths starts the service; call :meth:`arm` before. Raises OSError."""
        while (found := self._found()) is None:
            if self._armed is None:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._armed.fd)
            if self._read():
                await self._arm("paths anew")
        return found

    def _found(self) -> Watch | None:
        holds = self._armed.holds if self._armed else None
        return holds or self._hit

    def take(self) -> None:
        """A run begins: what has happened so far is its to find, what happens from now on starts another."""
        self._read()
        self._hit = None

    def close(self) -> None:
        """Watch no more. Who waits gets trio.ClosedResourceError."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._armed is not None:
            trio.lowlevel.notify_closing(self._armed.fd)
            os.close(self._armed.fd)
        self._armed = None

    def _read(self) -> bool:
        """Empty the queue of events. Returns whether any of them asks for another look."""
        relevant = False
        for number, mask, name in events(self._armed.fd) if self._armed else ():
            for interest in self._meant(number, mask):
                if interest.name and name and name != interest.name:
                    continue
                relevant = True
                if mask & interest.signs or (mask & _OVERFLOW and interest.signs):
                    self._hit = self._hit or interest.watch
        return relevant

    def _meant(self, number: int, mask: int) -> list[_Interest]:
        assert self._armed is not None
        if mask & _OVERFLOW:
            return [interest for all_of in self._armed.interests.values() for interest in all_of]
        return self._armed.interests.get(number, [])


def events(fd: int) -> Iterator[tuple[int, int, str]]:
    """Yield what an inotify instance tells now: the number of the watch, the mask, the name in it."""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(fd, 65536):
            place = 0
            while place < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, place)
                place += _EVENT.size
                yield number, mask, os.fsdecode(data[place : place + length].rstrip(b"\0"))
                place += length


# -- in a thread -------------------------------------------------------------------------------------------------------


def _arm(watches: tuple[Watch, ...]) -> _Armed:
    armed = _Armed(native.inotify_init())
    try:
        for watch in watches:
            if watch.make_directory:
                place = Path(watch.path)
                make_directories(place.parent if watch.sign is Sign.EXISTS else place, watch.directory_mode)
            _follow(armed, watch)
        armed.holds = next((watch for watch in watches if watch.sign in LEVELS and holds(watch)), None)
    except BaseException:
        os.close(armed.fd)
        raise
    return armed


def holds(watch: Watch) -> bool:
    """Whether a level holds now. Blocks."""
    if watch.sign is Sign.EXISTS:
        return os.path.lexists(watch.path)
    if watch.sign is Sign.EXISTS_GLOB:
        return bool(_matching(watch.path))
    with contextlib.suppress(OSError), os.scandir(watch.path) as entries:
        return next(entries, None) is not None
    return False


def _matching(pattern: str) -> list[Path]:
    return [Path(found) for found in glob.glob(pattern)]  # noqa: PTH207 - of an absolute pattern


def _follow(armed: _Armed, watch: Watch) -> None:
    """Watch what is there of a path, part by part; a pattern may lead to several places."""
    places = [Path("/")]
    parts = Path(watch.path).parts[1:]
    edges = 0 if watch.sign in LEVELS else _CHANGED | (_MODIFY if watch.sign is Sign.MODIFIED else 0)
    for index, part in enumerate(parts):
        last, pattern = index == len(parts) - 1, watch.sign is Sign.EXISTS_GLOB and glob.has_magic(part)
        following = []
        for place in places:
            found = _matching(f"{glob.escape(str(place))}/{part}") if pattern else [place / part]
            there = [each for each in found if os.path.lexists(each)]
            mask = _GOES if index else 0
            signs = 0
            if pattern or last or not there:
                mask |= _COMES
            if last and edges:
                signs = _COMES | _DELETE | _MOVED_FROM
                mask |= signs
            _add(armed, place, mask, _Interest(watch, "" if pattern else part, signs))
            following += there
        places = following
    if edges or watch.sign is Sign.DIRECTORY_NOT_EMPTY:
        for place in places:
            mask = edges or _COMES | _GOES
            _add(armed, place, mask, _Interest(watch, "", edges))


def _add(armed: _Armed, place: Path, mask: int, interest: _Interest) -> None:
    """Watch an inode for more; one that has gone meanwhile is found missing by the watch above it."""
    if not mask:
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        number = native.inotify_add(armed.fd, place, mask | _MASK_ADD)
        armed.interests.setdefault(number, []).append(interest)
