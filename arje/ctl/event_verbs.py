"""``arjectl events``: what became of services, as it happens or as it happened."""

from __future__ import annotations

import json

from arje.ctl.exitcodes import Query
from arje.ctl.log_verbs import when
from arje.ctl.render import cause
from arje.ctl.words import clock, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_ALL = 10**6
_SOME = 100


def events(client: Client, args: Arguments, paper: Paper) -> int:
    """Show changes of state, and with ``-f`` those that come. Raises UsageError."""
    since = when("--since", args.since)
    lines = args.lines if args.lines is not None else _ALL if since is not None else _SOME
    asked = {"labels": args.labels, "lines": lines, "since": since}
    if not args.follow:
        for event in client.call("Events", **asked)["events"]:
            _show(paper, event, in_json=args.json)
        return Query.TRUE
    for reply in client.follow("Monitor", **asked):
        _show(paper, reply["event"], in_json=args.json)
        paper.flush()
    return Query.TRUE


def _show(paper: Paper, event: dict[str, Any], *, in_json: bool) -> None:
    if in_json:
        paper.line(json.dumps(event))
        return
    if event["lost"]:
        paper.line(f"-- {many(event['lost'], 'event')} lost")
    paper.line(told(paper, event))


def told(paper: Paper, event: dict[str, Any]) -> str:
    """Return an event in a line."""
    arrow = "→" if paper.rich else "->"
    states = f"{paper.state(event['before'])} {arrow} {paper.mark(event['after'])}{paper.state(event['after'])}"
    return f"{clock(event['wall'])} {event['label']}: {states}  {cause(event)}"
