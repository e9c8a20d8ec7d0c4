"""Words, numbers and times for people. Text that a service wrote is escaped: it must not drive the reader's terminal."""

from __future__ import annotations

import time

TYPE_CHECKING = False  # typing itself costs a tenth of arjectl's time
if TYPE_CHECKING:
    from typing import Any, Final, TextIO

#: Glyph and SGR colour of each state; the word always stands beside them.
MARKS: Final = {
    "running": ("●", "32"),
    "reloading": ("●", "32"),
    "done": ("✓", "32"),
    "waiting": ("◐", "36"),
    "starting": ("◐", "36"),
    "stopping": ("◑", "36"),
    "backoff": ("↻", "33"),
    "failed": ("✗", "31"),
    "stopped": ("○", "2"),
}


def escape(text: str) -> str:
    """Return the text with everything that a terminal might obey made visible (``\\x1b``); tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    import unicodedata  # a megabyte that most answers do without

    return "".join(
        c if c == "\t" or unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in text
    )


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: ``8s``, ``14m 02s``, ``2h 46m``, ``3d 4h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def size(count: int | None) -> str:
    """Return bytes in K, M, G or T; ``-`` for None."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("", "K", "M", "G"):
        if value < 1024:
            return f"{value:.0f}{unit}" if value >= 10 or not unit else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}T"


def today() -> time.struct_time:
    """Return the local time of now."""
    return time.localtime()


def clock(wall: float) -> str:
    """Return a local time of day, with the date when it is not today."""
    moment = time.localtime(wall)
    form = "%H:%M:%S" if moment[:3] == today()[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, moment)


def because(loss: dict[str, Any]) -> str:
    """Return why a degradation happened: errno and system call when one refused, else the cause, and the detail."""
    import errno

    number = loss.get("errno") or 0
    how = f"{errno.errorcode.get(number, number)} at {loss['syscall']}" if number else str(loss["cause"])
    return f"{how} ({loss['detail']})" if loss.get("detail") else how


def many(count: int, word: str) -> str:
    """Return ``1 service``, ``2 services``."""
    return f"{count} {word}{'s' * (count != 1)}"


def _has_glyphs(out: TextIO) -> bool:
    """Whether a terminal takes more than ASCII, as locale(7) has it: what is set first counts, else the encoding."""
    from arje.ctl.places import variable

    every, kind, language = map(variable, ("LC_ALL", "LC_CTYPE", "LANG"))
    if kind == "C.UTF-8" and language:
        kind = ""  # Python's own word, in the place of a locale that is not installed (PEP 538)
    named = every or kind or language or out.encoding or ""
    return "utf8" in named.lower().replace("-", "")


class Paper:
    """Where output goes: a terminal gets glyphs and colours (unless NO_COLOR is set), anything else plain columns."""

    def __init__(self, out: TextIO, *, plain: bool = False, quiet: bool = False) -> None:
        self._out = out
        self.quiet = quiet
        self.rich = self.colour = False
        if out.isatty() and not plain:
            from arje.ctl.places import variable

            self.rich = _has_glyphs(out)
            self.colour = not variable("NO_COLOR") and variable("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        """Write one line, unless nothing is to be said."""
        if not self.quiet:
            self._out.write(text + "\n")

    def paint(self, text: str, code: str) -> str:
        """Return the text in a colour, when there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def mark(self, state: str) -> str:
        """Return a state's glyph and a space; nothing without a terminal."""
        glyph, code = MARKS.get(state, ("?", ""))
        return self.paint(glyph, code) + " " if self.rich else ""

    def state(self, state: str, text: str = "") -> str:
        """Return a state's word in its colour."""
        return self.paint(text or state, MARKS.get(state, ("", ""))[1])

    def beside(self, name: str, state: str) -> str:
        """Return a name with its state: the glyph where there are glyphs, and always the word."""
        return f"{escape(name)} {self.mark(state)}({self.state(state)})"

    @property
    def width(self) -> int | None:
        """How many columns the terminal has; None without one, or when it does not say."""
        if not self.rich:
            return None
        from posix import get_terminal_size

        try:
            return get_terminal_size(self._out.fileno()).columns or None
        except OSError:
            return None

    @property
    def back(self) -> str:
        """The arrow from a thing to what it waits for."""
        return "←" if self.rich else "<-"

    def flush(self) -> None:
        """Let the reader see it now."""
        self._out.flush()
