"""The screenshot: what a real ``arjectl status`` of the example cards shows on a terminal, as an SVG."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from paper import ROOT

COLUMNS: Final = 132
_COLOURS: Final = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#56d4dd"}
_SGR: Final = re.compile(r"\x1b\[([0-9;]*)m")
_CELL: Final = 8.0  # pixels; of a font of 13.33 px
_LINE: Final = 18


def write() -> None:
    """Run the example cards and write docs/pictures/status.svg."""
    with _manager() as socket:
        text = on_terminal(["wait"], socket) and on_terminal(["status"], socket)
    (ROOT / "docs/pictures/status.svg").write_text(svg("arjectl status", text))


@contextlib.contextmanager
def _manager() -> Iterator[Path]:
    """Run a manager of our own on cards.d. The sandbox's overlay cannot write to another overlay, so not below /tmp."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="arje-picture.", dir=base) as directory:
        read, ready = os.pipe()
        words = [sys.executable, "-m", "arje", "--user", "--cards", str(ROOT / "cards.d"), "--runtime-dir", directory]
        with subprocess.Popen(
            [*words, "--ready-fd", str(ready)], pass_fds=[ready], stderr=subprocess.DEVNULL
        ) as manager:
            try:
                os.close(ready)
                os.read(read, 1)
                yield Path(directory, "io.arje")
            finally:
                os.close(read)
                manager.send_signal(signal.SIGTERM)
                manager.wait()
        for work in Path(directory).glob("**/work/work"):
            work.chmod(0o700)


def on_terminal(words: list[str], socket: Path) -> str:
    """Return what arjectl writes on a terminal of its own."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(socket), *words]
    environment |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more (pty(7))
            while data := os.read(ours, 65536):
                said += data
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def runs(line: str) -> Iterator[tuple[int, str, str]]:
    """Yield the pieces of a line that look the same: their column, their style in SVG, their text."""
    column, style, end = 0, "", 0
    for found in [*_SGR.finditer(line), None]:
        text = line[end : found.start() if found else len(line)]
        if text:
            yield column, style, text
        column += len(text)
        if found:
            codes, end = found[1].split(";"), found.end()
            style = "" if codes in ([""], ["0"]) else style + "".join(map(_style, codes))


def _style(code: str) -> str:
    if code == "1":
        return ' font-weight="bold"'
    if code == "2":
        return ' opacity="0.65"'
    colour = _COLOURS.get(code.replace("9", "3", 1) if len(code) == 2 else code)
    return f' fill="{colour}"' if colour else ""


def svg(title: str, text: str) -> str:
    """Return a picture of a terminal with this text in it."""
    lines = text.rstrip("\n").split("\n")
    wide = max(len(_SGR.sub("", line)) for line in lines)
    width, height = wide * _CELL + 32, len(lines) * _LINE + 56
    rows = []
    for number, line in enumerate([f"$ {title}", *lines]):
        for column, style, piece in runs(line):
            x, y = 16 + column * _CELL, 34 + number * _LINE
            length = f'textLength="{len(piece) * _CELL:g}" lengthAdjust="spacingAndGlyphs"'
            rows.append(f'<text x="{x:g}" y="{y}" xml:space="preserve" {length}{style}>{escape(piece)}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}" '
            'font-family="ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13.33" fill="#e6edf3">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height}" rx="8" fill="#0d1117" stroke="none"/>',
            *rows,
            "</svg>",
            "",
        ]
    )
