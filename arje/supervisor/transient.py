"""Services of one command: ``arjectl run``. A card is written for it, and goes when it has ended.

The card is a file like any other, in ``transient.d`` of the runtime directory, the lowest layer: what is told of services
is told of these, and drop-ins for all change them too. One that is to remain is written into ``cards.d`` there, and lives
until the next boot.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log, paths
from arje.card.card import Card
from arje.card.layers import DROPINS
from arje.card.rewrite import toml
from arje.errors import CardError, CardProblem
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor.follower import Follower
from arje.supervisor.stick import write_whole

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_ENDED: Final = frozenset({State.DONE, State.FAILED, State.STOPPED})
_DROPIN: Final = "50-run.toml"
_HEAD: Final = "# Written by arjectl run\n"


@dataclass(slots=True)
class Made:
    """The card of one command. ``followers`` hear its end, ``last`` is its record then."""

    card: Card
    remains: bool
    followers: list[Follower] = field(default_factory=list)
    last: Service | None = None


async def make(supervisor: Supervisor, label: str, command: list[str], text: str, *, remain: bool) -> Made:
    """Write the card of a command; ``text`` is that of a card which the command is put into. Raises CardError.

    Nothing is left when it raises.
    """
    catalogue = supervisor.catalogue
    label = label or _unused(supervisor)
    directory = catalogue.runtime_dir / (paths.CARDS_NAME if remain else paths.TRANSIENT_NAME)
    if label in supervisor.table or "/" in label:
        raise _wrong(
            label, "label", f"{label!r} is a service already" if "/" not in label else "no label", "--label NAME"
        )
    try:
        files = await trio.to_thread.run_sync(_write, directory, label, command, text)
    except OSError as error:
        raise _wrong(label, "", f"{error.filename}: {error.strerror}", "") from error
    try:
        loaded, edges = catalogue.read()
        mine = tuple(p for p in (*loaded.problems, *edges) if p.file in map(str, files))
        card = next((card for card in loaded.cards if card.label == label and card.source.file == str(files[0])), None)
        if mine or card is None:
            raise (
                CardError(mine) if mine else _wrong(label, "label", "the card gives itself another label", "remove it")
            )
    except BaseException:
        _remove(files)
        raise
    supervisor.set_cards([*(service.card for service in supervisor.table), card], "arjectl run")
    return Made(card, remain)


async def start(supervisor: Supervisor, made: Made, who: str) -> Service:
    """Start what was made, and see to it that it goes with its end. Returns its record once it runs, or has ended."""
    supervisor.want(made.card.label, who)
    supervisor.nursery.start_soon(_keep, supervisor, made, name=f"end of {made.card.label}")
    service = await supervisor.settled(made.card.label)
    return made.last if made.last is not None and made.card.label not in supervisor.table else service


async def follow(supervisor: Supervisor, made: Made, who: str) -> AsyncIterator[dict[str, Any] | Service]:
    """Start what was made, and yield every line that it writes, as data, then its last record."""
    follower = supervisor.logs.follow(frozenset({made.card.label}))
    made.followers.append(follower)
    try:
        await start(supervisor, made, who)
        async for line in follower:
            yield line.as_dict()
        if made.last is not None:
            yield made.last
    finally:
        supervisor.logs.leave(follower)


async def _keep(supervisor: Supervisor, made: Made) -> None:
    """Wait for the end of a command, tell it to who follows, and let the card go."""
    label = made.card.label
    try:
        while label in supervisor.table:
            made.last = supervisor.table.get(label)
            if made.last.state in _ENDED:
                break
            await supervisor.bells.wait(label)
        for follower in made.followers:
            follower.close()
        if not made.remains:
            _forget(supervisor, made.card)
    except Exception:  # this task is in the nursery of all lives
        LOG.exception("the card of a command that has ended is left", service=label)


def _forget(supervisor: Supervisor, card: Card) -> None:
    _remove([Path(card.source.file), Path(card.source.file).parent / f"{card.label}{DROPINS}" / _DROPIN])
    supervisor.set_cards([service.card for service in supervisor.table if service.label != card.label], "arjectl run")


def clear(runtime_dir: Path) -> None:
    """Remove what a manager that died has left: nobody runs these commands any more."""
    directory = runtime_dir / paths.TRANSIENT_NAME
    for file in directory.glob("*.toml") if directory.is_dir() else ():
        _remove([file, directory / f"{file.stem}{DROPINS}" / _DROPIN])


def _unused(supervisor: Supervisor) -> str:
    number = 1
    while f"run-{number}" in supervisor.table:
        number += 1
    return f"run-{number}"


def _write(directory: Path, label: str, command: list[str], text: str) -> list[Path]:
    """Write the card, and the drop-in that puts the command into a card of somebody's. Returns the files."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    card = directory / f"{label}.toml"
    payload = f"enabled = false\n[payload]\nexec = {toml(command[0])}\nargv = {toml(command[1:])}\n" if command else ""
    if not text:
        write_whole(card, f"{_HEAD}description = {toml(' '.join(command)[:80])}\n{payload}")
        return [card]
    dropin = directory / f"{label}{DROPINS}" / _DROPIN
    dropin.parent.mkdir(mode=0o755, exist_ok=True)
    write_whole(dropin, _HEAD + (payload or "enabled = false\n"))
    write_whole(card, text)
    return [card, dropin]


def _remove(files: list[Path]) -> None:
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        if file.parent.name.endswith(DROPINS):
            with contextlib.suppress(OSError):
                file.parent.rmdir()


def _wrong(label: str, name: str, message: str, remedy: str) -> CardError:
    return CardError([CardProblem(f"arjectl run {label}".strip(), 0, name, message, remedy)])
