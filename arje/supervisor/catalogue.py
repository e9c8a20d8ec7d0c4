"""Where the cards come from, and what of them is no service: directories, templates in force, instances on demand."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from arje.card.card import Card
from arje.card.layers import dropins_of, hides, is_mask
from arje.card.loader import Loaded, digest_of
from arje.card.shelf import Memory, load_dirs, pulled
from arje.card.template import Template
from arje.errors import CardError, CardProblem
from arje.service.order import Graph

_MOST: Final = 4 * 2**20  # bytes of a file that is compared by its content


@dataclass(slots=True)
class Catalogue:
    """``directories``: lowest first; what arjectl writes goes into the last one. ``demanded``: labels of instances that a
    hand has started. ``read_at_start``: label → the files that its latest start read, and what was in them."""

    directories: tuple[Path, ...] = ()
    runtime_dir: Path = Path()
    cache: Path | None = None
    memory: Memory = field(default_factory=Memory)
    demanded: set[str] = field(default_factory=set)
    templates: dict[str, Template] = field(default_factory=dict)
    read_at_start: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)

    @property
    def own(self) -> Path:
        """Where arjectl's drop-ins go: the directory that hides all others."""
        return self.directories[-1]

    def read(self) -> tuple[Loaded, tuple[CardProblem, ...]]:
        """Load the directories; also return the problems of the cards' edges."""
        loaded = load_dirs(self.directories, self.memory, sorted(self.demanded))
        return loaded, tuple(Graph(loaded.cards).check())

    def take(self, loaded: Loaded) -> None:
        """Let these templates be the ones in force."""
        self.templates = {template.label: template for template in loaded.templates}

    def template(self, label: str) -> Template | None:
        """Return the template that a label is an instance of."""
        prefix, at, instance = label.partition("@")
        return self.templates.get(f"{prefix}@") if at and instance else None

    def make(self, label: str, known: Iterable[str]) -> list[Card]:
        """Return the card of an instance on demand, and those of the instances that it pulls in and nobody knows.

        Raises CardError; an empty list means that there is no such template.
        """
        made: dict[str, Card] = {}
        known, names = set(known), [label]
        for name in names:  # it grows
            if name in known or name in made or (template := self.template(name)) is None:
                continue
            loaded = template.instance(name, self.memory.here)
            if loaded.problems:
                raise CardError(loaded.problems)
            made |= {card.label: card for card in loaded.cards}
            names += (more for card in loaded.cards for more in pulled(card))
        return list(made.values())

    def on_disk(self, card: Card) -> str:
        """Return whether the files of a card still say what was loaded: ``same``, ``changed`` or ``gone``."""
        file, parts = Path(card.source.file), card.source.parts
        try:
            file.stat()
        except FileNotFoundError:
            return "gone"
        except (OSError, ValueError):
            return "changed"
        if [part.file for part in parts] != [card.source.file, *self.dropins(card.label)]:
            return "changed"
        if hides(self.directories, file) != bool(card.source.mask and card.source.mask != card.source.file):
            return "changed"
        if card.source.mask and not is_mask(Path(card.source.mask)):
            return "changed"
        return "same" if all(_digest(Path(part.file)) == part.digest for part in parts) else "changed"

    def dropins(self, label: str) -> list[str]:
        """Return the drop-ins that a card of this label takes, as they are on disk now."""
        return [str(file) for file in dropins_of(self.directories, label)]


def _digest(file: Path) -> str:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST:  # to open a fifo would be to wait
            return ""
        return digest_of(file.read_bytes().decode())
    except (OSError, ValueError):
        return ""


def masked_by(card: Card) -> str:
    """Return the file that keeps a card from starting; empty when none does."""
    return (card.source.mask or card.source.file_of("masked")) if card.masked else ""


def is_hand(who: str) -> bool:
    """Whether a subject is a person or their program, over the control socket; all others act by themselves."""
    return who.startswith("uid ")
