"""Verbs about the manager itself and its cards: log-level, check."""

from __future__ import annotations

from arje.ctl.answers import in_json
from arje.ctl.exitcodes import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def log_level(client: Client, args: Arguments, paper: Paper) -> int:
    """Tell how talkative the manager's own log is, or change it."""
    found = client.call("SetLogLevel", level=args.labels[0]) if args.labels else client.call("GetLogLevel")
    in_json(paper, found) if args.json else paper.line(found["level"])
    return Action.DONE


def check(client: Client, args: Arguments, paper: Paper) -> int:
    """Judge card files, or the cards on disk when none is named: every problem with its file, line, field and remedy."""
    from arje.ctl import forecast
    from arje.ctl.words import many

    problems: list[dict[str, Any]] = []
    files = [file for name in args.labels for file in _files(name)]
    if args.labels:
        from arje.ctl.plan_verbs import send

        for file in files:
            problems += send(client, file, None)["problems"]
    else:
        problems = client.call("Plan")["plan"]["problems"]
    if args.json:
        in_json(paper, problems)
    else:
        forecast.problems(paper, problems)
        what = f"{many(len(files), 'file')} read, " if args.labels else ""
        paper.line(f"{what}{many(len(problems), 'problem')}")
    return Action.CARD_INVALID if problems else Action.DONE


def _files(name: str) -> list[str]:
    """Return a file, or the card files of a directory."""
    from pathlib import Path

    path = Path(name)
    if not path.is_dir():
        return [name]
    return sorted(str(each) for each in path.iterdir() if each.suffix in (".toml", ".json") and each.name[0] != ".")
