"""Verbs that write something down, or show what is written: enable, mask, pin, scale, reset-failed, cat."""

from __future__ import annotations

import json

from arje.ctl import render
from arje.ctl.exitcodes import Action, Query
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def enable(client: Client, args: Arguments, paper: Paper) -> int:
    """Let the manager start services by itself."""
    return _written(client, args, paper, "Enable", "Start")


def disable(client: Client, args: Arguments, paper: Paper) -> int:
    """Let it start them no more."""
    return _written(client, args, paper, "Disable", "Stop")


def mask(client: Client, args: Arguments, paper: Paper) -> int:
    """Let nothing start services."""
    return _written(client, args, paper, "Mask", "Stop")


def unmask(client: Client, args: Arguments, paper: Paper) -> int:
    """Take masks away."""
    return _written(client, args, paper, "Unmask")


def pin(client: Client, args: Arguments, paper: Paper) -> int:
    """Keep services as they are, started or stopped."""
    return _written(client, args, paper, "Pin")


def unpin(client: Client, args: Arguments, paper: Paper) -> int:
    """Take pins out."""
    return _written(client, args, paper, "Unpin")


def reset_failed(client: Client, args: Arguments, paper: Paper) -> int:
    """Forget failures."""
    return _told(args, paper, client.call("ResetFailed", labels=args.labels)["results"])


def _written(client: Client, args: Arguments, paper: Paper, method: str, now: str = "") -> int:
    results = client.call(method, labels=args.labels)["results"]
    failed = any(result["result"] == "failed" for result in results)
    if not now or not args.now or failed:
        return _told(args, paper, results)
    more = client.call(now, labels=args.labels)["results"]
    if args.json:
        paper.line(json.dumps(results + more, ensure_ascii=True))
    else:
        _lines(paper, results)
        for found in more:
            render.result(paper, found)
    from arje.ctl.answers import verdict

    return verdict(more, strict=False)


def _told(args: Arguments, paper: Paper, results: list[dict[str, Any]]) -> int:
    if args.json:
        paper.line(json.dumps(results, ensure_ascii=True))
    else:
        _lines(paper, results)
    return Action.FAILED if any(result["result"] == "failed" for result in results) else Action.DONE


def _lines(paper: Paper, results: list[dict[str, Any]]) -> None:
    for found in results:
        said = {"already": f"{found['detail']} already", "failed": f"failed: {found['detail']}"}
        paper.line(f"{found['label']}: {escape(said.get(found['result'], found['detail']))}")


def scale(client: Client, args: Arguments, paper: Paper) -> int:
    """Let a template have so many copies."""
    from arje.ctl import forecast
    from arje.ctl.answers import verdict
    from arje.ctl.arguments import UsageError

    if len(args.labels) != 2 or not args.labels[1].isascii() or not args.labels[1].isdecimal():
        raise UsageError("scale what to how many? arjectl scale web@ 3")
    found = client.call("Scale", template=args.labels[0], copies=int(args.labels[1]))["plan"]
    if args.json:
        paper.line(json.dumps(found, ensure_ascii=True))
    elif found["problems"]:
        forecast.problems(paper, found["problems"])
        paper.line(
            f"Written down ({escape(found['file'])}), and nothing was changed: mend the card, then: arjectl apply"
        )
    elif found["busy"]:
        paper.line(f"Nothing was written down or changed: {escape(found['busy'])}")
    else:
        forecast.changes(paper, found["changes"])
        for each in found["results"]:
            render.result(paper, each)
        paper.line(f"{args.labels[0]}: {args.labels[1]} copies ({escape(found['file'])})")
    if found["problems"]:
        return Action.CARD_INVALID
    return verdict(found["results"], strict=False) if found["applied"] else Action.FAILED


def _read(file: str) -> dict[str, Any]:
    """Read a file as who asks, not as the manager: cards may hold secrets."""
    import os
    import stat

    found: dict[str, Any] = {"file": file, "text": "", "problem": None}
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return found  # a link to /dev/null is a mask
        with open(file, encoding="utf-8", errors="replace") as stream:
            found["text"] = stream.read()
    except OSError as error:
        found["problem"] = f"cannot be read: {error.strerror}"
    return found


def cat(client: Client, args: Arguments, paper: Paper) -> int:
    """Show every file that made cards, each below its name."""
    files = [_read(file) for label in args.labels for file in client.call("Cat", label=label)["files"]]
    if args.json:
        paper.line(json.dumps(files, ensure_ascii=True))
        return Query.TRUE
    for number, file in enumerate(files):
        if number:
            paper.line()
        paper.line(paper.paint(f"# {escape(file['file'])}", "36"))
        if file["problem"]:
            paper.line(f"# {escape(file['problem'])}")
        for line in file["text"].splitlines():
            paper.line(escape(line))
    return Query.TRUE
