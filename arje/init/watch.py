"""Noticing that the cards on disk have changed (inotify(7)); only ``apply`` takes them.

Editors and package managers write in bursts, so the cards are looked at once a burst is over. A directory that is not
there yet is waited for through its nearest parent that is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import trio

from arje import log, native
from arje.card.layers import dropin_directories
from arje.supervisor.door import Door

LOG = log.logger()
_QUIET: Final = 0.05  # seconds without a further change: the burst is over
_CHANGES: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400  # close_write, moved_from, moved_to, create, delete, self


async def watch_cards(directories: tuple[Path, ...], door: Door) -> None:
    """Keep ``door.changed_on_disk`` true to the disk, until cancelled. Without inotify it says so and rests."""
    try:
        fd = native.inotify_init()
    except OSError as error:
        LOG.warning("changes of cards are not noticed: use arjectl plan", error=error.strerror)
        return
    try:
        while True:
            _add(fd, directories)
            await burst(fd, _QUIET)
            await _look(door)
    finally:
        os.close(fd)


def _add(fd: int, directories: tuple[Path, ...]) -> None:
    """Watch each directory or its nearest parent; watching one again changes nothing (inotify_add_watch(2))."""
    places = [*directories, *(place for directory in directories for place in dropin_directories(directory))]
    for directory in places:
        nearest = next((place for place in (directory, *directory.parents) if place.is_dir()), None)
        try:
            if nearest is not None:
                native.inotify_add(fd, nearest, _CHANGES)
        except OSError as error:
            LOG.warning("changes of cards are not noticed here", directory=str(nearest), error=error.strerror)


async def _look(door: Door) -> None:
    try:
        plan = await door.plan()
    except Exception:  # whatever lies there now, the manager goes on with the cards in force
        LOG.exception("the cards on disk cannot be looked at")
        return
    door.changed_on_disk = bool(plan["changes"] or plan["problems"])


async def burst(fd: int, quiet_for: float) -> None:
    """Wait for changes, and for so many seconds without a further one."""
    await trio.lowlevel.wait_readable(fd)
    quiet = False
    while not quiet:
        os.read(fd, 65536)
        with trio.move_on_after(quiet_for) as scope:
            await trio.lowlevel.wait_readable(fd)
        quiet = scope.cancelled_caught
