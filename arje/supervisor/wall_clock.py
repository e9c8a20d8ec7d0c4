"""Hearing of it when somebody sets the clock, or chooses another time zone. Nothing wakes up otherwise.

Monotonic time needs none of this. A calendar time is waited for by the difference from now, and that is right as long as
both clocks run at one pace: they do, also while NTP slews them (adjtimex(2)), but not across a step of the wall clock or a
suspend, which CLOCK_MONOTONIC sleeps through. Both cancel a timer with TFD_TIMER_CANCEL_ON_SET (timerfd_create(2)).
"""

from __future__ import annotations

import contextlib
import os

import trio

from arje import log, native
from arje.kernel.clock import LOCALTIME, zone_mark
from arje.native import clock

LOG = log.logger()
_CHANGES = 0x8 | 0x40 | 0x80 | 0x100 | 0x200  # close_write, moved_from, moved_to, create, delete (inotify(7))


class WallClock:
    """One watch of the clock and of /etc/localtime, opened by whoever waits first."""

    def __init__(self) -> None:
        self._clock = -1
        self._zone = -1
        self._mark = zone_mark()

    async def changed(self) -> None:
        """Wait until the clock was set or the zone is another. What happened between two calls is not lost."""
        self._open()
        while not self._has_changed():
            async with trio.open_nursery() as nursery:
                for fd in (self._clock, self._zone):
                    if fd >= 0:
                        nursery.start_soon(_readable, fd, nursery.cancel_scope)
                if self._clock < 0 and self._zone < 0:
                    await trio.sleep_forever()

    def _open(self) -> None:
        if self._clock >= 0:
            return
        try:
            self._clock = clock.watch()
        except OSError as error:
            LOG.warning("it is not noticed when the clock is set", error=error.strerror)
        try:
            self._zone = native.inotify_init()
            native.inotify_add(self._zone, LOCALTIME.parent, _CHANGES)
        except OSError as error:
            LOG.warning("it is not noticed when the time zone is changed", error=error.strerror)

    def _has_changed(self) -> bool:
        before, was_set = self._mark, self._clock >= 0 and clock.was_set(self._clock)
        if self._zone >= 0:
            with contextlib.suppress(BlockingIOError):
                os.read(self._zone, 65536)
            self._mark = zone_mark()
        return was_set or self._mark != before


async def _readable(fd: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(fd)
    scope.cancel()
