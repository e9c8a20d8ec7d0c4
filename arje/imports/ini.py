"""The INI files of supervisord: sections, ``key = value``, values that go on in indented lines; each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from arje.imports.draft import Place, Read
from arje.imports.source import text_of

_SECTION: Final = re.compile(r"\[([^\]]+)\]\s*(?:[;#].*)?")
_OPTION: Final = re.compile(r"([^:=\s][^:=]*?)\s*[:=]\s*(.*)")
_COMMENT: Final = re.compile(r"(?:^|\s);.*$")  # supervisord.org/configuration.html: "a=b ;comment"


@dataclass(slots=True)
class Option:
    """One option: its value, and where it stands."""

    name: str
    value: str
    place: Place


@dataclass(slots=True)
class Section:
    """One section, ``[kind:name]``."""

    title: str
    place: Place
    options: dict[str, Option] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What comes before the colon."""
        return self.title.partition(":")[0].strip()

    @property
    def name(self) -> str:
        """What comes after it."""
        return self.title.partition(":")[2].strip()


def is_supervisord(text: str) -> bool:
    """Whether a text has sections of supervisord."""
    return bool(
        re.search(r"^\[(program:[^\]]+|supervisord|unix_http_server|include|group:[^\]]+)\]", text, re.MULTILINE)
    )


def sections(file: Path, found: Read) -> list[Section]:
    """Return the sections of a file; a line that is none of the format's is noted. Raises CardError."""
    made: list[Section] = []
    last: Option | None = None
    for number, line in enumerate(text_of(file).splitlines(), 1):
        place = Place(str(file), number)
        plain = _COMMENT.sub("", line).rstrip()
        if not plain.strip() or plain.lstrip().startswith(("#", ";")):
            continue
        if line[0].isspace() and last is not None:
            last.value += "\n" + plain.strip()
        elif title := _SECTION.fullmatch(plain):
            made.append(Section(title[1], place))
            last = None
        elif (option := _OPTION.fullmatch(plain)) and made:
            last = Option(option[1].strip().lower(), option[2].strip(), place)
            made[-1].options[last.name] = last
        else:
            found.wrong(place, f"{plain.strip()[:60]!r} is no option", "write [section] and name=value")
    return made
