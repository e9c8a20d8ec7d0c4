"""Writing logs to disk beside the loop: an outbox per log, and a few threads that empty them.

What a disk can do to us, and what it costs. It is *full*: the file counts and tells the lines (``logfile.py``). It is
*slow*: an outbox fills up, and the log's reader waits for room a moment, so that a flood is written whole at the disk's
pace. It *hangs* (a dead NFS or FUSE server): the thread in it is lost for as long as that lasts; the outbox stays full, is
*stalled*, and its lines are dropped and counted. Each log is in the hands of one thread at a time, so its order is kept;
there are :data:`THREADS` threads, so one log on a dead mount does not stop the others, and several cost their own lines.
All that is written at once is what came meanwhile: the busier the machine, the larger the writes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import trio

from arje import log
from arje.supervisor.logfile import LogFile, dropped
from arje.supervisor.logtext import Chunk

LOG = log.logger()
THREADS: Final = 4
SLOW: Final = "disk slow"
BROKEN: Final = "internal error"
_ROOM: Final = 256 * 1024  # bytes that wait in one outbox
_TOTAL: Final = 32 * 2**20  # bytes that wait in all of them
_LINE_COST: Final = 48  # bytes that a line becomes longer on its way
_PATIENCE: Final = 0.5  # seconds that a service waits for the disk before its lines are dropped


class Outbox:
    """What one log has for its file."""

    def __init__(self, writer: LogWriter, file: LogFile) -> None:
        self.file = file
        self.dropped: Counter[str] = Counter()
        self.pending: list[Chunk] = []
        self.size = 0
        self.busy = False  # in the queue, or in a thread's hands
        self.closing = False
        self.accepted = self.done = 0  # chunks
        self._writer = writer
        self._stalled = False
        self._untold = 0
        self._waiters: list[Callable[[], None]] = []

    @property
    def has_room(self) -> bool:
        """Whether a chunk would be taken now."""
        return self.size < _ROOM and self._writer.total < _TOTAL

    @property
    def takes(self) -> bool:
        """Whether :meth:`wait_room` would not wait."""
        return self.has_room or self._stalled

    def put(self, chunk: Chunk) -> None:
        """Take lines for the file; without room they are dropped and counted. Never waits."""
        with self._writer.lock:
            if not self.has_room:
                self.dropped[SLOW] += chunk.lines
                self._untold += chunk.lines
                return
            if self._untold:
                self._take(Chunk("arje", 0, chunk.stamp - 1, dropped(self._untold, SLOW)))
                self._untold = 0
            self._take(chunk)
            self._writer.submit(self)

    def _take(self, chunk: Chunk) -> None:
        cost = len(chunk.blob) + _LINE_COST * chunk.lines
        self.pending.append(chunk)
        self.size += cost
        self._writer.total += cost
        self.accepted += 1

    async def wait_room(self) -> None:
        """Wait until there is room, a moment at most; not at all once the disk has let us wait in vain."""
        if self.takes:
            return
        with trio.move_on_after(_PATIENCE) as scope:
            while not self.has_room:
                await self._batch()
        self._stalled = scope.cancelled_caught

    async def wait_written(self, seconds: float) -> bool:
        """Wait until what was taken so far has been written, or dropped; return whether that was so in time."""
        until = self.accepted
        with trio.move_on_after(seconds):
            while self.done < until:
                await self._batch()
        return self.done >= until

    async def _batch(self) -> None:
        """Wait for the end of the next write."""
        written, token = trio.Event(), trio.lowlevel.current_trio_token()

        def tell() -> None:
            try:
                token.run_sync_soon(written.set)
            except trio.RunFinishedError:
                return

        with self._writer.lock:
            if not self.busy:
                return
            self._waiters.append(tell)
        await written.wait()

    def take_out(self) -> list[Chunk]:
        """Take everything out, for a thread. The room stays taken until :meth:`finished`. The lock is held."""
        chunks, self.pending = self.pending, []
        return chunks

    def finished(self, chunks: list[Chunk]) -> None:
        """Hear that a thread has written, or dropped, what it took. The lock is held."""
        cost = sum(len(chunk.blob) + _LINE_COST * chunk.lines for chunk in chunks)
        self.size -= cost
        self._writer.total -= cost
        self.done += len(chunks)
        self._stalled = False
        waiters, self._waiters = self._waiters, []
        for tell in waiters:
            tell()

    def close(self) -> None:
        """Let a thread close the file once everything is written."""
        with self._writer.lock:
            self.closing = True
            self._writer.submit(self)


class LogWriter:
    """The threads. ``total``: bytes that wait in all outboxes. They begin with the first line, and sleep without one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.total = 0
        self._work = threading.Condition(self.lock)
        self._quiet = threading.Condition(self.lock)
        self._queue: deque[Outbox] = deque()
        self._idle = 0
        self._threads = 0
        self._busy = 0

    def submit(self, box: Outbox) -> None:
        """Let an outbox be emptied. The lock is held."""
        if box.busy:
            return
        box.busy = True
        self._busy += 1
        self._enqueue(box)

    def _enqueue(self, box: Outbox) -> None:
        self._queue.append(box)
        if self._idle >= len(self._queue) or self._threads == THREADS:
            self._work.notify()
            return
        self._threads += 1
        try:  # as daemons: a thread that hangs in a dead mount does not keep the process
            threading.Thread(target=self._run, name="arje-logs", daemon=True).start()
        except RuntimeError:  # no more threads; those that are there do the work
            self._threads -= 1
            self._work.notify()

    def _run(self) -> None:
        while True:
            with self.lock:
                self._idle += 1
                while not self._queue:
                    self._work.wait()
                self._idle -= 1
                box = self._queue.popleft()
                chunks, closing = box.take_out(), box.closing
            lost = 0
            try:
                box.file.write(chunks)
                if closing:
                    box.file.close()
            except Exception:  # a thread that ends would write nobody's lines any more
                LOG.exception("a log could not be written")
                lost = sum(chunk.lines for chunk in chunks)
            with self.lock:
                if lost:
                    box.dropped[BROKEN] += lost
                box.finished(chunks)
                if box.pending or (box.closing and not closing):
                    self._enqueue(box)
                else:
                    box.busy = False
                    self._busy -= 1
                    if not self._busy:
                        self._quiet.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait, at most so long, until every outbox is empty; return whether they are. For the end of the process."""
        end = time.monotonic() + seconds
        with self.lock:
            while self._busy:
                if not self._quiet.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    return False
        return True
