"""A machine that is watched and driven from outside: its console is read and typed on, and QEMU's monitor told what to do.

The monitor's protocol is QMP (QEMU: interop/qmp-spec): lines of JSON, events among the answers. An end that the guest
asked for is its SHUTDOWN event: ``guest-shutdown`` is off, ``guest-reset`` a reboot.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from vm import machine
from vm.machine import Setup

#: Seconds until a line counts as not coming. A machine that emulates, on a busy one, is slow.
PATIENCE: Final = 120.0
_QMP = "qmp"


class NotSaid(AssertionError):
    """The console did not say what was waited for; the text holds all that it said."""


class Driven:
    """A running machine; used as a context manager it is gone at the end, whatever happened.

    ``console`` is all that was said so far, ``events`` what the monitor told.
    """

    def __init__(self, setup: Setup) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="arje-vm.")
        path = Path(self._directory.name, _QMP)
        words = machine.command(replace(setup, console="stdio", more=(*setup.more, "-qmp", f"unix:{path}")))
        self.console = ""
        self.events: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may come in two halves
        self._lines = b""
        self._monitor = socket.socket(socket.AF_UNIX)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            self._qemu = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            try:
                self._monitor = self._connected(listener)
                self.monitor("qmp_capabilities")
            except BaseException:
                self.close()
                raise

    def _connected(self, listener: socket.socket) -> socket.socket:
        """Wait until QEMU has connected to us, which it does before it starts the machine. Raises NotSaid."""
        assert self._qemu.stdout is not None
        ready = select.select([listener.fileno(), self._qemu.stdout.fileno()], [], [], PATIENCE)[0]
        if listener.fileno() not in ready:
            self._qemu.kill()
            raise NotSaid(f"QEMU did not start: {self._qemu.stdout.read().decode(errors='replace')}")
        return listener.accept()[0]

    def __enter__(self) -> Driven:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the machine if it has not ended, and leave nothing."""
        self._qemu.kill()
        self._qemu.wait()
        for stream in (self._qemu.stdin, self._qemu.stdout):
            if stream is not None:
                stream.close()
        self._monitor.close()
        self._directory.cleanup()

    @property
    def seen(self) -> int:
        """How much of the console has been expected so far."""
        return self._seen

    # -- the console ---------------------------------------------------------------------------------------------------

    def expect(self, pattern: str, limit: float = PATIENCE) -> re.Match[str]:
        """Wait until the console says this, behind what was expected before. Raises NotSaid."""
        end = time.monotonic() + limit
        while (found := re.compile(pattern, re.MULTILINE).search(self.console, self._seen)) is None:
            if not self._hear(end):
                raise NotSaid(f"{pattern!r} was not said in {limit} s. Said was:\n{self.console}")
        self._seen = found.end()
        return found

    def type(self, text: str) -> None:
        """Type a text on the console, as somebody before it would; with its newline if it is a line."""
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(text.encode())
        self._qemu.stdin.flush()

    def _hear(self, end: float) -> bool:
        """Take what the console and the monitor say next. Returns whether there is more to come."""
        assert self._qemu.stdout is not None
        console = self._qemu.stdout.fileno()
        fds = [console, self._monitor.fileno()] if self._monitor.fileno() >= 0 else [console]
        ready = select.select(fds, [], [], max(0.0, end - time.monotonic()))[0]
        if self._monitor.fileno() in ready:
            self._take_lines()
        if console in ready:
            data = os.read(console, 65536)
            self.console += self._decoder.decode(data.replace(b"\r", b""))
            return bool(data)
        return bool(ready)

    # -- the monitor ---------------------------------------------------------------------------------------------------

    def monitor(self, command: str, **arguments: Any) -> Any:
        """Have the monitor do something and return its answer. Raises NotSaid."""
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self._next()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise NotSaid(f"{command}: {message['error']}")

    def keys(self, *names: str) -> None:
        """Press keys together on the machine's keyboard, by QEMU's names (``ctrl``, ``alt``, ``delete``)."""
        self.monitor("send-key", keys=[{"type": "qcode", "data": name} for name in names])

    def _next(self) -> dict[str, Any]:
        while b"\n" not in self._lines:
            data = self._monitor.recv(65536)
            if not data:
                raise NotSaid(f"the monitor is gone. Said was:\n{self.console}")
            self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def _take_lines(self) -> None:
        data = self._monitor.recv(65536)
        if not data:
            self._monitor.close()
            return
        self._lines += data
        while b"\n" in self._lines:
            self._next()

    def happened(self, event: str) -> dict[str, Any] | None:
        """Return the last event of this name."""
        return next((each for each in reversed(self.events) if each["event"] == event), None)

    def until_end(self, limit: float = PATIENCE) -> str:
        """Wait until the machine has ended by itself; return why: ``guest-shutdown``, ``guest-reset``, … Raises NotSaid."""
        end = time.monotonic() + limit
        while self._hear(end):
            pass
        try:
            self._qemu.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NotSaid(f"the machine did not end in {limit} s. Said was:\n{self.console}") from None
        shutdown = self.happened("SHUTDOWN")
        return str(shutdown["data"]["reason"]) if shutdown else f"QEMU left with {self._qemu.returncode}"


def lines(console: str, *beginnings: str) -> Sequence[str]:
    """Return the lines of a console that begin with one of these."""
    return [line for line in console.splitlines() if line.startswith(beginnings)]
