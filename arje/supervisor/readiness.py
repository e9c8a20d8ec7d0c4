"""The front ends of one idea: how a start learns that a service is ready. What it needs is made before.

A pipe whose newline means ready, the log that is listened to, the message by sd_notify(3): none of them may be missed by
being looked at too late. Probes are tried again and again until the start's time is over; a pid file is waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje import native
from arje.card.card import Card
from arje.card.probes import Readiness, way_of
from arje.supervisor import probing
from arje.supervisor.follower import Follower
from arje.supervisor.host import Living

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_CHANGES: Final = 0x8 | 0x80 | 0x100 | 0x2 | 0x400  # close_write, moved_to, create, modify, delete_self


class Readier:
    """One start's wait for readiness. Close it, whatever becomes of the start."""

    def __init__(self, supervisor: Supervisor, card: Card) -> None:
        self._supervisor = supervisor
        self._card = card
        self._asked = card.supervision.readiness or Readiness()
        self._way = way_of(self._asked)
        self._said: trio.Event | None = trio.Event() if self._way else None
        self._follower: Follower | None = None
        self._pipe = (-1, -1)
        self._living: Living | None = None
        if self._way == "log":
            self._follower = supervisor.logs.follow(frozenset({card.label}))
        elif self._way == "fd":
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def fds(self, before: int) -> tuple[int, ...]:
        """Return the descriptors to pass after the ``before`` others: the pipe, up to the number that the card names.

        It takes every number from the next one on, as nothing else is there; that harms nobody.
        """
        if self._asked.fd is None:
            return ()
        return (self._pipe[1],) * max(1, self._asked.fd - 2 - before)

    def begins(self, living: Living) -> None:
        """The payload runs: the writing end is its alone now."""
        self._living = living
        if self._pipe[1] >= 0:
            os.close(self._pipe[1])
            self._pipe = (self._pipe[0], -1)

    @property
    def waits_for(self) -> str:
        """What is waited for, in words that follow a sentence; empty for nothing."""
        asked = self._asked
        words = {
            "": "",
            "notify": "READY=1",
            "fd": f"a newline on descriptor {asked.fd}",
            "pid_file": f"the pid file {asked.pid_file}",
            "log": f"a line like {asked.log!r}",
            "exec": f"the success of {asked.exec}",
        }
        what = words.get(self._way, str(getattr(asked, self._way, "")))
        return f": it waits for {what}" if what else ""

    @property
    def is_mute(self) -> bool:
        """Whether it should have said that it is ready, and has not."""
        return self._said is not None and not self._said.is_set()

    def says_ready(self) -> None:
        """It has said READY=1."""
        if self._said is not None:
            self._said.set()

    async def wait(self) -> str:
        """Wait until it is ready; return by what. It may never be: cancel it."""
        if not self._way:
            return "it runs"
        if self._way == "notify":
            assert self._said is not None
            await self._said.wait()
            return "it says READY=1"
        if self._way == "fd":
            return await self._newline()
        if self._way == "log":
            return await self._line()
        if self._way == "pid_file":
            return await self._pid_file(self._asked.pid_file)
        return await self._probe()

    async def _newline(self) -> str:
        """Wait for a newline; one who closes the descriptor without it never gets ready (s6: notification-fd)."""
        while True:
            try:
                data = os.read(self._pipe[0], 512)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._pipe[0])
                continue
            if b"\n" in data:
                return f"a newline on descriptor {self._asked.fd}"
            if not data:
                await trio.sleep_forever()

    async def _line(self) -> str:
        assert self._follower is not None
        known = re.compile(self._asked.log)
        async for line in self._follower:
            if known.search(line.text):
                return f"it logs {line.text[:80]!r}"
        await trio.sleep_forever()
        raise AssertionError

    async def _probe(self) -> str:
        assert self._living is not None
        while trouble := await probing.look(self._supervisor, self._card, self._living, self._asked, "ready"):
            if self._card.label in self._supervisor.table:
                self._supervisor.table.note(self._card.label, doing=f"not ready: {trouble}")
            await trio.sleep(self._asked.interval)
        return f"{getattr(self._asked, self._way)} answers"

    async def _pid_file(self, path: str) -> str:
        """Wait for the file by its directory's changes (inotify(7)), as the service sees it."""
        assert self._living is not None
        place = Path(f"/proc/{self._living.incarnation.pid}/root{path}")
        watch = native.inotify_init()
        try:
            while True:
                nearest = await self._supervisor.host.ask(f"pid_file {path}", lambda: _nearest(place.parent))
                native.inotify_add(watch, nearest, _CHANGES)
                if pid := await self._supervisor.host.ask(f"pid_file {path}", lambda: _pid_in(place)):
                    return f"{path} holds {pid}"
                await trio.lowlevel.wait_readable(watch)
                with contextlib.suppress(BlockingIOError):
                    os.read(watch, 65536)
        finally:
            os.close(watch)

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        if self._follower is not None:
            self._supervisor.logs.leave(self._follower)
            self._follower = None
        for fd in self._pipe:
            if fd >= 0:
                os.close(fd)
        self._pipe = (-1, -1)


def _nearest(directory: Path) -> Path:
    return next(place for place in (directory, *directory.parents) if place.is_dir())


def _pid_in(path: Path) -> int:
    """Return the number in a pid file; 0 when there is none yet."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(errors="replace")[:32])
    return 0
