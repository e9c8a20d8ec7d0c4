"""The graph as a picture and as text: every service once, what comes first to the left, circles and all."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from arje.ctl import graph_svg
from arje.ctl.graph import Graph, tree
from arje.ctl.words import Paper

SVG = "{http://www.w3.org/2000/svg}"


def graph(*edges: tuple[str, str, str], alone: tuple[str, ...] = ()) -> Graph:
    labels = dict.fromkeys([*(end for first, _, other in edges for end in (first, other)), *alone])
    nodes = [{"label": label, "state": "running"} for label in labels]
    return Graph.of({"nodes": nodes, "edges": [{"label": a, "kind": kind, "other": b} for a, kind, b in edges]})


def boxes(text: str) -> dict[str, tuple[float, float, float, float]]:
    """Where each service's box is: left, top, right, bottom."""
    root = ElementTree.fromstring(text)
    rects = [each for each in root.iter(f"{SVG}rect") if each.get("rx")]
    names = [each.text or "" for each in root.iter(f"{SVG}text") if each.get("class") == "name"]
    found = {}
    for name, rect in zip(names, rects, strict=True):
        x, y, width, height = (float(rect.get(key, "0")) for key in ("x", "y", "width", "height"))
        found[name] = (x, y, x + width, y + height)
    return found


def test_what_is_needed_stands_to_the_left() -> None:
    found = boxes(graph_svg.svg(graph(("web", "requires", "db"), ("db", "requires", "net"), ("web", "before", "site"))))
    assert [found[label][0] for label in ("net", "db", "web", "site")] == sorted(x for x, *_ in found.values())
    assert found["db"][2] < found["web"][0]


def test_several_edges_between_two_are_one_line_with_all_their_kinds() -> None:
    found = graph(("web", "after", "db"), ("web", "requires", "db"), ("db", "before", "web"))
    (edge,) = found.edges
    assert (edge.first, edge.then, edge.kind, edge.words) == ("db", "web", "requires", "requires, after, before")
    assert "web: requires, after, before db" in graph_svg.svg(found)


def test_a_circle_is_drawn_and_does_not_hang() -> None:
    found = graph(("a", "requires", "b"), ("b", "requires", "c"), ("c", "requires", "a"), ("a", "conflicts", "d"))
    assert boxes(graph_svg.svg(found)).keys() == {"a", "b", "c", "d"}
    lines = list(tree(found, Paper(io.StringIO())))
    assert [line.split()[0] for line in lines if not line.startswith((" ", "|", "`"))] == ["d", "a"]
    assert "requires a (running) ..." in lines[-2]


def test_only_what_has_to_do_with_a_service_is_around_it() -> None:
    found = graph(
        ("web", "requires", "db"), ("db", "after", "net"), ("site", "wants", "web"), ("mail", "requires", "db")
    ).around({"web"})
    assert found.nodes.keys() == {"net", "db", "web", "site"}
    assert {edge.then for edge in found.edges} == {"db", "web", "site"}


def test_a_name_that_is_nobody_s_is_told() -> None:
    found = Graph({"a": "waiting", "b": None}, graph(("a", "requires", "b")).edges)
    assert "no such service" in graph_svg.svg(found)
    assert list(tree(found, Paper(io.StringIO())))[1] == "`- requires b (no such service)"


@given(st.data())
def test_no_box_lies_on_another(data: Any) -> None:
    labels = [f"s{number}" for number in range(data.draw(st.integers(1, 12)))]
    label = st.sampled_from(labels)
    kinds = st.sampled_from(["requires", "wants", "after", "before", "conflicts"])
    edges = data.draw(st.lists(st.tuples(label, kinds, label), max_size=30))
    found = boxes(graph_svg.svg(graph(*edges, alone=tuple(labels))))
    assert found.keys() == set(labels)
    for name, (left, top, right, bottom) in found.items():
        for other, (x, y, x2, y2) in found.items():
            assert name == other or right <= x or x2 <= left or bottom <= y or y2 <= top


def test_a_long_chain_needs_no_stack() -> None:
    chain = graph(*((f"s{n + 1}", "requires", f"s{n}") for n in range(1500)))
    assert len(boxes(graph_svg.svg(chain))) == 1501
