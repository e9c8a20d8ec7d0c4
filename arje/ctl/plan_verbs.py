"""``arjectl plan`` and ``apply``: what cards on disk would change or get, and the change itself."""

from __future__ import annotations

import json

from arje.ctl import doctor, forecast, render
from arje.ctl.arguments import UsageError
from arje.ctl.exitcodes import Action
from arje.ctl.verbs import in_json, verdict
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any, Final

    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_LARGEST: Final = 900_000  # bytes of a request with a card in it; the manager hangs up at a mebibyte


def plan(client: Client, args: Namespace, paper: Paper) -> int:
    """What the cards on disk would change, or what a start of one would get. Raises UsageError."""
    if args.labels:
        return _plan_one(client, args, paper)
    if args.on:
        raise UsageError("--on tells of one service or card: arjectl plan X --on FILE")
    found = client.call("Plan")["plan"]
    if args.json:
        in_json(paper, found)
    else:
        forecast.plan(paper, found)
        if found["problems"]:
            paper.line("arjectl apply would change nothing before these are mended; the cards in force stay.")
        elif found["changes"]:
            paper.line(f"Take it with: arjectl apply {found['token']}")
    return Action.CARD_INVALID if found["problems"] else Action.DONE


def _plan_one(client: Client, args: Namespace, paper: Paper) -> int:
    """What a start of one service, or of the cards in a file, would do here or on another host."""
    word, on, where = args.labels[0], None, "here"
    if args.on:
        on, where = doctor.read(args.on), f"on the host of {escape(args.on)}"
    if "/" in word or word.endswith((".toml", ".json")):
        found = _check(client, word, on)
    else:
        found = client.call("Forecast", label=word, on=on)
    if args.json:
        in_json(paper, found)
    else:
        forecast.forecasts(paper, found, where)
    if found["problems"]:
        return Action.CARD_INVALID
    return Action.ISOLATION_REFUSED if any(each["refusal"] for each in found["forecasts"]) else Action.DONE


def _check(client: Client, file: str, on: Any) -> dict[str, Any]:
    """Send a card file's text to the manager; what cannot be sent is a problem like any other."""
    try:
        with open(file, "rb") as stream:
            text = stream.read(_LARGEST + 1).decode()
        most = _LARGEST - (len(json.dumps(on)) if on else 0)
        if len(json.dumps(text)) <= most:
            return client.call("Check", name=file, text=text, on=on)
        message, remedy = f"larger than {most} bytes", "a card file is small text"
    except UnicodeDecodeError as error:
        message, remedy = f"byte {error.object[error.start]:#04x} is not UTF-8", "save the file as UTF-8"
    except OSError as error:
        message, remedy = f"cannot be read: {error.strerror}", "check the path and its permissions"
    problem = {"file": file, "line": 0, "field": "", "message": message, "remedy": remedy}
    return {"forecasts": [], "problems": [problem]}


def apply(client: Client, args: Namespace, paper: Paper) -> int:
    """Take the cards on disk, all or none."""
    found = client.call("Apply", token=args.labels[0] if args.labels else "")["plan"]
    if args.json:
        in_json(paper, found)
    else:
        forecast.plan(paper, found)
        for each in found["results"]:
            render.result(paper, each)
        if found["stale"]:
            paper.line("Nothing was changed: the cards have changed since that plan. Look again: arjectl plan")
        elif found["stopping"]:
            paper.line("Nothing was changed: arje is stopping")
        elif found["problems"]:
            paper.line("Nothing was changed: the cards in force stay. Mend the cards, then: arjectl apply")
    if found["stale"]:
        return Action.PLAN_CHANGED
    if found["stopping"]:
        return Action.FAILED
    if found["problems"]:
        return Action.CARD_INVALID
    return verdict(found["results"], strict=args.strict)
