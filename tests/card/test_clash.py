"""Two cards in one cgroup would stop each other; the one that chose the place is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.clash import clashes
from arje.card.loader import load_text
from arje.card.shelf import load_files

PROGRAM = "[payload]\nexec = '/bin/true'\n"


def card(path: str) -> str:
    return PROGRAM + f"[soma.cgroup]\npath = '{path}'\n"


@pytest.mark.parametrize(
    ("one", "two", "told", "words"),
    [
        (card("x/y"), card("x/y"), "two", "'x/y' is already the cgroup of 'one'"),
        (card("x/y"), card("/x/y"), "two", "'x/y' is already the cgroup of 'one'"),
        (card("x"), card("x/y/z"), "two", "'x/y/z' lies in the cgroup of 'one'"),
        (card("x/y/z"), card("x"), "two", "'x' holds the cgroup of 'one'"),
        (card("two"), PROGRAM, "one", "'two' is already the cgroup of 'two'"),
        (PROGRAM, card("one/x"), "two", "'one/x' lies in the cgroup of 'one'"),
    ],
)
def test_cgroups_that_are_not_apart_are_a_problem(tmp_path: Path, one: str, two: str, told: str, words: str) -> None:
    files = [tmp_path / "one.toml", tmp_path / "two.toml"]
    for file, text in zip(files, (one, two), strict=True):
        file.write_text(text)
    loaded = load_files(files)
    (problem,) = loaded.problems
    assert (Path(problem.file).stem, problem.field, problem.line) == (told, "soma.cgroup.path", 4)
    assert words in problem.message
    assert [card.label for card in loaded.cards] == [label for label in ("one", "two") if label != told]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (card("x/y"), card("x/z")),
        (card("x"), card("xy")),
        (PROGRAM, PROGRAM),
        (card("two"), "payload = 'virtual'"),
    ],
)
def test_cgroups_beside_each_other_are_none(one: str, two: str) -> None:
    cards = [load_text(Path(f"{name}.toml"), text).cards[0] for name, text in (("one", one), ("two", two))]
    assert clashes(cards) == []
