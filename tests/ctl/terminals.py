"""A terminal for arjectl: what it writes to it, as text and as the screen that a person sees, and keys for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

from tests.conftest import ROOT, Manager


class Terminal:
    """arjectl on a terminal of its own, of so many lines and columns."""

    def __init__(self, manager: Manager, *words: str, lines: int = 20, columns: int = 100, **environment: str) -> None:
        self.master, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), *words]
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LC_ALL", "LC_CTYPE")}
        env |= {"TERM": "xterm", "LANG": "C.UTF-8"} | environment
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=env)
        os.close(theirs)
        self.said = ""

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, what: Callable[[str], bool]) -> str:
        """Read until what was written is so; return it."""
        end = time.monotonic() + 30
        while not what(self.said):
            left = end - time.monotonic()
            assert left > 0, self.said
            assert select.select([self.master], [], [], left)[0], self.said
            try:
                self.said += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # EIO: nobody has the other end open any more
                raise AssertionError(self.said) from None
        return self.said

    def see(self, text: str) -> str:
        """Read until the screen, as last drawn, shows a text; return what it shows."""
        self.until(lambda _: text in self.screen)
        return self.screen

    @property
    def screen(self) -> str:
        """What the last drawing of the whole screen shows."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.said.rpartition("\x1b[H")[2]).replace("\r", "")

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end open any more
            while select.select([self.master], [], [], 30)[0]:
                self.said += os.read(self.master, 65536).decode(errors="replace")
        os.close(self.master)
        return self.process.wait(30)
