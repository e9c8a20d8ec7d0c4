"""Which files make which card: layers of directories that hide each other, drop-ins, and masks. Reads no card.

Directories come lowest first: what a package ships, what lives until the next boot, what the administrator wrote. A name
in a later one hides the same name in an earlier one. The files of one card are

* ``web.toml`` or ``web.card.toml`` (``web@.toml``: the template of every ``web@…``); ``seed.json`` may hold several;
* ``_all.card.d/*.toml``, then ``web@.card.d/*.toml``, then ``web@blue.card.d/*.toml``: drop-ins, from the general to
  the particular, in each by name; they are merged over the card (``merge.py``).

A file without a byte, or a link to /dev/null, is a mask: it hides what lies below and says nothing itself. A masked card
stays to be seen, and does not start; a masked drop-in is left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from arje.card.disk import NoText, card_files
from arje.errors import CardProblem

DROPINS: Final = ".card.d"
#: Drop-ins of every card. It can be no card's label: those begin with a letter or a digit.
EVERY: Final = "_all"
_NULL: Final = os.makedev(1, 3)  # null(4)


@dataclass(frozen=True, slots=True)
class Hidden:
    """A file that a file of a later directory hides."""

    file: Path
    by: Path

    def __str__(self) -> str:
        return f"{self.file} is hidden by {self.by}"


@dataclass(slots=True)
class Layers:
    """``cards``: name → the file that counts. ``masks``: label → the mask, ``below`` → what it hides, if anything.

    ``dropins``: label → its drop-ins by the order of merging, a template's and ``_all`` apart.
    """

    cards: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    below: dict[str, Path] = field(default_factory=dict)
    dropins: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    hidden: list[Hidden] = field(default_factory=list)
    problems: list[CardProblem] = field(default_factory=list)

    def of(self, label: str) -> tuple[Path, ...]:
        """Return the drop-ins of a card, in the order of merging."""
        return tuple(file for scope in scopes(label) for file in self.dropins.get(scope, ()))


def scopes(label: str) -> tuple[str, ...]:
    """Return whose drop-ins a card takes: everybody's, its template's, its own."""
    prefix, at, instance = label.partition("@")
    return (EVERY, f"{prefix}@", label) if at and instance else (EVERY, label)


def name_of(file: Path) -> str:
    """Return what a card file is called: the label that it has when it says none; the file's whole name for JSON."""
    return file.name if file.suffix == ".json" else file.stem.removesuffix(".card")


def concerns(file: Path, label: str) -> bool:
    """Whether a file makes the card of a label, by its name: its own card, its template's, or a drop-in of these."""
    place = file.parent.name
    name = place.removesuffix(DROPINS) if place.endswith(DROPINS) else file.stem.removesuffix(".card")
    return name in (label, *scopes(label))


def is_mask(file: Path) -> bool:
    """Whether a file says nothing on purpose: it has no byte, or leads to /dev/null."""
    try:
        found = file.stat()
    except OSError:
        return False
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == _NULL
    return stat.S_ISREG(found.st_mode) and not found.st_size


def find(directories: Iterable[Path]) -> Layers:
    """Look at the directories, the later hiding the earlier.

    One that is not there holds nothing; one that cannot be read is a problem.
    """
    layers = Layers()
    scoped: dict[str, dict[str, Path]] = {}
    for directory in directories:
        _cards(directory, layers)
        for scope, files in _dropins(directory, layers):
            chosen = scoped.setdefault(scope, {})
            layers.hidden += (Hidden(chosen[file.name], file) for file in files if file.name in chosen)
            chosen |= {file.name: file for file in files}
    for scope, chosen in scoped.items():
        layers.dropins[scope] = tuple(chosen[name] for name in sorted(chosen) if not is_mask(chosen[name]))
    return layers


def dropins_of(directories: Iterable[Path], label: str) -> tuple[Path, ...]:
    """Return the drop-ins that one card takes now, in the order of merging; looks at their directories alone."""
    layers, found = Layers(), list[Path]()
    directories = tuple(directories)
    for scope in scopes(label):
        chosen: dict[str, Path] = {}
        for directory in directories:
            place = directory / f"{scope}{DROPINS}"
            chosen |= {file.name: file for file in _listed(place, layers) if file.suffix == ".toml"}
        found += (chosen[name] for name in sorted(chosen) if not is_mask(chosen[name]))
    return tuple(found)


def hides(directories: Iterable[Path], file: Path) -> bool:
    """Whether a later directory than a card's own holds another file of its name."""
    name, directories = name_of(file), tuple(directories)
    if file.parent not in directories:
        return False
    later = directories[directories.index(file.parent) + 1 :]
    names = (name,) if file.suffix == ".json" else (f"{name}.toml", f"{name}.card.toml")
    return any(os.path.lexists(directory / each) for directory in later for each in names)


def _cards(directory: Path, layers: Layers) -> None:
    here: dict[str, Path] = {}
    for file in _listed(directory, layers):
        name = name_of(file)
        if (other := here.get(name)) is not None:
            message = f"{other.name} in the same directory is the same card"
            layers.problems.append(CardProblem(str(file), 0, "", message, "remove one"))
            continue
        here[name] = file
    for name, file in here.items():
        lower = layers.cards.pop(name, None) or layers.masks.get(name)
        if lower is not None:
            layers.hidden.append(Hidden(lower, file))
        if is_mask(file):
            if file.suffix != ".json":  # what cards it would have had is not known
                layers.masks[name] = file
                if lower is not None:
                    layers.below.setdefault(name, lower)
        else:
            layers.masks.pop(name, None)
            layers.below.pop(name, None)
            layers.cards[name] = file


def _listed(directory: Path, layers: Layers) -> list[Path]:
    try:
        return list(card_files(directory))
    except NoText as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            layers.problems.append(error.problem)
        return []


def dropin_directories(directory: Path) -> list[Path]:
    """Return the directories of drop-ins in a directory, by name; none when it cannot be read."""
    try:
        return sorted(place for place in directory.iterdir() if place.name.endswith(DROPINS) and place.is_dir())
    except (OSError, ValueError):
        return []


def _dropins(directory: Path, layers: Layers) -> Iterator[tuple[str, list[Path]]]:
    for place in dropin_directories(directory):
        files = [file for file in _listed(place, layers) if file.suffix == ".toml"]
        yield place.name.removesuffix(DROPINS), files
