"""Man pages in the macros of man(7), which groff and mandoc both read."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from arje import __version__

#: Of the words; what is made from tables is as new as these.
DATE = "2026-11-26"
_MARKED = re.compile(r"``(.+?)``|`([^`]+)`", re.DOTALL)


def escape(text: str) -> str:
    """Return text so that it is printed as it is: backslashes, dashes, and what is not ASCII."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    return "".join(char if ord(char) < 128 else f"\\[u{ord(char):04X}]" for char in text)


def prose(text: str) -> str:
    """Return a paragraph; what stands between backquotes is bold."""
    parts, end = [], 0
    text = " ".join(text.split())
    for found in _MARKED.finditer(text):
        parts += [escape(text[end : found.start()]), f"\\fB{escape(found[1] or found[2])}\\fR"]
        end = found.end()
    parts.append(escape(text[end:]))
    lines = textwrap.wrap("".join(parts), 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_safe, lines))


def _safe(line: str) -> str:
    return f"\\&{line}" if line[:1] in (".", "'") else line


class Page:
    """One page that grows by paragraphs."""

    def __init__(self, name: str, section: int, about: str) -> None:
        title = f'.TH {name.upper()} {section} "{DATE}" "arje {__version__}" "arje"'
        self.lines = [
            '.\\" Made by "make paper": do not edit.',
            title,
            ".SH NAME",
            f"{escape(name)} \\- {escape(about)}",
        ]

    def section(self, title: str) -> None:
        """Begin a section."""
        self.lines.append(f'.SH "{escape(title)}"')

    def sub(self, title: str) -> None:
        """Begin a part of a section."""
        self.lines.append(f'.SS "{escape(title)}"')

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs. The first behind a heading needs no space of its own."""
        for paragraph in paragraphs:
            if not self.lines[-1].startswith((".SH", ".SS")):
                self.lines.append(".PP")
            self.lines.append(prose(paragraph))

    def code(self, text: str) -> None:
        """Add lines that are kept as they are."""
        rows = [_safe(escape(line)) or "\\&" for line in text.strip("\n").splitlines()]
        space = [] if self.lines[-1].startswith((".SH", ".SS")) else [".PP"]
        self.lines += [*space, ".RS 4", ".nf", *rows, ".fi", ".RE"]

    def item(self, title: str, *paragraphs: str) -> None:
        """Add a term, bold, with what it means."""
        self.lines += [".TP", f"\\fB{escape(title)}\\fR"]
        for number, paragraph in enumerate(paragraphs or ("",)):
            if number:
                self.lines.append(".IP")
            self.lines.append(prose(paragraph) or "\\&")

    def see(self, pages: Iterable[str]) -> None:
        """Add the last section: other pages, ``arjectl(1)``."""
        self.section("SEE ALSO")
        named = [page.partition("(") for page in pages]
        rows = [f".BR {escape(name)} ({number}" for name, _, number in named]
        self.lines += [f"{row} ," if place < len(rows) - 1 else row for place, row in enumerate(rows)]

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"
