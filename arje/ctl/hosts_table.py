"""The services of several hosts in one table: ``arjectl -H a,b status``."""

from __future__ import annotations

import sys

from arje.ctl import render
from arje.ctl.words import Paper, escape, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_COLUMNS: Final = ("HOST", "PID", "SERVICE", "STATE", "SINCE", "READY", "RST", "ISO", "MEM", "DESCRIPTION")
_RIGHT: Final = frozenset({"PID", "RST", "MEM"})
_STATE: Final = _COLUMNS.index("STATE")


def show(answers: dict[str, Any], *, plain: bool) -> None:
    """Write a line for each host's manager, then the table of all services."""
    paper = Paper(sys.stdout, plain=plain)
    width = max(map(len, answers), default=0)
    for host, answer in answers.items():
        manager, lost = answer["manager"], answer["manager"]["degraded"]
        count = many(sum(manager["counts"].values()), "service")
        failed = manager["counts"].get("failed", 0)
        said = f"arje {manager['version']}  {manager['state']}  {count}, {failed} failed, {lost} degraded"
        paper.line(f"{host:<{width}}  {said}")
    rows = [
        (service, (escape(host), *render.cells(paper, service)))
        for host, answer in answers.items()
        for service in answer["services"]
    ]
    widths = [max(len(row[at]) for row in [_COLUMNS, *(row for _, row in rows)]) for at in range(len(_COLUMNS))]
    if not rows:
        return
    paper.line()
    paper.line(("  " if paper.rich else "") + _line(_COLUMNS, widths))
    for service, row in rows:
        text = _line(row, widths)
        start = sum(widths[:_STATE]) + 2 * _STATE
        end = start + len(row[_STATE])
        text = text[:start] + paper.state(service["state"], text[start:end]) + text[end:]
        paper.line(paper.mark(service["state"]) + text)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(
        cell.rjust(width) if name in _RIGHT else cell.ljust(width)
        for name, cell, width in zip(_COLUMNS, cells, widths, strict=True)
    ).rstrip()
