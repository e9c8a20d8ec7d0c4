"""The states of a service as a picture: an SVG, and the same as mermaid for those who read Markdown in a browser."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

from arje.service.state import TRANSITIONS, Event, State

#: Where each state stands, in a grid: a life goes from left to right, what ends badly is below.
_PLACES: Final = {
    State.STOPPED: (0, 1),
    State.WAITING: (1, 1),
    State.STARTING: (2, 1),
    State.RUNNING: (3, 1),
    State.RELOADING: (4, 1),
    State.BACKOFF: (1, 0),
    State.STOPPING: (4, 2),
    State.DONE: (3, 0),
    State.FAILED: (2, 2),
}
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _LEFT, _TOP = 120, 40, 210, 170, 40, 60
_COLOURS: Final = {
    State.RUNNING: "#2e7d32",
    State.RELOADING: "#2e7d32",
    State.FAILED: "#c62828",
    State.BACKOFF: "#ef6c00",
    State.STOPPED: "#616161",
    State.DONE: "#616161",
}


def edges() -> dict[tuple[State, State], list[str]]:
    """Return the events between each pair of states."""
    found: dict[tuple[State, State], list[str]] = {}
    for (state, event), following in TRANSITIONS.items():
        found.setdefault((state, following), []).append(event.value)
    return found


def mermaid() -> str:
    """Return the diagram for mermaid."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in edges().items()]
    return "\n".join(lines)


def page() -> str:
    """Return docs/states.md: the picture, what each state means, and the table."""
    rows = [f"| `{state.value}` | {_ABOUT[state]} |" for state in State]
    listed = [f"| `{a.value}` | {', '.join(events)} | `{b.value}` |" for (a, b), events in edges().items()]
    return "\n".join(
        [
            "<!-- Made by `make paper`: do not edit. -->",
            "# The states of a service",
            "",
            "![The states of a service and what leads from one to the other](pictures/states.svg)",
            "",
            "The frame is what has a process; what its three states have in common is drawn once. Left out are "
            "arje's own faults,",
            "which lead to `failed` from everywhere, and what keeps the state: the table below has them.",
            "",
            "| state | |",
            "|---|---|",
            *rows,
            "",
            "Every state keeps its cause: `arjectl why X` tells it, `arjectl history X` those before it.",
            "",
            "| from | when | to |",
            "|---|---|---|",
            *listed,
            "",
            "```mermaid",
            mermaid(),
            "```",
            "",
        ]
    )


_ABOUT: Final = {
    State.STOPPED: "Not wanted, or skipped because a condition does not hold: no process.",
    State.WAITING: "Wanted; a dependency or a condition is missing, or nothing has come to its sockets or paths yet.",
    State.STARTING: "Being set up, or running and not ready yet.",
    State.RUNNING: "Up and ready.",
    State.RELOADING: "Up, and reading its configuration again.",
    State.STOPPING: "Told to go; its processes are not all gone yet.",
    State.BACKOFF: "It ended and starts again at a known time.",
    State.DONE: "It ended well and need not run again.",
    State.FAILED: "It ended badly, and nothing but a hand, or the recovery of what it requires, starts it again.",
}


#: These have a process: what they have in common is drawn once, from the frame around them.
_ALIVE: Final = (State.STARTING, State.RUNNING, State.RELOADING)
_FRAME: Final = (3, 1)
Place = tuple[float, float]


def _centre(place: Place) -> Place:
    return _LEFT + place[0] * _ACROSS + _WIDTH / 2, _TOP + place[1] * _DOWN + _HEIGHT / 2


def _half(place: Place, *, frame: bool) -> Place:
    """Return half the width and height of the box that stands there, and a little room for an arrow's tip."""
    return (_ACROSS + _WIDTH / 2 + 20, _HEIGHT / 2 + 22) if frame else (_WIDTH / 2 + 4, _HEIGHT / 2 + 4)


def _border(place: Place, towards: Place, *, frame: bool = False) -> Place:
    """Return where a line from the middle of a box to a point leaves the box."""
    (x, y), (wide, high) = _centre(place), _half(place, frame=frame)
    across, down = towards[0] - x, towards[1] - y
    scale = min(wide / abs(across) if across else 1e9, high / abs(down) if down else 1e9)
    return x + across * scale, y + down * scale


def drawn() -> tuple[dict[tuple[State, State], list[str]], dict[State, list[str]]]:
    """Return the arrows between two states, and those from the frame, without what keeps a state and arje's own faults."""
    single: dict[tuple[State, State], list[str]] = {}
    common: dict[State, list[str]] = {}
    for (state, event), following in TRANSITIONS.items():
        if event is Event.FAULT or state is following:
            continue
        if all(TRANSITIONS.get((each, event)) is following for each in _ALIVE) and state in _ALIVE:
            if state is _ALIVE[0]:
                common.setdefault(following, []).append(event.value)
        else:
            single.setdefault((state, following), []).append(event.value)
    return single, common


def svg() -> str:
    """Return the diagram. Each arrow has its events as its title."""
    width, height = _LEFT * 2 + 4 * _ACROSS + _WIDTH, _TOP * 2 + 2 * _DOWN + _HEIGHT
    x, y = _centre(_FRAME)
    wide, high = _half(_FRAME, frame=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="15">',
        "<title>The states of a service</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<rect x="{x - wide + 4:g}" y="{y - high + 4:g}" width="{2 * wide - 8:g}" height="{2 * high - 8:g}" rx="12" '
        'fill="#f5f5f5" stroke="#bbb"/>',
    ]
    single, common = drawn()
    parts += [_arrow(_PLACES[a], _PLACES[b], events) for (a, b), events in single.items()]
    parts += [_arrow(_FRAME, _PLACES[state], events, frame=True) for state, events in common.items()]
    for state in State:
        x, y = _centre(_PLACES[state])
        colour = _COLOURS.get(state, "#1565c0")
        parts += [
            f'<rect x="{x - _WIDTH / 2:g}" y="{y - _HEIGHT / 2:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="9" '
            f'fill="#fff" stroke="{colour}" stroke-width="2.5"/>',
            f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="{colour}" font-weight="bold">{state.value}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _arrow(a: Place, b: Place, events: list[str], *, frame: bool = False) -> str:
    """Draw a bent line: there and back lie side by side."""
    (x1, y1), (x2, y2) = _centre(a), _centre(b)
    if frame:  # straight out of the frame: its middle is far from where the eye expects a beginning
        x1 = min(max(x2, x1 - _ACROSS), x1 + _ACROSS)
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    bend = 0 if frame and x1 == x2 else 24
    control = (x1 + x2) / 2 + (y2 - y1) / length * bend, (y1 + y2) / 2 - (x2 - x1) / length * bend
    sx, sy = (x1, y1 + (62 - 20) * ((y2 > y1) - (y2 < y1))) if frame and y1 != y2 else _border(a, control, frame=frame)
    ex, ey = _border(b, control)
    label = escape(" / ".join(events) if len(events) < 3 else f"{events[0]} …")
    at = (sx + 2 * control[0] + ex) / 4, (sy + 2 * control[1] + ey) / 4
    return (
        f"<g><title>{escape(', '.join(events))}</title>"
        f'<path d="M{sx:.0f} {sy:.0f}Q{control[0]:.0f} {control[1]:.0f} {ex:.0f} {ey:.0f}" '
        f'fill="none" stroke="#777" stroke-width="1.4" marker-end="url(#tip)"/>'
        f'<text x="{at[0]:.0f}" y="{at[1]:.0f}" font-size="10" text-anchor="middle" fill="#444" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{label}</text></g>'
    )
