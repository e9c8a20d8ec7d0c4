"""What a card says of a service that starts again when it uses too much memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card import live
from arje.card.loader import load_text
from arje.errors import CardError

P = "[payload]\nexec = '/bin/true'\n"
V = P + "[supervision]\n"
L = V + "max_memory = '64M'\n[soma.cgroup]\n"


def test_sizes_and_times_are_read() -> None:
    (card,) = load_text(Path("a.toml"), V + "max_memory = '64M'\nmemory_check = '30s'\n").cards
    assert (card.supervision.max_memory, card.supervision.memory_check) == (64 << 20, 30.0)


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (V + "max_memory = 'lots'\n", "supervision.max_memory", "is no size"),
        (V + "max_memory = -1\n", "supervision.max_memory", "out of range"),
        (V + "max_memory = true\n", "supervision.max_memory", "no whole number"),
        (V + "memory_check = '30s'\n", "supervision.memory_check", 'add max_memory = "512M"'),
        (V + "max_memory = '1M'\nmemory_check = 'x'\n", "supervision.memory_check", "is no duration"),
        (
            V + "max_memory = '1M'\nkind = 'one-shot'\n",
            "supervision.max_memory",
            "what is one-shot does not start again",
        ),
        ("payload = 'virtual'\n[supervision]\nmax_memory = '1M'\n", "supervision.max_memory", "it has no process"),
        (L + "memory_max = '64M'\n", "supervision.max_memory", "the kernel kills it before"),
        (L + "memory_high = '65M'\n", "supervision.max_memory", "leave soma.cgroup.memory_high out"),
    ],
)
def test_what_cannot_be_is_a_problem_of_its_field(text: str, field: str, message: str) -> None:
    (problem,) = load_text(Path("a.toml"), text).problems
    assert problem.field == field
    assert message in str(problem)


def test_limits_above_and_below_are_fine() -> None:
    assert not load_text(Path("a.toml"), L + "memory_max = '65M'\nmemory_high = '64M'\n").problems
    assert not load_text(Path("a.toml"), L + "memory_max = 'max'\n").problems


def test_no_limit_is_set_that_would_hide_it() -> None:
    (card,) = load_text(Path("a.toml"), V + "max_memory = '64M'\n").cards
    for name, value, message in (("memory_high", "65M", "too late"), ("memory_max", "64M", "kills it before")):
        with pytest.raises(CardError, match=message):
            live.refuse_blinding(card, live.read({name: value}, "set"), "set")
    live.refuse_blinding(card, live.read({"memory_high": "32M"}, "set"), "set")
    live.refuse_blinding(card, live.read({"nice": "5"}, "set"), "set")
