"""What arjectl's pictures share: their head, the colours of states, and text that is safe in them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: The colour of each state's line and word, and of what it fills. The word always stands beside it.
STATES: Final = {
    "running": ("#15803d", "#f0fdf4"),
    "reloading": ("#15803d", "#f0fdf4"),
    "done": ("#0f766e", "#f0fdfa"),
    "waiting": ("#0369a1", "#f0f9ff"),
    "starting": ("#0369a1", "#f0f9ff"),
    "stopping": ("#0369a1", "#f0f9ff"),
    "backoff": ("#b45309", "#fffbeb"),
    "failed": ("#b91c1c", "#fef2f2"),
    "stopped": ("#475569", "#f8fafc"),
}

HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
    'role="img" font-family="ui-sans-serif, system-ui, sans-serif">\n'
    "<title>{title}</title>\n"
    "<style>text{{font-size:12px;fill:#0f172a}} .name{{font-weight:600}} .state,.small{{font-size:10px}}"
    " .title{{font-size:14px;font-weight:600}}</style>\n"
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0L8,4L0,8z" fill="#64748b"/></marker></defs>\n'
    '<rect width="100%" height="100%" fill="#ffffff"/>\n'
    '<text x="20" y="28" class="title">{title}</text>'
)


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Return words at a place."""
    return f'<text x="{tidy(x)}" y="{tidy(y)}" {style}>{tidy(words)}</text>'


def tidy(value: float | str) -> str:
    """Return a number without needless digits, or text that XML and terminals take as text."""
    if not isinstance(value, str):
        return f"{value:.1f}".removesuffix(".0")
    from arje.ctl.words import escape

    return escape(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
