"""The edges between cards: what is pulled in, who comes first, and what is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.card import Card, Source
from arje.errors import NoSuchService, OrderingError
from arje.service.order import Graph

LABELS = [f"s{number:02}" for number in range(12)]
edge_lists = st.lists(
    st.tuples(
        st.sampled_from(LABELS), st.sampled_from(["requires", "wants", "after", "before"]), st.sampled_from(LABELS)
    ),
    max_size=40,
)


def among(*labels: str) -> Callable[[str], bool]:
    return lambda label: label in labels


def cards_of(edges: list[tuple[str, str, str]]) -> list[Card]:
    fields: dict[str, dict[str, tuple[str, ...]]] = {label: {} for label in LABELS}
    for label, field, other in edges:
        fields[label][field] = (*fields[label].get(field, ()), other)
    return [Card(label=label, **lists) for label, lists in fields.items()]  # type: ignore[arg-type]  # made above


def pairs_of(edges: list[tuple[str, str, str]]) -> set[tuple[str, str]]:
    return {(a, b) if field == "before" else (b, a) for a, field, b in edges}


@given(edge_lists)
def test_the_start_order_is_topological_or_the_circle_is_named(edges: list[tuple[str, str, str]]) -> None:
    graph = Graph(cards_of(edges))
    pairs = pairs_of(edges)
    cycles = graph.cycles()
    if not cycles:
        order = graph.start_order(LABELS)
        assert sorted(order) == LABELS
        assert all(order.index(first) < order.index(then) for first, then in pairs)
        assert graph.stop_order(LABELS) == order[::-1]
        return
    for cycle in cycles:
        assert all((edge.first, edge.then) in pairs for edge in cycle)
        firsts = [edge.first for edge in cycle]
        assert [edge.then for edge in cycle] == [*firsts[1:], firsts[0]]
        assert len(set(firsts)) == len(firsts)
    with pytest.raises(OrderingError) as raised:
        graph.start_order(LABELS)
    path = raised.value.path
    assert path[0] == path[-1]
    assert all(pair in pairs for pair in itertools.pairwise(path))


@given(edge_lists, st.sets(st.sampled_from(LABELS)))
def test_a_closure_holds_all_that_its_members_pull_in_and_nothing_else(
    edges: list[tuple[str, str, str]], wanted: set[str]
) -> None:
    graph = Graph(cards_of(edges))
    pulls = {(a, b) for a, field, b in edges if field in ("requires", "wants")}
    expected = set(wanted)
    while more := {b for a, b in pulls if a in expected} - expected:
        expected |= more
    try:
        assert set(graph.closure(wanted)) == expected
    except OrderingError:
        assert graph.cycles()


@given(edge_lists)
def test_starting_whatever_is_ready_starts_everything_unless_there_is_a_circle(
    edges: list[tuple[str, str, str]],
) -> None:
    graph = Graph(cards_of(edges))
    up: set[str] = set()
    coming = set(LABELS)
    started: list[str] = []
    while now := [label for label in sorted(coming) if graph.ready(label, up.__contains__, coming.__contains__)[0]]:
        up.add(now[0])
        coming.remove(now[0])
        started.append(now[0])
    if not graph.cycles():
        assert not coming
        assert all(started.index(first) < started.index(then) for first, then in pairs_of(edges))
    for label in coming:
        assert graph.ready(label, up.__contains__, coming.__contains__)[1]


def test_a_circle_is_shown_with_its_whole_path_and_the_place_of_every_edge() -> None:
    graph = Graph(
        [
            Card(label="c", requires=("b",), source=Source(file="c.toml", lines={"requires": 3})),
            Card(label="b", after=("a",), source=Source(file="b.toml")),
            Card(label="a", source=Source(file="a.toml")),
            Card(label="d", after=("a",)),
            Card(label="e", after=("c",), before=("a",), source=Source(file="e.toml", lines={"before": 9})),
        ]
    )
    (problem,) = graph.check()
    assert (problem.file, problem.field) == ("b.toml", "after")
    assert problem.message == (
        "a circle: a → b → c → e → a: b after a (b.toml); c requires b (c.toml:3); "
        "e after c (e.toml); e before a (e.toml:9)"
    )


def test_a_card_that_requires_itself_is_a_circle() -> None:
    (problem,) = Graph([Card(label="web", requires=("web",))]).check()
    assert "web → web" in problem.message


def test_two_knots_are_two_problems() -> None:
    cards = [Card(label=a, after=(b,)) for a, b in ["ab", "ba", "cd", "dc"]]
    cards.append(Card(label="e", after=("a", "c")))
    messages = [problem.message for problem in Graph(cards).check()]
    assert [message.partition(": ")[2].partition(": ")[0] for message in messages] == ["a → b → a", "c → d → c"]


def test_a_missing_requirement_is_a_problem_with_the_nearest_name_and_missing_soft_edges_are_none() -> None:
    web = Card(
        label="web",
        requires=("dbb",),
        wants=("nothing",),
        after=("nothing",),
        before=("nothing",),
        source=Source(file="web.toml", lines={"requires": 4}),
    )
    (problem,) = Graph([web, Card(label="db")]).check()
    assert (problem.file, problem.line, problem.field) == ("web.toml", 4, "requires")
    assert "'dbb'" in problem.message
    assert problem.remedy == "did you mean 'db'?"


def test_a_capability_is_satisfied_by_any_provider_and_ordered_after_all() -> None:
    cards = [Card(label="web", requires=("sql",)), *(Card(label=x, provides=("sql",)) for x in ("maria", "pg"))]
    graph = Graph(cards)
    assert graph.resolve("sql") == ("maria", "pg")
    assert graph.check() == []
    assert graph.start_order(["web", "pg", "maria"])[-1] == "web"
    assert graph.ready("web", among()) == (False, ("sql",))
    assert graph.ready("web", among("pg")) == (True, ())


def test_a_label_goes_before_a_capability_of_the_same_name() -> None:
    graph = Graph([Card(label="sql"), Card(label="pg", provides=("sql",))])
    assert graph.resolve("sql") == ("sql",)


def test_nobody_satisfies_its_own_requirement() -> None:
    (problem,) = Graph([Card(label="web", requires=("sql",), provides=("sql",))]).check()
    assert "none provides it" in problem.message


def test_a_capability_that_is_pulled_in_anyway_pulls_in_nothing_more() -> None:
    providers = [Card(label=x, provides=("sql",)) for x in ("maria", "pg")]
    both = Graph([Card(label="web", requires=("sql", "pg")), *providers])
    assert both.closure(["web"]) == ("pg", "web")
    first = Graph([Card(label="web", requires=("sql",)), *providers])
    assert first.closure(["web"]) == ("maria", "web")
    disabled = Card(label="maria", provides=("sql",), enabled=False)
    assert Graph([Card(label="web", requires=("sql",)), disabled, providers[1]]).closure(["web"]) == ("pg", "web")


def test_after_orders_and_pulls_nothing_in() -> None:
    graph = Graph([Card(label="web", after=("db",)), Card(label="db")])
    assert graph.closure(["web"]) == ("web",)
    assert graph.start_order(["web", "db"]) == ("db", "web")


def test_without_edges_the_order_is_the_one_given() -> None:
    assert Graph([Card(label=x) for x in "abc"]).start_order("cab") == ("c", "a", "b")


def test_a_soft_predecessor_is_waited_for_only_while_it_is_coming() -> None:
    graph = Graph([Card(label="web", wants=("cache",), after=("log",)), Card(label="cache"), Card(label="log")])
    assert graph.ready("web", among(), among()) == (True, ())
    assert graph.ready("web", among(), among("cache", "log")) == (False, ("cache", "log"))
    assert graph.ready("web", among("log"), among("cache")) == (False, ("cache",))


def test_before_makes_the_other_one_wait() -> None:
    graph = Graph([Card(label="mount", before=("web",)), Card(label="web")])
    assert graph.ready("web", among(), among("mount")) == (False, ("mount",))
    assert graph.ready("mount", among(), among("web")) == (True, ())


def test_a_wanted_service_that_can_never_come_holds_nobody_up() -> None:
    cards = [
        Card(label="web", wants=("cache",)),
        Card(label="cache", requires=("store",)),
        Card(label="store", requires=("disk",)),
        Card(label="disk"),
    ]
    graph = Graph(cards)
    coming = among("web", "cache", "store")
    assert graph.ready("web", among(), coming) == (True, ())
    assert graph.ready("web", among(), among("web", "cache", "store", "disk")) == (False, ("cache",))
    assert graph.ready("web", among("disk"), coming) == (False, ("cache",))


def test_a_missing_requirement_is_waited_for_by_its_name() -> None:
    assert Graph([Card(label="web", requires=("db",))]).ready("web", among()) == (False, ("db",))


def test_a_stop_takes_along_everybody_who_requires_it_last_started_first() -> None:
    cards = [
        Card(label="db"),
        Card(label="web", requires=("db",)),
        Card(label="proxy", requires=("web",)),
        Card(label="stats", wants=("db",)),
    ]
    graph = Graph(cards)
    assert graph.dependents("db") == ("web",)
    assert graph.stopped_with(["db"]) == ("proxy", "web", "db")


def test_who_has_another_provider_that_is_up_does_not_feel_a_stop() -> None:
    cards = [Card(label="web", requires=("sql",)), *(Card(label=x, provides=("sql",)) for x in ("maria", "pg"))]
    graph = Graph(cards)
    assert graph.dependents("pg") == ("web",)
    assert graph.dependents("pg", among("pg")) == ("web",)
    assert graph.dependents("pg", among("pg", "maria")) == ()


def test_an_unknown_label_is_answered_with_the_nearest() -> None:
    graph = Graph([Card(label="web")])
    for ask in (lambda: graph.closure(["wep"]), lambda: graph.start_order(["wep"]), lambda: graph.dependents("wep")):
        with pytest.raises(NoSuchService) as raised:
            ask()
        assert raised.value.nearest == "web"


def test_a_chain_of_ten_thousand_needs_no_recursion() -> None:
    count = 10_000
    chain = [Card(label=str(n), requires=(str(n + 1),) if n + 1 < count else ()) for n in range(count)]
    graph = Graph(chain)
    assert graph.check() == []
    assert graph.closure(["0"]) == tuple(str(n) for n in reversed(range(count)))
    assert graph.stopped_with([str(count - 1)])[0] == "0"
    assert len(Graph([*chain, Card(label=str(count), after=("0",), before=(str(count - 1),))]).cycles()[0]) == count + 1


@pytest.mark.parametrize("field", ["on_failure", "on_success"])
def test_who_is_to_be_started_at_an_end_must_be_there(field: str) -> None:
    cards = [Card(label="web", **{field: ("mial", "mail")}), Card(label="mail")]  # type: ignore[arg-type]  # as above
    (problem,) = Graph(cards).check()
    assert (problem.field, problem.remedy) == (f"{field}.0", "did you mean 'mail'?")
