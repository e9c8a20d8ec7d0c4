"""``arjectl harden``: watch, propose, try, and say how to keep it."""

from __future__ import annotations

import json

from arje.ctl.client import Client
from arje.ctl.exitcodes import Action
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper


def harden(client: Client, args: Arguments, paper: Paper) -> int:
    """Watch a service for a time, or until Ctrl-C or its end; propose a card, and try it when asked to."""
    label = args.labels[0]
    result = client.call("Observe", label=label)["result"]
    if result["state"] in ("failed", "stopped", "backoff"):
        paper.line(f"{label}: {result['state']}: {escape(result['detail'])}")
        return Action.FAILED
    _wait(client, label, args.seconds, paper, quiet=args.json)
    attempt = args.attempt or args.write
    stay, slack = int(args.stay * 1000), args.slack
    found = client.call("Harden", label=label, slack_percent=slack, attempt=attempt, stay_ms=stay, write=args.write)
    if args.json:
        paper.line(json.dumps(found))
    else:
        _show(paper, label, found)
    lost = args.write and found["tried"] and not found["kept"]
    return Action.FAILED if found["broke"] or lost else Action.DONE


def _wait(client: Client, label: str, seconds: float | None, paper: Paper, *, quiet: bool) -> None:
    if not quiet:
        how = "until Ctrl-C" if seconds is None else f"for {seconds:g} s"
        paper.line(f"Watching {label} {how}; use it meanwhile: what it does not do now will be forbidden")
    waiting = Client(client.path)  # a connection of its own: Ctrl-C hangs up, and the next call is not behind it
    try:
        waiting.call("AwaitEnd", label=label, for_ms=None if seconds is None else round(seconds * 1000))
    except KeyboardInterrupt:
        return
    finally:
        waiting.close()


def _show(paper: Paper, label: str, found: dict[str, Any]) -> None:
    for kind, items in found["seen"].items():
        if items:
            paper.line(f"{kind}: {escape(' '.join(items))}")
    paper.line()
    for line in found["diff"].splitlines():
        paper.line(escape(line))
    for suggestion in found["suggestions"]:
        paper.line(f"Think about {escape(suggestion)}")
    if not found["diff"]:
        paper.line(f"{label}: nothing to tighten")
    elif not found["tried"]:
        paper.line(f"Nothing was changed. To run it so, and go back when that fails: arjectl harden {label} --try")
    elif found["broke"]:
        paper.line(f"{label}: broken by the proposal, and taken back: {escape(', '.join(found['broke']))}")
        if found["detail"]:
            paper.line(f"{label}: it ended with: {escape(found['detail'])}")
        paper.line("Watch it for longer, with all that it does: arjectl harden --for SEC")
    elif found["kept"]:
        paper.line(f"{label}: runs so, and {escape(found['file'])} says so")
    else:
        if found["detail"]:
            paper.line(f"{label}: {escape(found['detail'])}")
        paper.line(f"{label}: runs so until arjectl apply; to keep it: arjectl harden {label} --write")
