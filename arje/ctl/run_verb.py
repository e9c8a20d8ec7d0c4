"""``arjectl run``: a command as a service, with all that a service has, whose card goes when it has ended."""

from __future__ import annotations

import json
import sys

from arje.ctl import render
from arje.ctl.arguments import UsageError
from arje.ctl.exitcodes import Action
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def run(client: Client, args: Arguments, paper: Paper) -> int:
    """Start a command; with ``--wait`` show what it writes, and return its exit status."""
    label = args.label or (args.labels[0] if args.labels else "")
    if (args.label and args.labels) or (args.inside and (label or args.card)):
        raise UsageError("run what? arjectl run [NAME] [options] -- COMMAND")
    if not args.command and not args.card:
        raise UsageError("run what? arjectl run -- COMMAND")
    if args.inside:
        from arje.ctl import enter

        return enter.enter(client, args.inside, args.command, args, paper)
    asked = {"label": label, "command": args.command, "card": _card(args.card), "remain": args.remain}
    if not args.wait:
        found = client.call("Run", **asked)["result"]
        paper.line(json.dumps(found, ensure_ascii=True)) if args.json else render.result(paper, found)
        return _verdict(found)
    for reply in client.follow("Run", **asked):
        if reply["line"] is not None:
            _show(reply["line"], paper, in_json=args.json)
        else:
            return _ended(reply["result"], paper, in_json=args.json)
    return Action.FAILED


def _card(file: str | None) -> str:
    if file is None:
        return ""
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--card {file}: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}") from error


def _show(line: dict[str, Any], paper: Paper, *, in_json: bool) -> None:
    """Pass on a line as the command wrote it, on the stream that it wrote it to."""
    if in_json:
        paper.line(json.dumps(line, ensure_ascii=True))
    elif line["stream"] == "stdout":
        paper.line(escape(line["text"]))
    else:
        paper.flush()
        print(escape(line["text"]), file=sys.stderr)
    paper.flush()


def _ended(found: dict[str, Any], paper: Paper, *, in_json: bool) -> int:
    if in_json:
        paper.line(json.dumps(found, ensure_ascii=True))
    if found["exit_code"] is not None:
        return int(found["exit_code"])
    if not in_json:
        print(f"arjectl: {found['label']}: {escape(found['detail'])}", file=sys.stderr)
    return _verdict(found)


def _verdict(found: dict[str, Any]) -> int:
    return {"refused": Action.ISOLATION_REFUSED, "failed": Action.FAILED}.get(found["result"], Action.DONE)
