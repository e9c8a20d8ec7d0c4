"""What a card may say of its timer, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.loader import load_text
from arje.card.timer import Overlap, Timer

P = "[payload]\nexec = '/bin/true'\n"
T = P + "[timer]\n"


def one(text: str) -> Card:
    loaded = load_text(Path("web.toml"), text)
    assert loaded.problems == ()
    (card,) = loaded.cards
    return card


@pytest.mark.parametrize(
    ("text", "timers"),
    [
        (P, ()),
        (T + "calendar = 'daily'\n", (Timer(calendar=("daily",)),)),
        (
            T + "calendar = ['Mon 5:00', '*:0/10 UTC']\nzone = 'Europe/Berlin'\n",
            (Timer(calendar=("Mon 5:00", "*:0/10 UTC"), zone="Europe/Berlin"),),
        ),
        (T + "cron = '*/5 * * * *'\n", (Timer(cron=("*/5 * * * *",)),)),
        (T + "every = '10m'\nafter_end = '1h'\n", (Timer(every=600, after_end=3600),)),
        (T + "after_boot = 0\nafter_start = '30s'\n", (Timer(after_boot=0, after_start=30),)),
        (
            T + "calendar = 'daily'\npersistent = true\njitter = '5m'\nfixed_jitter = true\noverlap = 'queue'\n",
            (Timer(calendar=("daily",), persistent=True, jitter=300, fixed_jitter=True, overlap=Overlap.QUEUE),),
        ),
        (P + "[[timer]]\nevery = 5\n[[timer]]\ncalendar = 'daily'\n", (Timer(every=5), Timer(calendar=("daily",)))),
        ("timer = [{every = 5}]\n" + P, (Timer(every=5),)),
    ],
)
def test_a_timer_is_a_table_or_several(text: str, timers: tuple[Timer, ...]) -> None:
    assert one(text).timer == timers


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        (T + "persistent = true\n", 3, "timer", 'it says no time (write calendar = "daily", every = "10m" or another)'),
        (T + "every = 5\npersistent = true\n", 5, "timer.persistent", "only times of a calendar can be missed"),
        (T + "every = 5\nzone = 'UTC'\n", 5, "timer.zone", "only times of a calendar have a zone"),
        (T + "every = 5\nfixed_jitter = true\n", 5, "timer.fixed_jitter", "there is no jitter"),
        (T + "every = 0\n", 4, "timer.every", "0 is out of range"),
        (T + "every = 'often'\n", 4, "timer.every", "'often' is no duration"),
        (T + "after_end = -1\n", 4, "timer.after_end", "-1 is out of range"),
        (T + "every = true\n", 4, "timer.every", "true is no number"),
        (T + "calendar = 'dayly'\n", 4, "timer.calendar.0", "did you mean 'daily'?"),
        (T + "calendar = 5\n", 4, "timer.calendar", "5 is not a list"),
        (T + "calendar = ['daily', 5]\n", 4, "timer.calendar.1", "5 is not text"),
        (T + "cron = '* * * *'\n", 4, "timer.cron.0", "has 4 fields"),
        (T + "calendar = 'daily'\nzone = 'Mars/Olympus'\n", 5, "timer.zone", "there is no time zone 'Mars/Olympus'"),
        (T + "calendar = 'daily'\noverlap = 'skipp'\n", 5, "timer.overlap", "did you mean 'skip'?"),
        (T + "calender = 'daily'\n", 4, "timer.calender", "did you mean 'calendar'?"),
        (P + "[[timer]]\nevery = 5\n[[timer]]\nevry = 5\n", 6, "timer.1.evry", "did you mean 'every'?"),
        ("timer = 'daily'\n" + P, 1, "timer", "'daily' is not a list"),
        ("timer = ['daily']\n" + P, 1, "timer.0", "'daily' is not a table"),
    ],
)
def test_a_timer_that_cannot_be_meant_is_a_problem_of_its_line(text: str, line: int, field: str, words: str) -> None:
    problems = load_text(Path("web.toml"), text).problems
    assert [(problem.line, problem.field) for problem in problems if words in str(problem)] == [(line, field)], [
        str(problem) for problem in problems
    ]
