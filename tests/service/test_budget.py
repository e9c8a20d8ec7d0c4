"""What groups of services may spend, and what follows when a limit is hit: pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.budget import Budget
from arje.card.consequence import Consequence, What, read
from arje.card.loader import load_text
from arje.card.supervision import RateLimit, RestartWhen, Supervision
from arje.incarnation import Exit
from arje.service.budget import Budgets, judge
from arje.service.faults import problems
from arje.service.order import Graph
from arje.service.record import FailureReason
from arje.service.restart import Decision, Verdict, decide

WEB = Budget(group="web", restarts=2, interval=60)
AGAIN = Decision(
    kind=Verdict.AGAIN, delay=1.0, reason=FailureReason.EXIT_CODE, detail="exited 1, again", ending="exited 1"
)
S = "[payload]\nexec = '/bin/true'\n[supervision]\n"


@pytest.mark.parametrize(
    ("at", "expected"),
    [((), Verdict.AGAIN), ((10,), Verdict.AGAIN), ((10, 20), Verdict.FAILED), ((10, 90), Verdict.AGAIN)],
)
def test_a_group_has_so_many_restarts_in_so_many_seconds(at: tuple[float, ...], expected: Verdict) -> None:
    now = 60.0 if 90 not in at else 100.0
    judged = judge(AGAIN, WEB, tuple(("a", moment) for moment in at), now)
    assert judged.kind is expected


def test_a_spent_budget_names_the_group_and_who_spent_it_and_what_follows() -> None:
    budget = Budget(group="web", restarts=3, interval=60, action="reboot")
    judged = judge(AGAIN, budget, (("b", 30.0), ("a", 20.0), ("b", 25.0)), 40.0)
    assert judged.reason is FailureReason.GROUP_LIMIT
    assert judged.detail == (
        "group-limit: web has spent 3 of 3 restarts in 60 s: a, b 2, last: exited 1; the machine is to reboot"
    )


@pytest.mark.parametrize("kind", [Verdict.DONE, Verdict.FAILED, Verdict.WAITS])
def test_who_does_not_start_again_spends_nothing(kind: Verdict) -> None:
    decision = Decision(kind=kind)
    assert judge(decision, WEB, (("a", 1.0), ("a", 2.0)), 3.0) is decision


def test_budgets_write_down_what_is_spent_and_begin_anew() -> None:
    loaded = load_text(Path("a.toml"), S + "budget = {group = 'web', restarts = 2}\n")
    (card,) = loaded.cards
    books = Budgets()
    assert books.words(card, 0.0) == "web has spent 0 of 2 restarts in 60 s"
    kinds = [books.judge(card, AGAIN, now).kind for now in (0.0, 10.0, 20.0)]
    assert kinds == [Verdict.AGAIN, Verdict.AGAIN, Verdict.FAILED]
    assert books.words(card, 20.0) == "web has spent 2 of 2 restarts in 60 s: a 2"
    assert books.judge(card, AGAIN, 61.0).kind is Verdict.AGAIN
    books.begin_anew(card)
    assert books.words(card, 61.0) == "web has spent 0 of 2 restarts in 60 s"


@pytest.mark.parametrize(
    ("word", "expected", "told"),
    [
        ("none", Consequence(What.NONE), ""),
        ("start:mend", Consequence(What.START, "mend"), "mend is started"),
        ("target:rescue", Consequence(What.TARGET, "rescue"), "the target rescue takes over"),
        ("exit:7", Consequence(What.EXIT, status=7), "arje exits with 7"),
        ("reboot", Consequence(What.REBOOT), "the machine is to reboot"),
        ("poweroff", Consequence(What.POWEROFF), "the machine is to power off"),
    ],
)
def test_what_follows_is_read_and_told(word: str, expected: Consequence, told: str) -> None:
    assert (read(word), read(word).told) == (expected, told)
    limit = RateLimit(starts=1, interval=60, action=word)
    rules = Supervision(restart=RestartWhen.ALWAYS, rate_limit=limit)
    decision = decide(rules, Exit("exited", 1), lived=0, starts=(0.0,), step=0, now=1.0)
    assert decision.detail == "start-limit: 1 in 60 s, last: exited 1" + (f"; {told}" if told else "")


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("rate_limit = {action = 'rebot'}", "supervision.rate_limit.action", "did you mean 'reboot'?"),
        ("rate_limit = {action = 'start:'}", "supervision.rate_limit.action", "start:LABEL"),
        ("rate_limit = {action = 'exit:256'}", "supervision.rate_limit.action", "256 is no exit status"),
        ("rate_limit = {action = 'start:a'}", "supervision.rate_limit.action", "is this card itself"),
        ("rate_limit = {action = 1}", "supervision.rate_limit.action", "1 is not text"),
        ("rate_limit = {starts = 0, action = 'reboot'}", "supervision.rate_limit.action", "never hit"),
        ("budget = {restarts = 2}", "supervision.budget.group", "is missing"),
        ("budget = 'web'", "supervision.budget", "is not a table"),
        ("budget = {group = 'a b'}", "supervision.budget.group", "is no group"),
        ("budget = {group = 'web', restarts = 0}", "supervision.budget.restarts", "out of range"),
        ("budget = {group = 'web', interval = 0}", "supervision.budget.interval", "in no time"),
        ("budget = {group = 'web', starts = 5}", "supervision.budget.starts", ""),
        ("budget = {group = 'web', action = 'target:a'}", "supervision.budget.action", "is this card itself"),
    ],
)
def test_what_cannot_be_is_a_problem_of_its_field(text: str, field: str, message: str) -> None:
    (problem,) = load_text(Path("a.toml"), S + text).problems
    assert (problem.field, problem.line) == (field, 4)
    assert message in str(problem)


@pytest.mark.parametrize(
    ("others", "field", "message"),
    [
        ({}, "rate_limit.action", "no card has the label 'rescue'"),
        ({"rescu": "payload = 'virtual'"}, "rate_limit.action", "did you mean 'rescu'?"),
        ({"rescue": S}, "rate_limit.action", "rescue is no target: it has a process"),
        ({"rescue": "payload = 'virtual'\nwants = ['a']"}, "rate_limit.action", "rescue pulls a in"),
        ({"rescue": "payload = 'virtual'"}, "", ""),
    ],
)
def test_what_follows_has_to_be_there(others: dict[str, str], field: str, message: str) -> None:
    texts = {"a": S + "rate_limit = {action = 'target:rescue'}\n", **others}
    cards = [card for label, text in texts.items() for card in load_text(Path(f"{label}.toml"), text).cards]
    found = problems(Graph(cards))
    assert [problem.field for problem in found] == ([f"supervision.{field}"] if field else [])
    assert all(message in str(problem) for problem in found)


def test_members_of_a_group_have_the_same_numbers() -> None:
    texts = {
        "a": S + "budget = {group = 'web', restarts = 2}\n",
        "b": S + "budget = {group = 'web', restarts = 3}\n",
        "c": S + "budget = {group = 'web', restarts = 2, action = 'reboot'}\n",
    }
    cards = [card for label, text in texts.items() for card in load_text(Path(f"{label}.toml"), text).cards]
    (problem,) = problems(Graph(cards))
    assert (problem.file, problem.field) == ("b.toml", "supervision.budget.restarts")
    assert "the group web has 2 in a" in str(problem)
