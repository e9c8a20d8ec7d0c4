"""``arje check FILE|DIR…``: every problem of every file at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arje.card.card import Card
from arje.card.layers import DROPINS
from arje.card.loader import Loaded, load_file
from arje.card.shelf import load_dirs, together
from arje.errors import CardProblem


def check(paths: Sequence[Path]) -> Loaded:
    """Load the cards of files and directories; whatever cannot be read is a problem.

    Directories are layers, the later over the earlier; a file is judged without its drop-ins, for itself.
    """
    directories = [path for path in paths if _is_directory(path)]
    layered = load_dirs(directories)
    each = [_file(path) for path in paths if path not in directories]
    loaded = together([layered, *each])
    problems = (*layered.problems, *(problem for problem in loaded.problems if problem not in layered.problems))
    return Loaded(loaded.cards, problems, loaded.templates, layered.hidden, layered.strays)


def _file(path: Path) -> Loaded:
    """Judge one file; a drop-in by what it does to the cards of the directory that it lies in."""
    if not path.parent.name.endswith(DROPINS):
        return load_file(path)
    whole = load_dirs([path.absolute().parent.parent])
    return Loaded((), tuple(problem for problem in whole.problems if problem.file == str(path.absolute())))


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # not even its kind is known: the loader says why
        return False


def main_check(paths: Sequence[str], edges: Callable[[tuple[Card, ...]], Iterable[CardProblem]] | None = None) -> int:
    """Print every problem, what is hidden, and a closing line; return 0 when there is no problem, else 1.

    ``edges`` judges what the cards say about each other, which is the business of a higher floor.
    """
    loaded = check([Path(path) for path in paths])
    problems = (*loaded.problems, *(edges(loaded.cards) if edges else ()))
    for problem in problems:
        print(problem, file=sys.stderr)
    for each in loaded.hidden:
        print(each)
    for label in loaded.strays:
        print(f"{label}{DROPINS} belongs to no card")
    for card in loaded.cards:
        if card.source.mask:
            print(f"{card.label} is masked by {card.source.mask}")
    good, bad = len(loaded.cards), len(problems)
    print(f"{good} card{'s' * (good != 1)} read, {bad} problem{'s' * (bad != 1)}")
    return 1 if problems else 0
