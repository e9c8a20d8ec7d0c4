"""Reading what is imported: small text, never a FIFO or a device, and nothing that is huge or no text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from arje.card import disk
from arje.card.disk import NoText
from arje.errors import CardError
from arje.imports.draft import Place, wrong

_MANY: Final = 10_000  # entries of a directory
_LONGEST: Final = 8192  # letters of a line: what people write is shorter, and patterns take their time over longer ones


def text_of(file: Path) -> str:
    """Return a file's text. Raises CardError."""
    try:
        text = disk.read(file)
    except NoText as error:
        raise CardError([error.problem]) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise wrong(Place(str(file), line), "a NUL byte: it is no text", "name the file that a person wrote")
    for number, one in enumerate(text.splitlines(), 1):
        if len(one) > _LONGEST:
            raise wrong(Place(str(file), number), f"a line of {len(one)} letters", f"at most {_LONGEST} are read")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def first_line(file: Path) -> str:
    """Return the first line, stripped; empty for an empty file. Raises CardError."""
    return text_of(file).partition("\n")[0].strip()


def entries(directory: Path) -> list[Path]:
    """Return what is in a directory, by name, without hidden files. Raises CardError."""
    try:
        found = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise wrong(Place(str(directory)), f"cannot be read: {error.strerror}") from error
    if len(found) > _MANY:
        raise wrong(Place(str(directory)), f"{len(found)} entries", f"at most {_MANY} are read")
    return found
