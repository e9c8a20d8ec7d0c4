"""Procfiles (foreman, heroku): a name and a command line each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports.draft import Place, Read
from arje.imports.shell import is_simple, words
from arje.imports.source import text_of

_LINE: Final = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")
_FIRST_PORT: Final = 5000


def is_procfile(text: str) -> bool:
    """Whether each line that says anything is ``name: command``, unindented, and at least one is."""
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return bool(said) and all(_LINE.fullmatch(line) for line in said)


def read(file: Path, found: Read) -> None:
    """Read a Procfile; what is wrong with it is noted in ``found``."""
    try:
        text = text_of(file)
    except CardError as error:
        found.problems += error.problems
        return
    directory = str(file.absolute().parent)
    count = 0
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        place = Place(str(file), number)
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not (match := _LINE.fullmatch(line.rstrip())):
            found.wrong(place, f"{line[:60]!r} is no process", 'write "name: command"')
            continue
        name, command = match[1], match[2]
        if name in seen:
            found.wrong(place, f"{name!r} is there already", "rename one")
            continue
        seen.add(name)
        _process(found, place, name, command, directory, _FIRST_PORT + 100 * count)
        count += 1


def _process(found: Read, place: Place, name: str, command: str, directory: str, port: int) -> None:
    draft = found.draft(name, place, "a Procfile")
    if is_simple(command) and "=" not in (parts := words(command, {}, place.line))[0]:
        draft.kept(place, command, "payload.exec", parts[0])
        draft.fields["payload.argv"] = parts[1:]
        if "/" in parts[0] and not parts[0].startswith("/"):
            draft.fields["payload.exec"] = str(Path(directory, parts[0]))
    else:
        draft.kept(place, command, "payload.exec", "/bin/sh")
        draft.fields["payload.argv"] = ["-c", command if _is_compound(command) else f"exec {command}"]
    draft.kept(place, "its directory", "soma.chdir", directory)
    if (Path(directory) / ".env").is_file():
        draft.kept(place, ".env", "payload.env_file", [f"{directory}/.env"])
    why = "as foreman counts; heroku chooses another"
    draft.near(place, "PORT", why, "payload.env", {"PORT": str(port)})
    why = "foreman passes its own on; a card names what it takes"
    draft.near(place, "its environment", why, "payload.pass_env", ["PATH", "HOME", "LANG"])
    if name == "release":
        draft.near(place, "release", "it is run once, before all others only by hand", "supervision.kind", "one-shot")
    else:
        why = "it starts again when it fails; foreman would end them all"
        draft.near(place, "the end of a process", why, "supervision.restart", "on-failure")


def _is_compound(command: str) -> bool:
    """Whether ``exec`` before it would mean only its first part."""
    return bool(re.search(r"[;&|(){}`\n]|^\s*\w+=", command))
