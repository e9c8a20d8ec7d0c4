"""``arje check FILE|DIR…``: every problem of every file at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arje.card.card import Card
from arje.card.loader import SUFFIXES, Loaded, load_files
from arje.errors import CardProblem


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the card files of files and directories; a path that is not there stays, to be reported."""
    found: list[Path] = []
    for path in paths:
        found += sorted(f for f in path.iterdir() if f.suffix in SUFFIXES) if path.is_dir() else [path]
    return found


def check(paths: Sequence[Path]) -> Loaded:
    """Load the cards of files and directories."""
    return load_files(files_of(paths))


def main_check(paths: Sequence[str], edges: Callable[[tuple[Card, ...]], Iterable[CardProblem]] | None = None) -> int:
    """Print every problem and a closing line; return 0 when there is none, else 1.

    ``edges`` judges what the cards say about each other, which is the business of a higher floor.
    """
    loaded = check([Path(path) for path in paths])
    problems = (*loaded.problems, *(edges(loaded.cards) if edges else ()))
    for problem in problems:
        print(problem, file=sys.stderr)
    good, bad = len(loaded.cards), len(problems)
    print(f"{good} card{'s' * (good != 1)} read, {bad} problem{'s' * (bad != 1)}")
    return 1 if problems else 0
