"""arje's own log: structlog to stderr; coloured on a terminal, logfmt lines otherwise.

A log must not be able to stop the one who writes it: lines go into a bounded queue, and one thread writes them. A reader
that has gone, a full disk or a pipe that nobody empties costs lines, which are counted and told, and nothing else. Each
time that the thread wakes, the loop has to wait for the interpreter's lock: so once awake it looks again a moment
later, and a line that finds it awake wakes nobody.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

#: From the most talkative on; what is below the one in force is not written.
LEVELS: Final = ("debug", "info", "warning", "error")
_WAITING: Final = 1000  # lines; more are dropped
_GATHER: Final = 0.005  # seconds
_FLUSH: Final = 1.0  # seconds to get rid of the last lines at the end


class Writer:
    """What structlog writes to. Never waits and never raises. ``dropped`` counts the lines that nobody will read."""

    def __init__(self, fd: int) -> None:
        self.dropped = 0
        self.sink: Callable[[bytes], bool] | None = None
        self._fd = fd
        self._items: deque[str | threading.Event] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sleeps = False
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Take one line. The thread begins with the first one: signals are blocked by then (daemon.py)."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="arje-log", daemon=True)
            self._thread.start()
        if len(self._items) < _WAITING:
            self._take(text)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Do nothing: structlog asks after each line."""

    def drain(self) -> None:
        """Wait until everything taken so far is written, or for a second."""
        if self._thread is not None:
            done = threading.Event()
            self._take(done)
            done.wait(_FLUSH)

    def _take(self, item: str | threading.Event) -> None:
        self._items.append(item)
        if self._sleeps:
            self._sleeps = False
            self._bell.put(None)

    def _run(self) -> None:
        while True:
            self._sleeps = True
            if not self._items:  # a line that comes after this look rings
                self._bell.get()
            self._sleeps = False
            items = [self._items.popleft() for _ in range(len(self._items))]
            self._put_lines([item for item in items if isinstance(item, str)])
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            time.sleep(_GATHER)

    def _put_lines(self, lines: list[str]) -> None:
        if not lines:
            return
        lost, self.dropped = self.dropped, 0
        if lost:
            lines = [f'level=warning event="log lines were dropped" lines={lost}\n', *lines]
        if not self._put("".join(lines).encode(errors="replace")):
            self.dropped += len(lines)

    def _put(self, data: bytes) -> bool:
        if self.sink is not None:
            return self.sink(data)
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody made the terminal non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:
                return False
        return True


_writer: Final = Writer(2)
_least = LEVELS.index("info")


class _Logger(structlog.make_filtering_bound_logger("debug")):  # type: ignore[misc] # its class is made by a function
    """A logger of structlog's for which a line at debug that nobody wants costs a comparison."""

    def debug(self, event: str, *args: Any, **more: Any) -> Any:
        """Say it, if anybody wants to hear it."""
        return None if _least else super().debug(event, *args, **more)


def set_up(sink: Callable[[bytes], bool] | None = None) -> None:
    """Configure structlog for this process; lines go to a ``sink``, else to stderr. Times are UTC, ISO 8601."""
    _writer.sink = sink
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if sink is None and os.isatty(2)
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _filter,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(_writer),  # type: ignore[arg-type] # write and flush are all it needs
        cache_logger_on_first_use=True,
    )


def level() -> str:
    """Return the least of :data:`LEVELS` that is written."""
    return LEVELS[_least]


def set_level(name: str) -> None:
    """Drop what is below one of :data:`LEVELS`. Raises KeyError."""
    global _least
    if name not in LEVELS:
        raise KeyError(name)
    _least = LEVELS.index(name)


def _filter(logger: Any, method: str, event: Any) -> Any:
    if event["level"] in LEVELS and LEVELS.index(event["level"]) < _least:
        raise structlog.DropEvent
    return event


def drain() -> None:
    """Give the last lines a second to be written: call it before the process ends."""
    _writer.drain()


def logger() -> Any:
    """Return the logger."""
    return structlog.get_logger()
