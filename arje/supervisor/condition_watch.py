"""The paths that a card's live conditions speak of, watched with inotify(7), and looked at."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from arje import log, native
from arje.card.conditions import WATCHED, Conditions, plain
from arje.supervisor import conditions
from arje.supervisor.pathwatch import events

LOG = log.logger()
#: modify, attrib, close_write, moved_from, moved_to, create, delete, delete_self, move_self (linux/inotify.h)
_CHANGES: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800


class ConditionWatch:
    """The watch over the paths in a table of tests. ``_names``: by the number of an inotify watch, who in it is meant."""

    def __init__(self, tests: Conditions) -> None:
        self._tests = tests
        self._fd = -1
        self._names: dict[int, set[str]] = {}
        self._lock = threading.Lock()
        self._arming = self._closed = False

    def arm(self) -> None:
        """Watch each path, and the parents by which it may come or go; again, it changes nothing. Blocks."""
        if self._fd < 0:
            self._fd = native.inotify_init()
        self._arming = True
        try:
            for path in paths(self._tests):
                there = [place for place in (path, *path.parents) if place.exists()]
                for place in there[:2]:
                    self._add(place, path)
        finally:
            with self._lock:
                self._arming = False
                if self._closed:  # nobody waits for it any more
                    os.close(self._fd)

    def _add(self, place: Path, path: Path) -> None:
        try:
            number = native.inotify_add(self._fd, place, _CHANGES)
        except OSError as error:
            LOG.warning("changes are not noticed here", path=str(place), error=error.strerror)
            return
        name = "*" if place == path else path.parts[len(place.parts)]
        self._names.setdefault(number, set()).add(name)

    async def changed(self) -> None:
        """Wait until something changes that the tests speak of."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            if self._read():
                return

    async def quiet(self, seconds: float) -> None:
        """Wait for so many seconds in which nothing more changes."""
        quiet = False
        while not quiet:
            with trio.move_on_after(seconds) as scope:
                await self.changed()
            quiet = scope.cancelled_caught

    def _read(self) -> bool:
        """Read what there is; whether any of it is spoken of. A queue that has overflowed may hide everything."""
        found = False
        for number, _, name in events(self._fd):
            names = self._names.get(number, {"*"})
            found = found or not name or any(fnmatch.fnmatch(name, each) for each in names)
        return found

    def close(self) -> None:
        """Watch no more; a thread that hangs at a dead mount lets go when it comes back."""
        with self._lock:
            self._closed = True
            if self._fd >= 0 and not self._arming:
                os.close(self._fd)


def paths(tests: Conditions) -> Iterator[Path]:
    """Yield every path in a table of tests; of a pattern the part before it."""
    for word in WATCHED:
        for test in getattr(tests, word):
            parts = Path(plain(test)[1]).parts
            fixed = next((place for place, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
            yield Path(*parts[:fixed])
    for group in tests.any_of:
        yield from paths(group)


def look(tests: Conditions) -> tuple[str, str]:
    """Return the first test that does not hold (empty: all hold), and a print of what they speak of. Blocks."""
    return conditions.first_false(tests), " ".join(map(_print, paths(tests)))


def _print(path: Path) -> str:
    """Return what tells a file from another one, or from itself once it was written; of a directory which one it is."""
    found = "-"
    with contextlib.suppress(OSError):
        what = path.lstat()
        found = f"{what.st_dev}:{what.st_ino}"
        if not path.is_dir():
            found += f":{what.st_mtime_ns}:{what.st_size}"
    return found
