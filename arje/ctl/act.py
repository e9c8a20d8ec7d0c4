"""Verbs that run, stop and signal services: each is one call, and a line per service that it touched."""

from __future__ import annotations

from arje.ctl.answers import in_json, results
from arje.ctl.exitcodes import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def start(client: Client, args: Arguments, paper: Paper) -> int:
    """Start services and what they need."""
    return results(client.call("Start", labels=args.labels), args, paper)


def trigger(client: Client, args: Arguments, paper: Paper) -> int:
    """Run services now, timed or not."""
    return results(client.call("Trigger", labels=args.labels), args, paper)


def stop(client: Client, args: Arguments, paper: Paper) -> int:
    """Stop services."""
    return results(client.call("Stop", labels=args.labels, force=args.force), args, paper)


def restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Stop and start services."""
    return results(client.call("Restart", labels=args.labels), args, paper)


def try_restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Restart those that run."""
    return results(client.call("TryRestart", labels=args.labels), args, paper)


def reload(client: Client, args: Arguments, paper: Paper) -> int:
    """Let services read their configuration again."""
    return results(client.call("Reload", labels=args.labels), args, paper)


def reload_or_restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Reload those that can, restart the others."""
    return results(client.call("Reload", labels=args.labels, or_restart=True), args, paper)


def target(client: Client, args: Arguments, paper: Paper) -> int:
    """Start a target and stop what it does not pull in."""
    return results(client.call("Target", label=args.labels[0]), args, paper)


def kill(client: Client, args: Arguments, paper: Paper) -> int:
    """Send services a signal. Raises UsageError."""
    from arje.ctl.arguments import UsageError
    from arje.ctl.client import CallError

    try:
        found = client.call("Kill", labels=args.labels, signal=args.signal, whom=args.whom)
    except CallError as error:
        if error.name != "InvalidParameter":
            raise
        raise UsageError(f"{args.signal!r} is no signal (write TERM, HUP, RTMIN+3 or a number)") from error
    return results(found, args, paper)


def freeze(client: Client, args: Arguments, paper: Paper) -> int:
    """Let no process of services run."""
    return results(client.call("Freeze", labels=args.labels), args, paper)


def thaw(client: Client, args: Arguments, paper: Paper) -> int:
    """Let frozen services run again."""
    return results(client.call("Thaw", labels=args.labels), args, paper)


def wait(client: Client, args: Arguments, paper: Paper) -> int:
    """Wait until services have settled, or have reached a goal."""
    return results(client.call("Wait", labels=args.labels, until=args.goal), args, paper)


def heal(client: Client, args: Arguments, paper: Paper) -> int:
    """Mend what services have lost."""
    from arje.ctl import render

    found = client.call("Heal", labels=args.labels)
    in_json(paper, found) if args.json else render.healed(paper, found)
    lost = any(service["degradations"] for service in found["results"])
    return Action.DEGRADED if lost and args.strict else Action.DONE
