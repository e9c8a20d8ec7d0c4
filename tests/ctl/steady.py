"""A client of a real manager whose answers say the same in every run: pids, times and sizes are numbered anew.

What is rendered is from a real run; only what no two runs share is replaced, by kind of field: moments become seconds
after a fixed one in the order in which they were, lengths of time and figures fixed ones, pids 101, 102 and so on.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from arje.ctl import main, words
from arje.ctl.client import Client

NOW: Final = 1_795_600_800.0  # 2026-11-25 10:00:00 UTC
_FIXED: Final = {
    "uptime": 9960.0,
    "since_s": 842.0,
    "setup_ms": 1.3,
    "ready_ms": 182.0,
    "ms": 0.2,
    "cpu_s": 0.42,
    "cpu_user": 0.31,
    "cpu_system": 0.11,
    "backoff_in_s": 7.5,
    "decays_in_s": 60.0,
    "next_in_s": 3600.0,
    "passed_s": 12.5,
    "loading_s": 0.35,
    "at": 100.0,
}
_SIZES: Final = frozenset({"memory", "memory_peak", "io_read", "io_write", "net_received", "net_sent"})
_PIDS: Final = frozenset({"pid", "leader_pid", "ppid"})


class Steady(Client):
    """The client. ``together`` are services whose moments are numbered in one order in all answers."""

    together: tuple[str, ...] = ()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        normal = _Normal()
        if self.together:
            normal.number(super().call("List", labels=[*self.together], full=True))
        found = super().call(method, **parameters)
        if not self.together:
            normal.number(found)
        told: dict[str, Any] = normal.value(found, "")
        return told


class _Normal:
    """A numbering of pids and moments; ``place`` is told as if it were /etc/arje, but where it is a file to be read."""

    place = ""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._walls: dict[float, float] = {}

    def number(self, answer: dict[str, Any]) -> None:
        """Number the moments of an answer, in their order."""
        for wall in sorted(set(_walls(answer))):
            self._walls[wall] = NOW - 900 + len(self._walls)

    def value(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            if "stream" in value:  # whether the first line came before the manager knew its pid is a matter of luck
                value = value | {"pid": 101}
            return {key: self.value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, name or "[]") for item in value]
        if isinstance(value, str):
            return value if name == "files" else self._text(value)
        if value is None or isinstance(value, bool):
            return value
        return self._number(value, name)

    def _number(self, value: float, name: str) -> float:
        if name in _PIDS:
            return self._pids.setdefault(int(value), 101 + len(self._pids)) if value else 0
        if name in _SIZES:
            return 1_258_291
        if name == "wall" or name.endswith("_wall"):
            return self._walls.get(value, NOW + 3600)
        return _FIXED.get(name, value)

    def _text(self, text: str) -> str:
        text = text.replace(self.place, "/etc/arje")
        text = re.sub(r"uid \d+ \([^)]*\)", "uid 0 (arjectl, pid 431)", text)
        text = re.sub(r"after \d+\.\d ms", "after 1.3 ms", text)
        return re.sub(r"\b[0-9a-f]{16,64}\b", "5f3a9c", text)


def _walls(value: Any, name: str = "") -> Iterator[float]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walls(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _walls(item, name)
    elif (name == "wall" or name.endswith("_wall")) and value is not None and not name.startswith("next"):
        yield value


class Terminal(io.StringIO):
    """A terminal that takes UTF-8 and colours, and does not say how wide it is."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def steady(monkeypatch: pytest.MonkeyPatch, place: str) -> Iterator[None]:
    """Let arjectl in this process be the same in each run: its client, its clock, its time zone, its environment."""
    monkeypatch.setattr(main, "Client", Steady)
    monkeypatch.setattr(_Normal, "place", place)
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(words, "today", lambda: time.gmtime(NOW))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(socket: str, command: list[str], out: io.StringIO) -> str:
    """Return what a command writes, and its exit code where that is not 0."""
    Steady.together = ("letters", "mail") if command[:2] == ["history", "letters"] else ()
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.main(["--socket", socket, *command])
    return out.getvalue() + err.getvalue() + (f"[exit {code}]\n" if code else "")
