"""The tree of ``arjectl deps``: each edge with its kind, and the state of what it means."""

from __future__ import annotations

from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.ctl.render import Data
    from arje.ctl.words import Paper


def show(paper: Paper, tree: list[Data]) -> None:
    """Write one line per edge; what stands in the tree already is marked and not unfolded again."""
    tee, last, bar = ("├─ ", "└─ ", "│  ") if paper.rich else ("|- ", "`- ", "|  ")
    leads: list[str] = []
    above: list[str] = []
    for place, node in enumerate(tree):
        depth = node["depth"]
        del above[depth:]
        above.append(node["label"] or "")
        if not depth:
            paper.line(paper.beside(node["label"], node["state"]))
            continue
        final = _is_last(tree, place)
        del leads[depth - 1 :]
        lead = "".join(leads) + (last if final else tee)
        leads.append("   " if final else bar)
        paper.line(f"{lead}{node['kind'].replace('_', ' ')} {_what(paper, node, above[depth - 1])}")


def _is_last(tree: list[Data], place: int) -> bool:
    """Whether no further edge of the same service follows."""
    depth = tree[place]["depth"]
    following = next((node for node in tree[place + 1 :] if node["depth"] <= depth), None)
    return following is None or following["depth"] < depth


def _what(paper: Paper, node: Data, above: str) -> str:
    """What an edge means, and its name in the card when that says more than the labels at its two ends."""
    if node["label"] is None:
        return f"{escape(node['name'])} (no such service)"
    words = node["label"] if node["name"] in (node["label"], above) else f"{node['label']} ({node['name']})"
    return f"{paper.beside(escape(words), node['state'])}{(' …' if paper.rich else ' ...') * node['seen']}"
