"""``arje check FILE|DIR…``: every problem of every file at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arje.card.card import Card
from arje.card.disk import NoText, card_files
from arje.card.loader import Loaded, load_files
from arje.errors import CardProblem


def check(paths: Sequence[Path]) -> Loaded:
    """Load the cards of files and directories; whatever cannot be read is a problem."""
    files: list[Path] = []
    problems: list[CardProblem] = []
    for path in paths:
        try:
            files += card_files(path) if path.is_dir() else [path]
        except NoText as error:
            problems.append(error.problem)
        except OSError:  # not even its kind is known: the loader says why
            files.append(path)
    loaded = load_files(files)
    return Loaded(loaded.cards, (*problems, *loaded.problems))


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
