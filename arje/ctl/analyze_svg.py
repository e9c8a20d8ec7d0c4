"""A start as a picture: a line per service over time, with what it waited for, its set-up, and when it was ready."""

from __future__ import annotations

from arje.ctl.analyze import head, ms, own
from arje.ctl.svg import HEAD, text, tidy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

_LEFT: Final = 20
_WIDTH: Final = 900  # pixels of the time
_ROW: Final = 20
_TOP: Final = 84
_COLOURS: Final = {"ready": "#16a34a", "done": "#0d9488", "failed": "#dc2626", "stopped": "#64748b"}
_LEGEND: Final = (
    ("waits for others", "#e2e8f0"),
    ("set-up", "#7c3aed"),
    ("until ready", "#16a34a"),
    ("until done", "#0d9488"),
    ("until it failed", "#dc2626"),
    ("on the way", "#0284c7"),
)


def svg(found: dict[str, Any]) -> str:
    """Return the picture; the services stand in the order in which they began."""
    starts = sorted(found["starts"], key=lambda start: (start["began_s"] is None, start["began_s"], start["wanted_s"]))
    ends = [start["ended_s"] for start in starts if start["ended_s"] is not None]
    on_way = any(start["ended_s"] is None for start in starts)
    end = found["span"]["passed_s"] if on_way or not ends else max(ends)
    end = max(end, 0.001)
    height = _TOP + _ROW * len(starts) + 30
    body = [*_scale(end, height), *_legend()]
    for number, start in enumerate(starts):
        body += _row(start, _TOP + number * _ROW, end)
    widest = max((len(start["label"]) for start in starts), default=0) * 7
    width = _LEFT + _WIDTH + widest + 160
    title = tidy(head(found))
    return "\n".join([HEAD.format(width=width, height=height, title=title), *body, "</svg>"])


def _x(seconds: float, end: float) -> float:
    return _LEFT + _WIDTH * min(max(seconds, 0.0), end) / end


def _scale(end: float, height: int) -> Iterator[str]:
    """Lines at round times, ten at most."""
    steps = (factor * 10.0**power for power in range(-3, 6) for factor in (1, 2, 5))
    step = next(each for each in steps if end / each <= 10)
    for number in range(int(end / step) + 1):
        x = _x(number * step, end)
        yield f'<line x1="{tidy(x)}" y1="{_TOP - 8}" x2="{tidy(x)}" y2="{height - 20}" stroke="#e2e8f0"/>'
        yield text(x, _TOP - 12, ms(number * step) if number else "0", 'class="small" text-anchor="middle"')


def _legend() -> Iterator[str]:
    x = float(_LEFT)
    for words, colour in _LEGEND:
        yield f'<rect x="{tidy(x)}" y="42" width="12" height="12" fill="{colour}"/>'
        yield text(x + 16, 52, words, 'class="small"')
        x += 34 + 6 * len(words)


def _row(start: dict[str, Any], y: float, end: float) -> Iterator[str]:
    """What one service did, from the wish for it on."""
    began = start["began_s"] if start["began_s"] is not None else end
    over = start["ended_s"] if start["ended_s"] is not None else end
    setup = min((start["setup_ms"] or 0.0) / 1000, max(0.0, over - began))
    waits = ", ".join(f"{wait['kind']} {wait['label']} until {ms(wait['until_s'])}" for wait in start["waited_for"])
    yield f"<g><title>{tidy(_told(start, waits))}</title>"
    yield _bar(start["wanted_s"], began, y, end, "#e2e8f0")
    yield _bar(began, began + setup, y, end, "#7c3aed")
    yield _bar(began + setup, over, y, end, _COLOURS.get(start["became"], "#0284c7"))
    for wait in start["waited_for"]:
        x = _x(wait["until_s"], end)
        yield f'<line x1="{tidy(x)}" y1="{tidy(y)}" x2="{tidy(x)}" y2="{tidy(y + 14)}" stroke="#475569"/>'
    took = own(start)
    yield text(
        _x(over, end) + 5, y + 11, f"{start['label']}{'' if took is None else f'  {ms(took)}'}  {start['became']}"
    )
    yield "</g>"


def _bar(since: float, until: float, y: float, end: float, colour: str) -> str:
    x = _x(since, end)
    width = max(_x(until, end) - x, 0.5) if until > since else 0.0
    return f'<rect x="{tidy(x)}" y="{tidy(y)}" width="{tidy(width)}" height="14" fill="{colour}"/>'


def _told(start: dict[str, Any], waits: str) -> str:
    """All of it in words: for who cannot see the picture, and for the pointer."""
    took = own(start)
    parts = [f"{start['label']}: wanted by {start['who']} at {ms(max(0.0, start['wanted_s']))}"]
    if start["began_s"] is not None:
        parts.append(f"began at {ms(start['began_s'])}")
    if start["ended_s"] is not None:
        parts.append(f"{start['became']} at {ms(start['ended_s'])}")
    if took is not None:
        parts.append(f"took {ms(took)}")
    if waits:
        parts.append(f"waited for {waits}")
    return "; ".join(parts)
