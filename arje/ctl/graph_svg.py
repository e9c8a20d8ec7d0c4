"""The graph as a picture: layers from left to right, in the order in which services start. No other program is needed.

Layers are by the longest way (Sugiyama): a service stands to the right of all that comes before it. An edge over several
layers goes through points of its own in between; the order within a layer follows the middle of the neighbours, a few
times forth and back, which leaves few crossings. A circle is opened at the edge that closes it.
"""

from __future__ import annotations

import itertools

from arje.ctl.graph import UNORDERED
from arje.ctl.svg import HEAD, STATES, text, tidy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from arje.ctl.graph import Edge, Graph

_ROW: Final = 46  # pixels from one box to the next
_BOX: Final = 32
_GAP: Final = 70  # between two layers
_SWEEPS: Final = 12
_STROKES: Final = {"requires": "", "requisite": "", "contracts": "", "wants": "6 3", "waits_for": "6 3"}

#: A place in a layer: a service, or where an edge (first, then, layer) passes by.
Place = str | tuple[str, str, int]


def svg(graph: Graph) -> str:
    """Return the picture, with the state of each service and the kinds of each edge as words."""
    edges = _acyclic(graph)
    layer = _layers(graph, edges)
    rows, ways = _with_points(graph, edges, layer)
    _untangle(rows, ways)
    widths = [max((_width(place) for place in row), default=0) for row in rows]
    left = [20 + sum(widths[:number]) + _GAP * number for number in range(len(rows))]
    tallest = max(map(len, rows), default=0)
    where: dict[Place, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        offset = (tallest - len(row)) * _ROW / 2
        for place_number, place in enumerate(row):
            where[place] = (left[number], 50 + offset + place_number * _ROW)
    right = max((x + widths[layer.get(str(place), 0)] for place, (x, _) in where.items()), default=200)
    height = 60 + tallest * _ROW
    body = [*_edges(graph, edges, layer, where, widths), *_boxes(graph, layer, where, widths)]
    title = f"{len(graph.nodes)} services, {len(graph.edges)} edges; what stands to the left starts first"
    return "\n".join([HEAD.format(width=round(right + 40), height=round(height), title=title), *body, "</svg>"])


def _width(place: Place) -> int:
    return 24 + 8 * len(place) if isinstance(place, str) else 0


def _acyclic(graph: Graph) -> list[Edge]:
    """Return the edges that order something, without those that would close a circle."""
    after: dict[str, list[Edge]] = {label: [] for label in graph.nodes}
    for edge in graph.edges:
        if edge.kind not in UNORDERED and edge.first != edge.then:
            after[edge.first].append(edge)
    kept: list[Edge] = []
    state: dict[str, int] = {}
    for root in graph.nodes:  # without recursion: a chain may be longer than Python's stack
        stack = [(root, iter(after[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            label, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[label] = 2
                stack.pop()
            elif state.get(following.then) != 1:
                kept.append(following)
                if following.then not in state:
                    state[following.then] = 1
                    stack.append((following.then, iter(after[following.then])))
    return kept


def _layers(graph: Graph, edges: list[Edge]) -> dict[str, int]:
    """Return the layer of each service: one more than the last of those before it."""
    waits = {label: 0 for label in graph.nodes}
    after: dict[str, list[str]] = {label: [] for label in graph.nodes}
    for edge in edges:
        waits[edge.then] += 1
        after[edge.first].append(edge.then)
    layer = {label: 0 for label in graph.nodes}
    free = [label for label, count in waits.items() if not count]
    while free:
        label = free.pop()
        for then in after[label]:
            layer[then] = max(layer[then], layer[label] + 1)
            waits[then] -= 1
            if not waits[then]:
                free.append(then)
    return layer


def _with_points(
    graph: Graph, edges: list[Edge], layer: dict[str, int]
) -> tuple[list[list[Place]], list[tuple[Place, Place]]]:
    """Return the layers with the points where long edges pass, and the pieces of all edges from layer to layer."""
    rows: list[list[Place]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for label in graph.nodes:
        rows[layer[label]].append(label)
    ways: list[tuple[Place, Place]] = []
    for edge in edges:
        before: Place = edge.first
        for number in range(layer[edge.first] + 1, layer[edge.then]):
            point = (edge.first, edge.then, number)
            rows[number].append(point)
            ways.append((before, point))
            before = point
        ways.append((before, edge.then))
    return rows, ways


def _untangle(rows: list[list[Place]], ways: list[tuple[Place, Place]]) -> None:
    """Sort each layer by the middle of the neighbours in the layer before, then behind, and so on."""
    near: tuple[dict[Place, list[Place]], dict[Place, list[Place]]] = ({}, {})
    for first, then in ways:
        near[0].setdefault(then, []).append(first)
        near[1].setdefault(first, []).append(then)
    for sweep in range(_SWEEPS):
        neighbours, order = near[sweep % 2], rows if sweep % 2 == 0 else rows[::-1]
        for fixed, row in itertools.pairwise(order):
            at = {place: number for number, place in enumerate(fixed)}
            middle: dict[Place, float] = {}
            for number, place in enumerate(row):
                known = [at[other] for other in neighbours.get(place, ())]
                middle[place] = sum(known) / len(known) if known else number
            row.sort(key=middle.__getitem__)


def _boxes(
    graph: Graph, layer: dict[str, int], where: dict[Place, tuple[float, float]], widths: list[int]
) -> Iterator[str]:
    for label, state in graph.nodes.items():
        x, y = where[label]
        width, (colour, fill) = widths[layer[label]], STATES.get(state or "", STATES["stopped"])
        dash = "" if state else ' stroke-dasharray="3 3"'
        yield (
            f'<rect x="{tidy(x)}" y="{tidy(y)}" width="{width}" height="{_BOX}" rx="6" fill="{fill}" '
            f'stroke="{colour}"{dash}/>'
        )
        yield text(x + width / 2, y + 14, label, 'class="name" text-anchor="middle"')
        yield text(
            x + width / 2,
            y + 26,
            state or "no such service",
            f'class="state" text-anchor="middle" style="fill:{colour}"',
        )


def _edges(
    graph: Graph,
    ordered: list[Edge],
    layer: dict[str, int],
    where: dict[Place, tuple[float, float]],
    widths: list[int],
) -> Iterator[str]:
    drawn = {id(edge) for edge in ordered}
    for edge in graph.edges:
        points: list[Place] = [edge.first]
        if id(edge) in drawn:
            points += [(edge.first, edge.then, number) for number in range(layer[edge.first] + 1, layer[edge.then])]
        points.append(edge.then)
        red = edge.kind == "conflicts" or (id(edge) not in drawn and edge.kind not in UNORDERED)
        dash = _STROKES.get(edge.kind, "2 3")
        style = f'stroke="{"#b91c1c" if red else "#64748b"}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        arrow = "" if edge.kind in UNORDERED else ' marker-end="url(#arrow)"'
        ways = " ".join(_piece(points, layer, where, widths))
        words = f"{edge.then}: {edge.words} {edge.first}"
        yield f'<path d="{ways}" fill="none" {style}{arrow}><title>{tidy(words)}</title></path>'


def _piece(
    points: list[Place], layer: dict[str, int], where: dict[Place, tuple[float, float]], widths: list[int]
) -> Iterator[str]:
    """Yield the path through the points: out of a box at its right side, into one at its left."""
    x, y = where[points[0]]
    x, y = x + widths[layer[str(points[0])]], y + _BOX / 2
    yield f"M{tidy(x)},{tidy(y)}"
    for point in points[1:]:
        to_x, to_y = where[point]
        to_y += _BOX / 2
        bend = max(20.0, abs(to_x - x) / 2)
        yield f"C{tidy(x + bend)},{tidy(y)} {tidy(to_x - bend)},{tidy(to_y)} {tidy(to_x)},{tidy(to_y)}"
        x, y = to_x, to_y
        if not isinstance(point, str):
            x += widths[point[2]]
            yield f"L{tidy(x)},{tidy(y)}"
