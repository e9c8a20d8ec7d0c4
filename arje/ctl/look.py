"""Verbs that only look: each asks the manager once, and shows the answer as a page or as JSON."""

from __future__ import annotations

from arje.ctl.answers import in_json
from arje.ctl.exitcodes import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def list_(client: Client, args: Arguments, paper: Paper) -> int:
    """Labels and states."""
    services = client.call("List", labels=args.labels, full=False)["services"]
    if args.json:
        in_json(paper, services)
        return Query.TRUE
    width = max((len(service["label"]) for service in services), default=0)
    for service in services:
        state = paper.state(service["state"])
        paper.line(f"{paper.mark(service['state'])}{service['label']:<{width}}  {state}")
    return Query.TRUE


def show(client: Client, args: Arguments, paper: Paper) -> int:
    """Every field of services, or one. Raises UsageError."""
    import json

    from arje.ctl.words import escape

    services = client.call("List", labels=args.labels, full=True)["services"]
    if args.property:
        services = _only(services, args.property)
    if args.json:
        in_json(paper, services)
        return Query.TRUE
    for number, service in enumerate(services):
        if number and not args.property:
            paper.line()
        for name, value in service.items():
            text = escape(value) if isinstance(value, str) else json.dumps(value)
            paper.line(text if args.property else f"{name}={text}")
    return Query.TRUE


def _only(services: list[dict[str, object]], field: str) -> list[dict[str, object]]:
    """Return one field of each service; a part of a field is named with dots (``isolation.granted``)."""
    found = []
    for service in services:
        value: object = service
        for name in field.split("."):
            if not isinstance(value, dict) or name not in value:
                from arje.ctl.arguments import UsageError

                known = f"; there are: {', '.join(value)}" if isinstance(value, dict) else ""
                raise UsageError(f"no field {field!r}{known}")
            value = value[name]
        found.append({field: value})
    return found


def why(client: Client, args: Arguments, paper: Paper) -> int:
    """The causal chain of a service's state."""
    from arje.ctl import render

    chain = client.call("Why", label=args.labels[0])["chain"]
    in_json(paper, chain) if args.json else render.why(paper, chain)
    return Query.TRUE


def deps(client: Client, args: Arguments, paper: Paper) -> int:
    """What a service depends on, or what depends on it."""
    from arje.ctl import deps

    tree = client.call("Deps", label=args.labels[0], reverse=args.reverse)["tree"]
    in_json(paper, tree) if args.json else deps.show(paper, tree)
    return Query.TRUE


def doctor(client: Client, args: Arguments, paper: Paper) -> int:
    """What this machine can isolate."""
    from arje.ctl import doctor

    report = client.call("Doctor")
    in_json(paper, report) if args.json else doctor.show(paper, report)
    return Query.TRUE


def _schema(client: Client, args: Arguments) -> Any:
    if not args.output:
        return client.call("Schema")["schema"]
    from arje.ctl.arguments import UsageError
    from arje.ctl.client import CallError
    from arje.ctl.verbs import NAMES

    try:
        return client.call("Schema", output=NAMES.get(args.output, args.output))["schema"]
    except CallError as error:
        if error.name != "InvalidParameter":
            raise
        raise UsageError(f"no verb {args.output!r} writes JSON (arjectl --help lists the verbs)") from error


def schema(client: Client, args: Arguments, paper: Paper) -> int:
    """The JSON schema of a card."""
    import json

    paper.line(json.dumps(_schema(client, args), indent=None if args.json else 2))
    return Query.TRUE


def ping(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether a manager answers."""
    answer = client.call("Ping")
    in_json(paper, answer) if args.json else paper.line(f"arje {answer['version']}, pid {answer['pid']}")
    return Query.TRUE


def version(client: Client, args: Arguments, paper: Paper) -> int:
    """Arjectl's own version."""
    from arje import __version__

    in_json(paper, {"version": __version__}) if args.json else paper.line(f"arjectl {__version__}")
    return Query.TRUE


def failed(client: Client, args: Arguments, paper: Paper) -> int:
    """Who has failed or starts over and over, each with its reason, and what to type next; 1 when there are some."""
    from arje.ctl import render
    from arje.ctl.words import escape

    services = client.call("List", labels=args.labels, full=False)["services"]
    bad = [service for service in services if service["state"] in ("failed", "backoff")]
    if args.json:
        in_json(paper, bad)
        return Query.FALSE if bad else Query.TRUE
    width = max((len(service["label"]) for service in bad), default=0)
    for service in bad:
        state = paper.state(service["state"], f"{service['state']:<7}")
        why = escape(render.trouble(paper, service))
        paper.line(f"{paper.mark(service['state'])}{service['label']:<{width}}  {state}  {why}")
    if bad:
        paper.line(f"More: arjectl why {bad[0]['label']}; arjectl logs {bad[0]['label']}")
    else:
        paper.line("Nothing has failed.")
    return Query.FALSE if bad else Query.TRUE
