"""Hardening: a life that is watched, the card that follows from it, a life on trial under that card, and the way back."""

from __future__ import annotations

import difflib
import functools
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.card.card import Card
from arje.card.payload import Virtual
from arje.card.rewrite import rewrite
from arje.card.shelf import load_again
from arje.card.specifiers import Surroundings
from arje.card.syscalls import KNOWN
from arje.errors import CardError, CardProblem
from arje.incarnate.observe import Observer
from arje.incarnate.propose import Proposal, outside, propose
from arje.incarnate.seen import Seen
from arje.kernel import seccomp
from arje.service.record import Service
from arje.service.state import WITH_PROCESS, State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_FILTERS: Final = ("seccomp", "landlock", "landlock.tcp_bind", "landlock.tcp_connect")
_ENDS: Final = (State.STOPPED, State.DONE, State.FAILED)
_BEGINS: Final = 5.0  # seconds for a payload to make its first call
_SHORT: Final = 1.0  # seconds that the tried card is watched with the real filter, after its trial


@dataclass(frozen=True, slots=True)
class _Draft:
    """A proposal as a file and as a card."""

    proposal: Proposal
    old: str
    new: str
    card: Card

    @property
    def diff(self) -> str:
        file = self.card.source.file
        lines = difflib.unified_diff(
            self.old.splitlines(), self.new.splitlines(), file, file, "", "proposed", lineterm=""
        )
        return "\n".join(lines)


async def observe(supervisor: Supervisor, label: str, who: str) -> Service:
    """Start a service again, watched. Raises NoSuchService, and CardError for a card that no proposal can be made for."""
    before = supervisor.table.get(label)
    _text(before.card, supervisor.catalogue.memory.here)
    observer = supervisor.incarnator.observers[label] = Observer()
    supervisor.again(label, who)
    service = await supervisor.settled_again(before)
    if service.state in WITH_PROCESS:  # exec is confirmed a moment before the payload's first call is seen
        wait = functools.partial(observer.began.wait, _BEGINS)
        await trio.to_thread.run_sync(wait, abandon_on_cancel=True)
    elif not observer.seen.started:
        supervisor.incarnator.observers.pop(label, None)
        observer.stop()
    return service


async def await_end(supervisor: Supervisor, label: str, patience: float) -> Service:
    """Wait until a service is at its end, ``patience`` seconds at most, and return its record. Raises NoSuchService."""
    service = supervisor.table.get(label)
    with trio.move_on_after(patience):
        while service.state not in _ENDS:
            await supervisor.bells.wait(label)
            if label not in supervisor.table:
                break
            service = supervisor.table.get(label)
    return service


async def harden(
    supervisor: Supervisor, label: str, who: str, *, slack: float, attempt: bool, stay: float, write: bool
) -> dict[str, Any]:
    """End the watch of a service and propose a card; ``attempt``: run it with that for ``stay`` seconds, or go back.

    Raises NoSuchService, and CardError when it is not watched, or when its card has changed on disk.
    """
    service, observer = supervisor.table.get(label), supervisor.incarnator.observers.get(label)
    if observer is None:
        raise _wrong(service.card, "soma", "it is not being watched", f"arjectl harden {label}")
    if service.state in WITH_PROCESS:
        async with supervisor.aside.between_lives(label, who):  # its end is part of what it does
            draft = _end(supervisor, service.card, observer, slack)
        await supervisor.settled(label)
    else:
        draft = _end(supervisor, service.card, observer, slack)
    answer = _told(observer.seen, draft) | {"tried": False, "kept": False, "broke": [], "detail": ""}
    if attempt and draft.proposal.changes:
        try:
            answer |= {"tried": True, **await _try(supervisor, service.card, draft, who, stay)}
        except BaseException:
            supervisor.incarnator.observers.pop(label, None)
            if label in supervisor.table:  # whatever happened, the next start is with the card in force
                supervisor.replace_card(service.card)
            raise
        if not answer["broke"] and write:
            answer |= await _keep(Path(service.card.source.file), draft.new)
    return answer


def _end(supervisor: Supervisor, card: Card, observer: Observer, slack: float) -> _Draft:
    supervisor.incarnator.observers.pop(card.label, None)
    observer.stop()
    if not observer.seen.started:
        raise _wrong(card, "soma", "nothing was seen of it: it did not start", f"arjectl why {card.label}")
    text = _text(card, supervisor.catalogue.memory.here)
    capabilities = supervisor.incarnator.capabilities
    has = frozenset(name for name in _FILTERS if capabilities[name].available)
    has -= frozenset() if capabilities["libseccomp"].available else {"seccomp"}
    proposal = propose(observer.seen, card.soma, there=seccomp.here(KNOWN), has=has, slack=slack)
    new = rewrite(text, [(change.key, change.value, change.why) for change in proposal.changes])
    loaded = load_again(card, new if proposal.changes else text, supervisor.catalogue.memory.here)
    if loaded.problems:
        raise CardError(loaded.problems)
    return _Draft(proposal, text, new if proposal.changes else text, loaded.cards[0])


def _text(card: Card, here: Surroundings) -> str:
    """Return the text of a card's file. Raises CardError when it is none that can be rewritten, or not the one in force."""
    file = Path(card.source.file)
    if isinstance(card.payload, Virtual):
        raise _wrong(card, "payload", "a virtual card has no process", "harden what has one")
    if card.source.template:
        own = f"copy it to {card.label}.toml, then arjectl apply"
        raise _wrong(card, "soma", f"its file is that of every {card.source.template}…", own)
    if file.suffix != ".toml":
        raise _wrong(card, "soma", "only cards in TOML are rewritten", "write it as TOML")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(card, "soma", f"cannot be read: {error}", "arjectl apply") from error
    loaded = load_again(card, text, here)
    if not loaded.cards or loaded.cards[0].source.digest != card.source.digest:
        raise _wrong(card, "soma", "the card on disk is not the one in force", "arjectl apply")
    return text


def _wrong(card: Card, field: str, message: str, remedy: str) -> CardError:
    return CardError([CardProblem(card.source.file, 0, field, message, remedy)])


def _told(seen: Seen, draft: _Draft) -> dict[str, Any]:
    kinds = ("calls", "read", "write", "execute", "ioctl_dev", "tcp_bind", "tcp_connect")
    return {
        "seen": {kind: [str(each) for each in sorted(getattr(seen, kind))] for kind in kinds}
        | {"capabilities": [f"{name} ({what})" for name, what in sorted(seen.capabilities.items())]},
        "diff": draft.diff,
        "suggestions": list(draft.proposal.suggestions),
        "file": draft.card.source.file,
    }


async def _try(supervisor: Supervisor, old: Card, draft: _Draft, who: str, stay: float) -> dict[str, Any]:
    """Run a service with a card that is on no disk. On trial the observer is the filter: it knows what it refuses."""
    label = old.label
    observer = Observer(draft.proposal.calls or None)
    supervisor.incarnator.observers[label] = observer
    mild = replace(draft.card, soma=replace(draft.card.soma, seccomp=None))
    ended = await _live(supervisor, mild, who, stay)
    table = next((change.value for change in draft.proposal.changes if change.key == "landlock"), None)
    broke = [f"seccomp: {name}" for name in sorted(observer.seen.refused)]
    broke += outside(observer.seen, table) if table else []
    supervisor.incarnator.observers.pop(label, None)
    if not ended and not broke:
        ended = await _live(supervisor, draft.card, who, min(stay, _SHORT))
    if not ended and not broke:
        LOG.info("runs with a tighter card", service=label, who=who)
        return {"broke": [], "detail": ""}
    await _live(supervisor, old, who, 0.0)
    observer.stop()
    LOG.info("a tighter card was tried, and taken back", service=label, who=who, broke=broke, ended=ended)
    return {"broke": broke or ["it did not stay up"], "detail": ended}


async def _live(supervisor: Supervisor, card: Card, who: str, stay: float) -> str:
    """Let a service live with a card. Returns how it ended, when it did within ``stay`` seconds; empty: it lives."""
    label = card.label
    async with supervisor.aside.between_lives(label, who):
        supervisor.replace_card(card)
    service = await supervisor.settled(label)
    first = service.incarnation
    with trio.move_on_after(stay):
        while service.is_up and service.state is not State.DONE and service.incarnation is first:
            await supervisor.bells.wait(label)
            service = supervisor.table.get(label)
    if service.is_up and service.incarnation is first:
        return ""
    if service.failure is not None:
        return str(service.failure)
    return f"{service.state.value}: {service.last_exit}" if service.last_exit else service.state.value


async def _keep(file: Path, text: str) -> dict[str, Any]:
    """Write a card that has passed. What cannot be written is in force until the next ``apply``, as without ``write``."""
    try:
        await trio.to_thread.run_sync(_write, file, text)
    except OSError as error:
        return {"detail": f"it was not written: {error}"}
    return {"kept": True}


def _write(file: Path, text: str) -> None:
    """Put a card in the place of another, whole or not at all. Raises OSError."""
    fd, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(fd, "w") as stream:
            os.fchmod(fd, file.stat().st_mode & 0o7777)
            stream.write(text)
            stream.flush()
            os.fsync(fd)
        os.rename(name, file)  # noqa: PTH104 - a name from mkstemp
    except BaseException:
        os.unlink(name)  # noqa: PTH108 - as above
        raise
