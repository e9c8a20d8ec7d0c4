"""``arjectl plan``, ``apply`` and ``rollback``: what cards on disk would change or get, the change, and the way back."""

from __future__ import annotations

import json

from arje.ctl import doctor, forecast, render
from arje.ctl.answers import in_json, verdict
from arje.ctl.arguments import UsageError
from arje.ctl.client import CallError
from arje.ctl.exitcodes import Action
from arje.ctl.progress import Progress
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_LARGEST: Final = 900_000  # bytes of a request with a card in it; the manager hangs up at a mebibyte


def plan(client: Client, args: Arguments, paper: Paper) -> int:
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


def _plan_one(client: Client, args: Arguments, paper: Paper) -> int:
    """What a start of one service, or of the cards in a file, would do here or on another host."""
    word, on, where = args.labels[0], None, "here"
    if args.on:
        on, where = doctor.read(args.on), f"on the host of {escape(args.on)}"
    if "/" in word or word.endswith((".toml", ".json")):
        found = send(client, word, on)
    else:
        found = client.call("Forecast", label=word, on=on)
    if args.json:
        in_json(paper, found)
    else:
        forecast.forecasts(paper, found, where)
    if found["problems"]:
        return Action.CARD_INVALID
    return Action.ISOLATION_REFUSED if any(each["refusal"] for each in found["forecasts"]) else Action.DONE


def send(client: Client, file: str, on: Any) -> dict[str, Any]:
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


def apply(client: Client, args: Arguments, paper: Paper) -> int:
    """Take the cards on disk, all or none."""
    if args.dry_run:
        args.labels, args.on = [], None
        return plan(client, args, paper)
    more = {} if args.confirm is None else {"confirm_ms": round(args.confirm * 1000)}
    with Progress(client, args, paper, []):
        found = client.call("Apply", token=args.labels[0] if args.labels else "", **more)["plan"]
    if args.json:
        in_json(paper, found)
    else:
        forecast.plan(paper, found | {"undone": None})
        _told(found, paper)
    if found["stale"] or found["undone"]:
        return Action.PLAN_CHANGED
    if found["stopping"] or found["busy"]:
        return Action.FAILED
    if found["problems"]:
        return Action.CARD_INVALID
    return verdict(found["results"], strict=args.strict)


def _told(found: dict[str, Any], paper: Paper) -> None:
    """What became of an apply."""
    if found["undone"]:
        paper.line(f"{forecast.undone(found['undone'])}. The cards of before are in force; the files are as they were.")
        forecast.changes(paper, found["back"])
    for each in found["results"]:
        render.result(paper, each)
    if found["stale"]:
        paper.line("Nothing was changed: the cards have changed since that plan. Look again: arjectl plan")
    elif found["stopping"]:
        paper.line("Nothing was changed: arje is stopping")
    elif found["busy"]:
        paper.line(f"Nothing was changed: {escape(found['busy'])}. Wait, or break it off: arjectl rollback")
    elif found["problems"]:
        paper.line("Nothing was changed: the cards in force stay. Mend the cards, then: arjectl apply")
    elif found["confirmed"]:
        paper.line("Confirmed: all that was touched is up.")


def rollback(client: Client, args: Arguments, paper: Paper) -> int:
    """Go back to an earlier set of cards, or tell which there are."""
    if args.list:
        return _sets(client, args, paper)
    try:
        with Progress(client, args, paper, []):
            found = client.call("Rollback", token=args.labels[0] if args.labels else "")["plan"]
    except CallError as error:
        if error.name != "CannotSet":
            raise
        text = "; ".join(f"{each['message']} ({each['remedy']})" for each in error.parameters["problems"])
        told = {"error": error.name, "message": text, "code": int(Action.FAILED)}
        in_json(paper, told) if args.json else paper.line(text)
        return Action.FAILED
    if args.json:
        in_json(paper, found)
    elif not found["undone"]:
        forecast.problems(paper, found["problems"])
        why = "arje is stopping" if found["stopping"] else escape(found["busy"]) or "that set does not fit any more"
        paper.line(f"Nothing was changed: {why}")
    else:
        forecast.changes(paper, found["back"])
        for each in found["results"]:
            render.result(paper, each)
        paper.line(
            f"The set {found['undone']['token']} is in force. The files still hold what was undone: arjectl plan"
        )
    if not found["undone"]:
        return Action.CARD_INVALID if found["problems"] else Action.FAILED
    return verdict(found["results"], strict=args.strict)


def _sets(client: Client, args: Arguments, paper: Paper) -> int:
    """The sets that can be gone back to, the latest first."""
    from arje.ctl.words import clock

    found = client.call("Sets")["sets"]
    if args.json:
        in_json(paper, found)
        return Action.DONE
    for each in found:
        why = f" ({escape(each['why'])})" if each["why"] else ""
        paper.line(f"{each['token']}  since {clock(each['wall'])} by {escape(each['who'])}{why}")
        if each["in_force"]:
            paper.line("  in force")
        else:
            paper.line(f"  the step from it changed: {', '.join(each['changed']) or 'templates alone'}")
    return Action.DONE
