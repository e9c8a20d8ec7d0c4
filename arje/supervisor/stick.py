"""What sticks: enabled, masked and pinned services, and how many copies a template has.

Each is written down as a drop-in of arjectl's own, ``NAME.card.d/50-arjectl.toml`` in the directory that hides all others:
a file like any other, which a person may read, change or remove. It is written whole or not at all, and what it says is
in force at once; whatever else has changed on disk waits for ``apply`` as ever.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.card.card import Card
from arje.card.disk import NoText, read
from arje.card.layers import DROPINS, is_mask
from arje.card.rewrite import toml
from arje.errors import CardError, CardProblem, NoSuchService
from arje.service.state import State
from arje.service.table import nearest
from arje.supervisor.cards import CardPlan, changed_fields, make_plan
from arje.supervisor.catalogue import masked_by
from arje.supervisor.foresight import foresee

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
NAME: Final = "50-arjectl.toml"
_KEYS: Final = ("enabled", "masked", "pinned", "copies")
_HEAD: Final = "# Written by arjectl; to undo it, change it there or remove this file: arjectl apply\n"
_IDLE: Final = frozenset({State.STOPPED, State.DONE, State.FAILED})


# -- instances on demand -----------------------------------------------------------------------------------------------


def summon(supervisor: Supervisor, labels: list[str], who: str) -> None:
    """Make the services of instances that nobody knows yet and a template has. Raises CardError; others are left out."""
    for label in labels:
        if label in supervisor.table:
            continue
        table = [service.card for service in supervisor.table]
        if made := supervisor.catalogue.make(label, (card.label for card in table)):
            supervisor.catalogue.demanded.add(label)
            supervisor.set_cards([*table, *made], who)


def forget_idle(supervisor: Supervisor) -> bool:
    """Let instances go that were started by hand, and that nobody wants any more. Returns whether there were any."""
    table, demanded = supervisor.table, supervisor.catalogue.demanded
    idle = {
        label
        for label in demanded
        if label not in table or (table.get(label).state in _IDLE and not table.get(label).wanted)
    }
    demanded -= idle
    return bool(idle)


# -- one service -------------------------------------------------------------------------------------------------------


async def stick(supervisor: Supervisor, label: str, who: str, field: str, value: Any) -> dict[str, Any]:
    """Write one field of a service down and let it be in force. Returns result and detail of its answer."""
    card = supervisor.table.get(label).card
    if field == "pinned" and value:
        service = supervisor.table.get(label)
        value = "started" if service.wanted or service.is_up else "stopped"
    if field == "enabled" and value and card.masked:
        return {"result": "failed", "detail": f"masked by {masked_by(card)}: arjectl unmask {label}"}
    if getattr(card, field) == value:
        return {"result": "already", "detail": _word(field, value)}
    try:
        said = value if field == "enabled" else value or None
        file = await trio.to_thread.run_sync(_write, supervisor.catalogue.own, label, field, said)
        if field == "masked" and not value:
            await trio.to_thread.run_sync(_unmask, supervisor.catalogue.own, label)
    except (OSError, NoText, ValueError) as error:
        return {"result": "failed", "detail": f"cannot be written down: {_told(error)}"}
    if label in supervisor.table:
        supervisor.replace_card(_with(supervisor, label, field, value))
    supervisor.history.stuck(label, field, value)
    LOG.info("written down", service=label, who=who, file=str(file), **{field: value})
    return {"result": "done", "detail": f"{_word(field, value)} ({file})"}


def _with(supervisor: Supervisor, label: str, field: str, value: Any) -> Card:
    """Return the card with the one field as it is now: that on disk, if it is the same but for what sticks."""
    old = supervisor.table.get(label).card
    loaded, _ = supervisor.catalogue.read()
    new = next((card for card in loaded.cards if card.label == label), None)
    if new is not None and set(changed_fields(old, new)) <= set(_KEYS):
        return new
    return replace(old, **{field: value})  # the rest of what is new waits for apply


def _word(field: str, value: Any) -> str:
    if field == "pinned":
        return f"pinned {value}" if value else "not pinned"
    return field if value else {"enabled": "disabled", "masked": "not masked"}[field]


def _told(error: Exception) -> str:
    if isinstance(error, NoText):
        return str(error.problem)
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


# -- templates ---------------------------------------------------------------------------------------------------------


async def scale(supervisor: Supervisor, label: str, copies: int, who: str) -> tuple[CardPlan, str]:
    """Write down how many copies a template has. Returns the plan that touches its instances alone, and the file.

    Raises NoSuchService; CardError when it cannot be written.
    """
    catalogue = supervisor.catalogue
    if label not in catalogue.templates:
        raise NoSuchService(label, nearest(label, catalogue.templates))
    try:
        file = await trio.to_thread.run_sync(_write, catalogue.own, label, "copies", copies)
    except (OSError, NoText, ValueError) as error:
        raise CardError([CardProblem(str(catalogue.own), 0, "copies", _told(error), "")]) from error
    LOG.info("written down", template=label, who=who, file=str(file), copies=copies)
    plan = _of_template(supervisor, make_plan(catalogue, supervisor.table), label)
    return foresee(supervisor, plan), str(file)


def _of_template(supervisor: Supervisor, plan: CardPlan, label: str) -> CardPlan:
    """Return a plan without what it does to others than the instances of a template, and without changes of these."""
    mine = tuple(c for c in plan.changes if c.label.startswith(label) and c.change in ("add", "remove"))
    new = {card.label: card for card in plan.cards}
    added = [new[change.label] for change in mine if change.change == "add"]
    gone = {change.label for change in mine if change.change == "remove"}
    kept = [service.card for service in supervisor.table if service.label not in gone]
    template = tuple(found for found in plan.loaded.templates if found.label == label)
    problems = tuple(p for p in plan.problems if any(p.file == part.file for t in template for part in t.documents))
    others = tuple(found for name, found in supervisor.catalogue.templates.items() if name != label)
    loaded = replace(plan.loaded, templates=(*others, *template))
    return replace(plan, cards=(*kept, *added), changes=mine, problems=problems, loaded=loaded)


# -- files -------------------------------------------------------------------------------------------------------------


def _write(directory: Path, label: str, key: str, value: Any) -> Path:
    """Set a key of arjectl's drop-in of a label, or take it out (None).

    Raises OSError; NoText, ValueError when it is broken.

    The file is on the disk when this returns, and at no moment is there half of it.
    """
    place = directory / f"{label}{DROPINS}"
    file = place / NAME
    said = {name: item for name, item in (_said(file) | {key: value}).items() if item is not None}
    if not said:
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            place.rmdir()  # it holds nothing any more, or something of others
        return file
    if not place.is_dir():
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        _sync(directory)
    write_whole(file, _HEAD + "".join(f"{name} = {toml(item)}\n" for name, item in said.items()))
    return file


def _said(file: Path) -> dict[str, Any]:
    if not file.exists() or is_mask(file):
        return {}
    return tomllib.loads(read(file))


def _unmask(directory: Path, label: str) -> None:
    """Remove a mask that a hand has put into the place of the card."""
    for file in (directory / f"{label}.toml", directory / f"{label}.card.toml"):
        if is_mask(file):
            file.unlink()


def write_whole(file: Path, text: str) -> None:
    """Write a file: all of it is on the disk, or what was there before. Raises OSError."""
    fd, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(fd, "w") as stream:
            os.fchmod(fd, 0o644)
            stream.write(text)
            stream.flush()
            os.fsync(fd)
        Path(name).rename(file)
        _sync(file.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    """Let the names in a directory be on the disk (fsync(2))."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def files_of(supervisor: Supervisor, label: str) -> list[str]:
    """Return the files of a card or a template, its own first. Raises NoSuchService."""
    template = supervisor.catalogue.templates.get(label)
    if template is not None:
        return [document.file for document in template.documents]
    source = supervisor.table.get(label).card.source
    return [*filter(None, [source.mask]), *(part.file for part in source.parts if part.file != source.mask)]
