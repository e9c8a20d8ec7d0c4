"""Card files on disk: which files of a directory are cards, and the text of one. Nothing here waits for anybody."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje.errors import CardProblem

SUFFIXES: Final = (".toml", ".json")
_MOST: Final = 4 * 2**20  # bytes; a card file is a page, not a book


class NoText(Exception):
    """A file that cannot be taken; ``problem`` says why."""

    def __init__(self, file: Path, message: str, remedy: str, line: int = 0) -> None:
        super().__init__(message)
        self.problem = CardProblem(str(file), line, "", message, remedy)


def card_files(directory: Path) -> Iterator[Path]:
    """Yield the card files of a directory by name, without hidden ones and what editors leave (``.#x.toml``).

    Raises NoText for a directory that cannot be read.
    """
    try:
        names = sorted(file.name for file in directory.iterdir())
    except OSError as error:
        raise NoText(directory, f"cannot be read: {error.strerror}", "check the path and its permissions") from error
    for name in names:
        if name.endswith(SUFFIXES) and not name.startswith("."):  # an editor's "x.toml~" ends otherwise
            yield directory / name


def read(file: Path) -> str:
    """Return the text of a card file; never blocks, whatever has that name. Raises NoText."""
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        name = os.fsencode(file).decode(errors="backslashreplace")
        raise NoText(Path(name), "its name is not UTF-8", "rename it") from error
    try:
        data = _bytes(file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NoText(file, f"cannot be read: {reason}", "check the path and its permissions") from error
    if len(data) > _MOST:
        raise NoText(file, f"larger than {_MOST} bytes", "a card file is small text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {data[error.start]:#04x} is not UTF-8"
        raise NoText(file, message, "save the file as UTF-8", line) from error


def _bytes(file: Path) -> bytes:
    # A FIFO would wait for its writer for ever, a terminal could become ours.
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NoText(file, "not a regular file", "replace it by a file, or take it away")
        with open(fd, "rb", closefd=False) as stream:
            return stream.read(_MOST + 1)
    finally:
        os.close(fd)
