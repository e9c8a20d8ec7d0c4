"""The history of sets kept over arje's own absence, in its directory of state: ``rollback`` works after a restart as well.

It is written when a step was made or undone, and read when somebody asks for it or it is to be written, neither of them at
a start. It holds what the steps changed. It is believed when it is our own, of this very arje (card/cache.py has the
rules), and when the cards of the start are those of the set that was last in force: steps are differences, and from any
other set they lead nowhere. Two things of a step end with the manager: the numbers of incarnations, and templates. So the
way back ends where other templates were in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.card import cache
from arje.card.cache import NoCache
from arje.card.template import Template
from arje.supervisor.history import History, Mark, Step, Undone

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_PATIENCE: Final = 5.0  # seconds that anybody waits for the file
#: What is wrong with what was read, in whatever way.
_CORRUPT: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RecursionError)


async def keep(supervisor: Supervisor, file: Path) -> None:
    """Write the history down whenever it has changed, until cancelled, and read it when it is asked for, or written.

    Not before: nobody needs it at a start, when the directory of state may not be mounted yet. What fails is logged.
    """
    history = supervisor.history
    history.recall = _Recall(supervisor, file).once
    try:
        while True:
            await history.wait_changed()
            await history.recall()
            await _write(history, file)
    finally:
        if history.is_unsaved:
            with trio.move_on_after(2 * _PATIENCE, shield=True):
                await history.recall()
                await _write(history, file)


class _Recall:
    """The reading of the history, which happens once, whoever asks for it first."""

    def __init__(self, supervisor: Supervisor, file: Path) -> None:
        self._supervisor = supervisor
        self._file = file
        self._asked = trio.Lock()
        self._done = False

    async def once(self) -> None:
        """Let the history go on where it was, if it has not been asked before."""
        async with self._asked:
            if self._done:
                return
            why = "the directory of state does not answer"
            try:
                with trio.move_on_after(_PATIENCE):
                    told = await trio.to_thread.run_sync(_read, self._file, abandon_on_cancel=True)
                    _recall(self._supervisor, told)
                    why = ""
            except NoCache as error:
                why = str(error)
            if why:
                LOG.info("earlier sets of cards are not known", why=why)
            self._done = True


async def _write(history: History, file: Path) -> None:
    """Write the history down, or say why it is not."""
    steps, now, undone = history.take_unsaved()
    try:
        await trio.to_thread.run_sync(_save, file, steps, now, undone, abandon_on_cancel=True)
    except Exception as error:  # this task is in the manager's nursery
        LOG.error("rollback will not know of this step after a restart", file=str(file), error=str(error))


def _save(file: Path, steps: tuple[Step, ...], now: Mark, undone: Undone | None) -> None:
    told = {
        "steps": [_told(step) for step in steps],
        "now": asdict(now),
        "undone": asdict(undone) if undone else None,
    }
    cache.write(file, json.dumps(told, separators=(",", ":")).encode())


def _told(step: Step) -> dict[str, Any]:
    return {
        "before": asdict(step.before),
        "cards": cache.encode(dict(step.cards)),
        "problems": cache.encode(step.problems),
        "templates": _digest(step.templates),
        **{name: sorted(getattr(step, name)) for name in ("gone", "added", "up", "armed", "pulled")},
    }


def _digest(templates: Mapping[str, Template]) -> str:
    said = sorted((label, repr(template.documents)) for label, template in templates.items())
    return hashlib.sha256(repr(said).encode(errors="surrogatepass")).hexdigest()


def _read(file: Path) -> Any:
    """Return what was written. Raises NoCache."""
    try:
        return json.loads(cache.read(file))
    except _CORRUPT as error:
        raise NoCache(f"corrupt: {error}") from error


def _recall(supervisor: Supervisor, told: Any) -> None:
    """Let the history go on where it was. Raises NoCache."""
    history = supervisor.history
    first, templates = history.now, dict[str, Template](supervisor.catalogue.templates)
    if history.steps:
        first, templates = history.steps[0].before, dict(history.steps[0].templates)
    try:
        now = Mark(**told["now"])
        if now.token != first.token:
            raise NoCache("the cards were changed while arje was away")
        undone = Undone(**told["undone"]) if told["undone"] else None
        steps: list[Step] = []
        for each in reversed(told["steps"]):
            if each["templates"] != _digest(templates):
                break
            steps.insert(0, _step(each, templates))
    except _CORRUPT as error:
        raise NoCache(f"corrupt: {error}") from error
    history.go_on(steps, now, undone)


def _step(told: dict[str, Any], templates: Mapping[str, Template]) -> Step:
    sets = {name: frozenset(told[name]) for name in ("gone", "added", "up", "armed", "pulled")}
    cards = MappingProxyType(dict(cache.decode(told["cards"])))
    step = Step(Mark(**told["before"]), cards, templates=templates, problems=(), lives={}, **sets)
    return replace(step, problems=tuple(cache.decode(told["problems"])))
