"""s6-rc's source definitions (s6-rc-compile(8)): longruns, oneshots and bundles, each a directory with a ``type``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports import execline, s6
from arje.imports.chain import NotOurs, program, unchain_execline
from arje.imports.draft import Draft, Place, Read, wrong
from arje.imports.shell import Broken, Dynamic
from arje.imports.source import entries, first_line, text_of

TYPES: Final = ("longrun", "oneshot", "bundle")
_OURS: Final = (
    *("type", "dependencies", "dependencies.d", "contents", "contents.d", "up", "down", "timeout-up", "timeout-down"),
    *("producer-for", "consumer-for", "pipeline-name", "flag-essential", "flag-recommended"),
)


def is_definition(path: Path) -> bool:
    """Whether a directory is a source definition."""
    kind = path / "type"
    return kind.is_file() and kind.stat().st_size < 32 and kind.read_bytes().strip().decode(errors="replace") in TYPES


def read(directory: Path, found: Read) -> None:
    """Read one definition; what is wrong with it is noted in ``found``."""
    draft = found.draft(directory.name, Place(str(directory)), "s6-rc's source definition")
    try:
        _definition(draft, directory)
    except CardError as error:
        found.problems += error.problems
        found.drafts.remove(draft)


def _definition(draft: Draft, directory: Path) -> None:
    kind = first_line(directory / "type")
    place = Place(str(directory / "type"), 1)
    if kind == "longrun":
        if not (directory / "run").is_file():
            raise wrong(Place(str(directory)), "a longrun without run", "write run, or another type")
        pipe = any((directory / name).exists() for name in ("producer-for", "consumer-for"))
        s6.service(draft, directory, apart=pipe, also=_OURS)
        draft.kept(place, "longrun", "supervision.kind", "daemon")
        _pipeline(draft, directory)
    elif kind == "oneshot":
        _oneshot(draft, directory, place)
    else:
        draft.kept(place, "bundle", "payload", "virtual")
        _names(draft, directory, "contents", "requires")
    _names(draft, directory, "dependencies", "requires")
    for path in entries(directory):
        if path.name == "flag-essential":
            why = "no failure or stop of another stops it; a stop by hand does"
            draft.near(Place(str(path)), path.name, why, "pinned", "started")
        elif path.name == "flag-recommended":
            draft.lost(Place(str(path)), path.name, "it is a mark for s6-rc's front end")


def _oneshot(draft: Draft, directory: Path, place: Place) -> None:
    up, down = directory / "up", directory / "down"
    if not up.is_file():
        raise wrong(Place(str(directory)), "a oneshot without up", "write up")
    draft.kept(place, "oneshot", "supervision.kind", "scripted")
    _command_line(draft, up, "payload")
    if down.is_file() and text_of(down).strip():
        _command_line(draft, down, "hooks.stop")
    why = "s6-rc passes its own on; a card names what it takes"
    draft.near(draft.place, "its environment", why, "payload.pass_env", ["PATH"])
    if (timeout := directory / "timeout-up").is_file() and s6.number(timeout):
        draft.kept(Place(str(timeout), 1), "timeout-up", "supervision.start_timeout", s6.milliseconds(timeout))
    if (timeout := directory / "timeout-down").is_file() and s6.number(timeout):
        draft.kept(Place(str(timeout), 1), "timeout-down", "supervision.stop_timeout", s6.milliseconds(timeout))


def _command_line(draft: Draft, file: Path, name: str) -> None:
    """Put the execline command line of a file into the draft: as words where it is no more, else by execlineb."""
    place, text = Place(str(file), 1), text_of(file)
    if text.startswith("#!"):
        words = [str(file)]
    else:
        try:
            words = [word for word, _ in execline.words(text)]
            if words and name == "payload":
                words = unchain_execline(draft, place, words)
        except (Dynamic, NotOurs):
            words = ["execlineb", "-P", str(file)]
        except Broken as error:
            raise wrong(Place(str(file), error.line), str(error)) from error
    if not words:
        raise wrong(place, "it is empty", "write a command line")
    if name == "payload":
        program(draft, place, words)
    else:
        draft.kept(place, file.name, name, words)


def _pipeline(draft: Draft, directory: Path) -> None:
    producer = directory / "producer-for"
    if producer.is_file():
        consumer = first_line(producer)
        draft.kept(Place(str(producer), 1), f"producer-for {consumer}", "log.to", consumer)
    if (consumer_for := directory / "consumer-for").is_file():
        draft.kept(Place(str(consumer_for), 1), "consumer-for")  # the producer's card says it
    if (name := directory / "pipeline-name").is_file():
        draft.lost(Place(str(name), 1), "pipeline-name", "the services of a pipeline are started by each other's need")


def _names(draft: Draft, directory: Path, stem: str, field: str) -> None:
    """Add the names that a file has, one a line, or a directory has as files."""
    file = directory / stem
    if file.is_file():
        for number, line in enumerate(text_of(file).splitlines(), 1):
            if name := line.partition("#")[0].strip():
                draft.add(Place(str(file), number), f"{stem}: {name}", field, [name])
    if (listed := directory / f"{stem}.d").is_dir():
        for path in entries(listed):
            draft.add(Place(str(path)), f"{stem}: {path.name}", field, [path.name])
