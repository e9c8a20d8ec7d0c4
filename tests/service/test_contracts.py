"""Every kind of edge, pure: requirements of several, conflicts, parts, hooks, and circles that are broken at boot."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.card import Card, Source
from arje.card.edges import Contract, Term
from arje.service.cycles import SOFTNESS, path
from arje.service.order import Graph
from arje.service.requirement import View

LABELS = [f"s{number:02}" for number in range(10)]
ORDERING = ("requires", "requisite", "wants", "waits_for", "after", "before", "required_by", "wanted_by")
FORWARD = ("before", "required_by", "wanted_by")
edge_lists = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from(ORDERING), st.sampled_from(LABELS)).filter(
        lambda e: e[0] != e[2]
    ),
    max_size=30,
)
contract_lists = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sets(st.sampled_from(LABELS), min_size=1, max_size=4), st.integers(1, 3)),
    max_size=4,
)
Edges = list[tuple[str, str, str]]
Contracts = list[tuple[str, set[str], int]]


def cards_of(edges: Edges, contracts: Contracts = ()) -> list[Card]:  # type: ignore[assignment]  # none is no contract
    fields: dict[str, dict[str, Any]] = {label: {} for label in LABELS}
    for label, field, other in edges:
        fields[label][field] = (*fields[label].get(field, ()), other)
    for label, of, at_least in contracts:
        others = tuple(sorted(of - {label}))
        if len(others) >= at_least:
            fields[label]["contracts"] = (*fields[label].get("contracts", ()), Contract(of=others, at_least=at_least))
    return [Card(label=label, **lists) for label, lists in fields.items()]


def among(*labels: str) -> Callable[[str], bool]:
    return lambda label: label in labels


def pairs(edges: Edges, contracts: Contracts) -> set[tuple[str, str]]:
    found = {(label, other) if field in FORWARD else (other, label) for label, field, other in edges}
    return found | {(o, label) for label, of, n in contracts if len(of - {label}) >= n for o in of - {label}}


@given(edge_lists, contract_lists)
def test_a_graph_for_boot_orders_everything_by_every_edge_that_it_has_not_broken(
    edges: Edges, contracts: Contracts
) -> None:
    graph = Graph.for_boot(cards_of(edges, contracts))
    order = graph.start_order(LABELS)
    assert sorted(order) == LABELS
    assert graph.stop_order(LABELS) == order[::-1]
    dropped = {(edge.first, edge.then) for edge, _ in graph.mended.broken}
    stuck = graph.mended.circles or {}
    for first, then in pairs(edges, contracts) - dropped:
        in_circle = first in stuck and then in stuck
        assert in_circle or order.index(first) < order.index(then), (first, then)
    assert all(edge.field in SOFTNESS for edge, _ in graph.mended.broken)
    assert all(edge in cycle for edge, cycle in graph.mended.broken)
    assert all(edge.is_hard for cycle in stuck.values() for edge in cycle)
    assert bool(Graph(cards_of(edges, contracts)).cycles()) == bool(graph.mended.broken or stuck)


@given(edge_lists, contract_lists)
def test_what_may_start_starts_everything_that_no_hard_circle_keeps_back(edges: Edges, contracts: Contracts) -> None:
    graph = Graph.for_boot(cards_of(edges, contracts))
    lost = set(graph.mended.circles or ())
    while more := {
        label
        for label in set(LABELS) - lost
        for each in graph.needs(label)
        if len([o for o in graph.providers(each, label) if o not in lost]) < each.at_least
    }:
        lost |= more
    up: list[str] = []
    view = View(among(), lambda label: label not in up and label not in lost)
    while True:
        view = View(up.__contains__, lambda label: label not in up and label not in lost)
        now = [x for x in LABELS if x not in up and x not in lost and not graph.waits(x, view)]
        if not now:
            break
        up.append(now[0])
    milestones = {label for label, field, other in edges if field == "waits_for"}
    if not milestones:
        assert set(up) == set(LABELS) - lost
    for label in up:
        for each in graph.needs(label):
            good = [other for other in graph.providers(each, label) if other in up[: up.index(label)]]
            assert len(good) >= each.at_least


@given(edge_lists, contract_lists, st.sets(st.sampled_from(LABELS)))
def test_a_stop_takes_along_exactly_those_who_are_left_with_too_few(
    edges: Edges, contracts: Contracts, stopped: set[str]
) -> None:
    graph = Graph.for_boot(cards_of(edges, contracts))
    gone = set(graph.stopped_with(stopped, lambda _label: True))
    assert stopped <= gone
    for label in set(LABELS) - gone:
        for each in graph.needs(label):
            left = [other for other in graph.providers(each, label) if other not in gone]
            assert len(left) >= each.at_least


@given(edge_lists, contract_lists, st.sets(st.sampled_from(LABELS), min_size=1))
def test_a_closure_pulls_in_enough_for_every_requirement(edges: Edges, contracts: Contracts, wanted: set[str]) -> None:
    graph = Graph.for_boot(cards_of(edges, contracts))
    pulled = graph.closure(wanted)
    for label in pulled:
        for each in graph.needs(label):
            if each.pulls:
                assert sum(other in pulled for other in graph.providers(each, label)) >= each.at_least


def test_the_order_that_hurts_least_is_dropped_and_always_the_same() -> None:
    cards = [Card(label="a", wants=("b",)), Card(label="b", after=("c",)), Card(label="c", requires=("a",))]
    for shuffled in (cards, cards[::-1]):
        graph = Graph.for_boot(shuffled)
        ((edge, cycle),) = graph.mended.broken
        assert (str(edge), path(cycle)) == ("b after c", "a → c → b → a")
    assert graph.start_order("abc") == ("b", "a", "c")
    assert graph.closure(["c"]) == ("b", "a", "c"), "what it pulls in, it still pulls in"


def test_a_soft_edge_beside_a_hard_one_is_not_what_is_dropped() -> None:
    cards = [Card(label="a", after=("b",), requires=("b",)), Card(label="b", requires=("a",))]
    graph = Graph.for_boot(cards)
    assert graph.mended.broken == ()
    assert set(graph.mended.circles or ()) == {"a", "b"}


def test_a_quorum_counts_services_however_they_are_named() -> None:
    nodes = [Card(label=x, provides=("node",)) for x in "abc"]
    web = Card(label="web", contracts=(Contract(of=("node", "d"), at_least=3),))
    graph = Graph([web, *nodes, Card(label="d")])
    assert graph.ready("web", among("a", "b")) == (False, ("3 of node, d",))
    (wait,) = graph.waits("web", View(among("a", "b")))
    assert (wait.providers, wait.count) == (("c", "d"), 1)
    assert graph.ready("web", among("a", "b", "d"))[0]
    assert graph.dependents("a", among("a", "b", "c", "d")) == ()
    assert graph.dependents("a", among("a", "b", "c")) == ("web",)
    assert len(graph.closure(["web"])) == 4


@pytest.mark.parametrize("said", ["after", "before"])
def test_an_order_with_one_of_several_providers_holds_though_the_others_are_enough(said: str) -> None:
    after, before = (("b",), ()) if said == "after" else ((), ("web",))
    web = Card(label="web", contracts=(Contract(of=("a", "b")),), after=after)
    graph = Graph([web, Card(label="a"), Card(label="b", before=before)])
    (wait,) = graph.waits("web", View(among("a"), is_coming=among("b")))
    assert wait.providers == ("b",)
    assert graph.waits("web", View(among("a"))) == ()
    (wait,) = graph.waits("web", View(among(), is_coming=among("b")))
    assert (wait.kind, wait.providers) == ("contracts", ("a", "b"))


def test_what_is_up_already_is_pulled_in_before_others() -> None:
    graph = Graph([Card(label="web", contracts=(Contract(of=("a", "b")),)), Card(label="a"), Card(label="b")])
    assert graph.closure(["web"], among("b")) == ("b", "web")
    assert graph.closure(["web"]) == ("a", "web")


def test_a_requirement_of_isolation_looks_at_what_is_lacking() -> None:
    term = Term(kind="requires", name="db", undegraded=True)
    graph = Graph([Card(label="web", requires=("db",), terms=(term,)), Card(label="db")])
    whole = View(among("db"))
    assert graph.waits("web", whole) == ()
    (wait,) = graph.waits("web", View(among("db"), lacks=lambda _label, _term: "net"))
    assert wait.name == "db undegraded"


def test_hooks_are_edges_of_the_other_card_while_their_own_is_enabled() -> None:
    target = Card(label="t")
    on = Graph([target, Card(label="a", wanted_by=("t",)), Card(label="b", required_by=("t",))])
    assert on.closure(["t"]) == ("a", "b", "t")
    assert on.dependents("b") == ("t",)
    off = Graph([target, Card(label="a", wanted_by=("t",), enabled=False)])
    assert off.closure(["t"]) == ("t",)


def test_conflicts_work_both_ways_and_wait_for_the_end() -> None:
    graph = Graph([Card(label="a", conflicts=("b",)), Card(label="b")])
    assert (graph.rivals("a"), graph.rivals("b")) == ({"b": "a"}, {"a": "a"})
    (wait,) = graph.waits("b", View(runs=among("a")))
    assert (wait.kind, wait.name) == ("conflicts", "the end of a")


def test_a_milestone_is_waited_for_until_it_has_been_up() -> None:
    graph = Graph([Card(label="a", waits_for=("m",)), Card(label="m")])
    assert [wait.kind for wait in graph.waits("a", View())] == ["waits_for"]
    assert graph.waits("a", View(has_been_up=among("m"))) == ()


def test_parts_of_parts_stop_as_well_in_order() -> None:
    graph = Graph(
        [Card(label="a"), Card(label="b", part_of=("a",), after=("a",)), Card(label="c", part_of=("b",), after=("b",))]
    )
    assert graph.with_parts(["a"]) == ("c", "b", "a")
    assert graph.with_parts(["c"]) == ("c",)


def problems(*cards: Card) -> list[tuple[str, str]]:
    return [(problem.field, problem.message) for problem in Graph(cards).check()]


def test_a_contract_that_cannot_be_met_is_a_problem_with_its_place() -> None:
    source = Source(file="w.toml", lines={"contracts": 2, "contracts.1": 4})
    contracts = (Contract(of=("a",)), Contract(of=("a", "b"), at_least=2))
    (problem,) = Graph([Card(label="w", contracts=contracts, source=source), Card(label="a")]).check()
    assert (problem.line, problem.field) == (4, "contracts.1")
    assert problem.message == "2 of a, b: only a can be had of them"


def test_a_missing_requisite_is_a_problem_and_missing_soft_names_are_none() -> None:
    found = problems(
        Card(label="a", requisite=("x",), waits_for=("y",), part_of=("z",), conflicts=("q",), wanted_by=("t",))
    )
    assert found == [("requisite", "no card has the label 'x', and none provides it")]


def test_conflicts_that_the_cards_themselves_break_are_problems() -> None:
    a, b = Card(label="a", enabled=False), Card(label="b", conflicts=("a",), enabled=False)
    assert problems(a, b) == []
    assert problems(Card(label="a"), Card(label="b", conflicts=("a",))) == [
        ("conflicts", "a and b conflict, and both are enabled")
    ]
    assert problems(a, b, Card(label="c", requires=("a", "b"))) == [
        ("conflicts", "a and b conflict, and c requires both")
    ]
    assert problems(a, b, Card(label="c", requires=("a",)), Card(label="d", requires=("b", "c"))) == [
        ("conflicts", "a and b conflict, and d requires both")
    ]
    assert problems(Card(label="a", requires=("b",), enabled=False), b) == [
        ("conflicts", "a and b conflict, and a requires b")
    ]
    assert problems(a, b, Card(label="c", contracts=(Contract(of=("a", "b")),))) == []


def test_contradictory_orders_are_a_circle_of_two() -> None:
    (found,) = problems(Card(label="a", after=("b",), before=("b",)), Card(label="b"))
    assert "a → b → a" in found[1]


def test_one_great_knot_is_mended_in_time() -> None:
    lots = random.Random(1)
    labels = [f"{n:04}" for n in range(600)]
    after = {label: tuple(o for o in lots.sample(labels, 3) if o != label) for label in labels}
    graph = Graph.for_boot([Card(label=label, after=names) for label, names in after.items()])
    assert graph.mended.broken
    assert sorted(graph.start_order(labels)) == labels


def test_ten_thousand_cards_in_circles_are_mended_in_time() -> None:
    cards = [Card(label=f"{n:05}", after=(f"{n ^ 1:05}",)) for n in range(10_000)]
    graph = Graph.for_boot(cards)
    assert len(graph.mended.broken) == 5_000
    assert len(graph.start_order([card.label for card in cards])) == 10_000
