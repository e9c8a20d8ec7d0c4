"""Files of environment variables: ``NAME=VALUE`` a line, as ``payload.env_file`` and ``arje run --env-file`` name them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from arje.card import disk
from arje.card.disk import NoText
from arje.card.payload import variable
from arje.card.unreadable import Unreadable

_ESCAPED: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def read(word: str) -> dict[str, str]:
    """Return the variables of a file, later lines over earlier ones; ``-`` before the path: it may be missing.

    Raises NoText, whose problem names the file and the line.
    """
    file = Path(word.removeprefix("-"))
    if word.startswith("-") and not file.exists():
        return {}
    return parse(file, disk.read(file))


def parse(file: Path, text: str) -> dict[str, str]:
    """Return the variables of a text. Blank lines and those that begin with ``#`` or ``;`` say nothing.

    A value in single quotes is taken as it is; in double quotes backslashes are what
    they are in C; without quotes it ends with the line, and the blanks around it do not count. Raises NoText.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        plain = line.strip()
        if not plain or plain[0] in "#;":
            continue
        name, equals, value = plain.removeprefix("export ").partition("=")
        try:
            if not equals:
                raise Unreadable("", "no variable", "write NAME=VALUE")
            if name != name.strip() or not name:
                raise Unreadable("", "a variable needs a name, and no blank before the =", "write NAME=VALUE")
            found[variable(name)] = _value(value)
        except Unreadable as error:
            raise NoText(file, str(error), error.remedy, number) from error
    return found


def _value(text: str) -> str:
    text = text.strip()
    if "\0" in text:
        raise Unreadable("", "a NUL byte in the value", "remove it")
    if text[:1] not in ("'", '"'):
        return text
    value, rest = _quoted(text[1:], text[0])
    if rest.strip() and not rest.lstrip().startswith("#"):
        raise Unreadable("", f"{rest.strip()!r} behind the closing quote", "put the quotes around all of it")
    return value


def _quoted(text: str, quote: str) -> tuple[str, str]:
    """Return what is between the quotes, and what is behind them."""
    done, letters = list[str](), iter(range(len(text)))
    for at in letters:
        if text[at] == quote:
            return "".join(done), text[at + 1 :]
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPED and at + 1 < len(text):
            done.append(_ESCAPED[text[next(letters)]])
        else:
            done.append(text[at])
    raise Unreadable("", f"the quote {quote} is not closed", "close it in the same line")
