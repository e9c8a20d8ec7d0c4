"""A terminal as a screen: what fits into a line, the whole of it drawn anew, keys read as they are pressed.

Nothing but the sequences that every terminal of the last decades knows (console_codes(4)): the other screen, the cursor's
place, erasing to the end of a line. What was there before comes back at the end.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Final

#: What keys send, in words; any other is itself.
_KEYS: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b": "escape",
    b"\x03": "q",
}


def fit(line: str, width: int) -> str:
    """Return a line cut to so many columns; colours count nothing, and are ended where they are cut."""
    if "\x1b" not in line and line.isascii():
        return line[:width]
    import unicodedata

    taken, columns, coloured, place = list[str](), 0, False, 0
    while place < len(line):
        if line.startswith("\x1b[", place) and (end := line.find("m", place)) >= 0:
            taken.append(line[place : end + 1])
            coloured = line[place : end + 1] != "\x1b[0m"
            place = end + 1
            continue
        wide = unicodedata.east_asian_width(line[place]) in "WF"
        if columns + 1 + wide > width:
            break
        columns += 0 if unicodedata.combining(line[place]) else 1 + wide
        taken.append(line[place])
        place += 1
    return "".join(taken) + ("\x1b[0m" if coloured else "")


def keys(data: bytes) -> Iterator[str]:
    """Yield the keys that some bytes from a terminal stand for, in words; what no key sends is left out."""
    known = sorted(_KEYS, key=len, reverse=True)
    while data:
        sequence = next((each for each in known if data.startswith(each)), data[:1])
        if word := _KEYS.get(sequence) or (sequence.decode() if sequence.isascii() and sequence.isalnum() else ""):
            yield word
        elif sequence in b"/<>?+- ":
            yield sequence.decode()
        data = data[len(sequence) :]


class Screen:
    """The whole terminal, from enter to exit: the other screen, no cursor, keys one by one. Use it as a context."""

    def __init__(self) -> None:
        self._before: list[Any] = []

    def __enter__(self) -> Screen:
        import signal
        import termios
        import tty

        self._before = termios.tcgetattr(0)
        tty.setcbreak(0)
        self._winch = signal.signal(
            signal.SIGWINCH, lambda *_: None
        )  # so that a wait ends, and the size is asked again
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import signal
        import termios

        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(0, termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGWINCH, self._winch)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        found = os.get_terminal_size(1)
        return found.columns or 80, found.lines or 24

    def draw(self, lines: list[str]) -> None:
        """Show these lines, cut to the screen; in one write, over what was there, so that nothing flickers."""
        columns, rows = self.size
        body = "\r\n".join(f"{fit(line, columns)}\x1b[K" for line in lines[:rows])
        sys.stdout.write(f"\x1b[H{body}\x1b[J")
        sys.stdout.flush()


def read_keys() -> list[str]:
    """Return the keys that were pressed; call it when the terminal has something to read."""
    return list(keys(os.read(0, 1024)))
