"""``arjectl graph``: services and the edges between them, as text, for other tools, or as a picture."""

from __future__ import annotations

from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

#: Kinds of edges, the strongest first; of several between two services the first one is drawn.
KINDS: Final = (
    *("requires", "requisite", "contracts", "part_of", "log.to", "wants", "waits_for", "after", "before", "conflicts"),
)
#: Kinds that say nothing of who comes first.
UNORDERED: Final = frozenset({"conflicts", "part_of"})


class Edge:
    """An edge between two services; ``first`` is up before ``then``, for the kinds that say so.

    ``kinds`` has the strongest first.
    """

    __slots__ = ("first", "kinds", "then")

    def __init__(self, first: str, then: str) -> None:
        self.first = first
        self.then = then
        self.kinds: list[str] = []

    @property
    def kind(self) -> str:
        """The strongest kind."""
        return self.kinds[0]

    @property
    def words(self) -> str:
        """Every kind, in words."""
        return ", ".join(kind.replace("_", " ") for kind in self.kinds)


class Graph:
    """Nodes (label → state, None for a name that is nobody's) and edges, at most one for each pair."""

    def __init__(self, nodes: dict[str, str | None], edges: list[Edge]) -> None:
        self.nodes = nodes
        self.edges = edges

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Graph:
        """Make a graph of the manager's answer."""
        found: dict[tuple[str, str], Edge] = {}
        for each in answer["edges"]:
            ends = (each["other"], each["label"]) if each["kind"] != "before" else (each["label"], each["other"])
            edge = found.setdefault(ends, Edge(*ends))
            edge.kinds = sorted({*edge.kinds, each["kind"]}, key=lambda kind: KINDS.index(kind))
        return cls({node["label"]: node["state"] for node in answer["nodes"]}, list(found.values()))

    def around(self, labels: set[str]) -> Graph:
        """Return the part that has to do with some services: what they stand on, and what stands on them."""
        chosen = {*labels}
        for near, far in (("then", "first"), ("first", "then")):
            queue = list(labels)
            while queue:
                label = queue.pop()
                for edge in self.edges:
                    other = getattr(edge, far)
                    if getattr(edge, near) == label and other not in chosen and edge.kind not in UNORDERED:
                        chosen.add(other)
                        queue.append(other)
        edges = [edge for edge in self.edges if {edge.first, edge.then} <= chosen]
        return Graph({label: state for label, state in self.nodes.items() if label in chosen}, edges)


def graph(client: Client, args: Arguments, paper: Paper) -> int:
    """Show the graph of all services, or what has to do with some."""
    answer = client.call("Graph")
    whole = Graph.of(answer)
    if args.labels:
        whole = whole.around({service["label"] for service in client.call("List", labels=args.labels)["services"]})
    form = "json" if args.json else args.format
    if form == "svg":
        from arje.ctl import graph_svg

        lines: Iterator[str] = iter(graph_svg.svg(whole).splitlines())
    else:
        lines = {"ascii": tree, "dot": dot, "mermaid": mermaid, "json": as_json}[form](whole, paper)
    for line in lines:
        paper.line(line)
    return 0


def as_json(found: Graph, paper: Paper) -> Iterator[str]:
    """Nodes and edges, as one object."""
    import json

    nodes = [{"label": label, "state": state} for label, state in found.nodes.items()]
    edges = [{"first": edge.first, "then": edge.then, "kinds": edge.kinds} for edge in found.edges]
    yield json.dumps({"nodes": nodes, "edges": edges})


def dot(found: Graph, paper: Paper) -> Iterator[str]:
    """The language of graphviz: who is needed stands to the left."""
    colours = {"running": "green3", "done": "green3", "failed": "red", "backoff": "orange", "stopped": "gray"}
    yield "digraph arje {"
    yield "  rankdir=LR; node [shape=box, style=rounded];"
    for label, state in found.nodes.items():
        yield f"  {_quoted(label)} [tooltip={_quoted(_state(state))}, color={colours.get(state or '', 'black')}];"
    for edge in found.edges:
        style = {"requires": "solid", "requisite": "solid", "contracts": "solid"}.get(edge.kind, "dashed")
        more = ", dir=none, constraint=false, color=red" if edge.kind == "conflicts" else ""
        ends = f"{_quoted(edge.first)} -> {_quoted(edge.then)}"
        yield f"  {ends} [label={_quoted(edge.words)}, style={style}{more}];"
    yield "}"


def mermaid(found: Graph, paper: Paper) -> Iterator[str]:
    """The language of mermaid, as markdown pages draw it."""
    yield "flowchart LR"
    names = {label: f"s{number}" for number, label in enumerate(found.nodes)}
    for label, state in found.nodes.items():
        text = f"{label}<br/>{_state(state)}".replace('"', "#quot;")
        yield f'  {names[label]}["{text}"]'
    for edge in found.edges:
        strong = edge.kind in ("requires", "requisite", "contracts")
        arrow = "---" if edge.kind == "conflicts" else "-->" if strong else "-.->"
        yield f"  {names[edge.first]} {arrow}|{edge.words}| {names[edge.then]}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _state(state: str | None) -> str:
    return state or "no such service"


def tree(found: Graph, paper: Paper) -> Iterator[str]:
    """A forest: each service below those that need it; what stands there already is marked, not unfolded again."""
    tee, last, bar, more = ("├─ ", "└─ ", "│  ", " …") if paper.rich else ("|- ", "`- ", "|  ", " ...")
    below: dict[str, list[tuple[str, str]]] = {label: [] for label in found.nodes}
    needed = set[str]()
    for edge in found.edges:
        below[edge.then].append((edge.words, edge.first))
        if edge.kind not in UNORDERED:
            needed.add(edge.first)
    seen: set[str] = set()

    def unfold(label: str, lead: str, rest: str, words: str) -> Iterator[str]:
        again = label in seen and bool(below[label])
        seen.add(label)
        yield f"{lead}{words}{named(label)}{more * again}"
        edges = [] if again else below[label]
        for number, (kind, other) in enumerate(edges):
            final = number == len(edges) - 1
            here, further = rest + (last if final else tee), rest + ("   " if final else bar)
            if kind in ("conflicts", "part of"):
                yield f"{here}{kind} {named(other)}"
            else:
                yield from unfold(other, here, further, f"{kind} ")

    def named(label: str) -> str:
        state = found.nodes[label]
        return paper.beside(label, state) if state else f"{escape(label)} (no such service)"

    roots = [label for label in found.nodes if label not in needed]
    for label in (*roots, *found.nodes):  # who is in a circle is nobody's root
        if label not in seen:
            yield from unfold(label, "", "", "")
