"""What surrounds a process apart from isolation: session, umask, working directory, the signal of a dead parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader
from arje.kernel.facts import Facts

NEEDS: Final[dict[str, tuple[str, ...]]] = {"controlling_tty": ("new_session",)}
MUST: Final = frozenset({"chdir", "umask", "new_session", "controlling_tty"})
SHOWN_BY: Final = {"chdir": "cwd"}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield them; an umask is always set."""
    if soma.parent_death_signal:
        yield Wish("parent_death_signal", soma.parent_death_signal, "soma.parent_death_signal")
    if soma.new_session:
        yield Wish("new_session", "own session", "soma.new_session")
    if soma.controlling_tty:
        yield Wish("controlling_tty", soma.controlling_tty, "soma.controlling_tty")
    if soma.chdir:
        yield Wish("chdir", soma.chdir, "soma.chdir")
    yield Wish("umask", f"{soma.umask:04o}", "soma.umask")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield a terminal for a session that is not its own."""
    if soma.controlling_tty and not soma.new_session:
        detail = "a controlling terminal belongs to a session, and it has none of its own"
        yield Nonsense("soma.controlling_tty", detail, "set new_session = true")


def _umask(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.field("Umask")
    return Answer(granted, int(granted, 8) == plan.soma.umask)


def _chdir(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.texts["cwd"]
    return Answer(granted, not granted.startswith("(unreachable)"))  # proc(5): it lies outside of the root


READ: Final[dict[str, Reader]] = {"umask": _umask, "chdir": _chdir}
