"""``arjectl set``: what was changed, what was not and why, and how long it lasts."""

from __future__ import annotations

import json

from arje.ctl import render
from arje.ctl.exitcodes import Action
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def set_limits(client: Client, args: Arguments, paper: Paper) -> int:
    """Change limits of one service. Raises UsageError."""
    label, *words = args.labels
    found = client.call("Set", label=label, changes=_changes(words))
    if args.json:
        paper.line(json.dumps(found))
    else:
        _show(paper, label, found)
    return Action.DEGRADED if found["degradations"] else Action.DONE


def _changes(words: list[str]) -> dict[str, str]:
    from arje.ctl.arguments import UsageError

    changes: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in changes:
            raise UsageError(f"{word!r}: write each limit once, as NAME=VALUE: memory_max=256M")
        changes[name] = value
    return changes


def _show(paper: Paper, label: str, found: dict[str, Any]) -> None:
    granted = [grant for grant in found["grants"] if grant["ok"]]
    for grant in granted:
        paper.line(f"{label}: {grant['feature']} is {escape(grant['granted'])}")
    if found["degradations"]:
        paper.line(f"{label}: {len(found['degradations'])} of {len(found['grants'])} not changed")
        render.losses(paper, found["degradations"], "  ")
    if granted:
        paper.line(f"It lasts {escape(found['lasts'])}")


def cannot(problems: list[dict[str, Any]]) -> str:
    """Return why nothing was done, in one line; the place when a file has it."""
    return "; ".join(
        (f"{problem['file']}:{problem['line']}: " if problem["line"] else "")
        + f"{problem['field']}: {problem['message']}"
        + (f" ({problem['remedy']})" if problem["remedy"] else "")
        for problem in problems
    )
