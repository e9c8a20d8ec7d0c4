"""Verbs that run, stop and signal services: each is one call, and a line per service that it touched."""

from __future__ import annotations

from arje.ctl.answers import in_json, results
from arje.ctl.exitcodes import Action
from arje.ctl.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def start(client: Client, args: Arguments, paper: Paper) -> int:
    """Start services and what they need."""
    return _run("Start", client, args, paper)


def trigger(client: Client, args: Arguments, paper: Paper) -> int:
    """Run services now, timed or not."""
    return _run("Trigger", client, args, paper)


def stop(client: Client, args: Arguments, paper: Paper) -> int:
    """Stop services."""
    return _run("Stop", client, args, paper, force=args.force)


def restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Stop and start services."""
    return _run("Restart", client, args, paper)


def try_restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Restart those that run."""
    return _run("TryRestart", client, args, paper)


def reload(client: Client, args: Arguments, paper: Paper) -> int:
    """Let services read their configuration again."""
    return _run("Reload", client, args, paper)


def reload_or_restart(client: Client, args: Arguments, paper: Paper) -> int:
    """Reload those that can, restart the others."""
    return _run("Reload", client, args, paper, or_restart=True)


def wake(client: Client, args: Arguments, paper: Paper) -> int:
    """Start services that something which runs needs."""
    return _run("Wake", client, args, paper)


def release(client: Client, args: Arguments, paper: Paper) -> int:
    """Stop services that nothing which runs needs."""
    return _run("Release", client, args, paper)


def target(client: Client, args: Arguments, paper: Paper) -> int:
    """Start a target and stop what it does not pull in."""
    waits = {"wait": False} if args.no_wait else {}
    with Progress(client, args, paper, []):
        found = client.call("Target", label=args.labels[0], **waits)
    return results(found, args, paper)


def _run(method: str, client: Client, args: Arguments, paper: Paper, **more: bool) -> int:
    """Ask for it and wait for its end; with ``--dry-run`` only tell, with ``--no-wait`` only ask."""
    if args.dry_run:
        return _would(client, args, paper)
    waits = {"wait": False} if args.no_wait else {}
    with Progress(client, args, paper, args.labels):
        found = client.call(method, labels=args.labels, **more, **waits)
    return results(found, args, paper, of_running=args.verb == "reload")


def _would(client: Client, args: Arguments, paper: Paper) -> int:
    from arje.ctl import forecast

    changes = client.call("Would", verb=args.verb, labels=args.labels)["changes"]
    in_json(paper, changes) if args.json else forecast.changes(paper, changes)
    return Action.DONE


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
    return results(found, args, paper, of_running=True)


def freeze(client: Client, args: Arguments, paper: Paper) -> int:
    """Let no process of services run."""
    return results(client.call("Freeze", labels=args.labels), args, paper, of_running=True)


def thaw(client: Client, args: Arguments, paper: Paper) -> int:
    """Let frozen services run again."""
    return results(client.call("Thaw", labels=args.labels), args, paper, of_running=True)


def wait(client: Client, args: Arguments, paper: Paper) -> int:
    """Wait until services have settled, or have reached a goal."""
    with Progress(client, args, paper, args.labels):
        found = client.call("Wait", labels=args.labels, until=args.goal)
    return results(found, args, paper)


def heal(client: Client, args: Arguments, paper: Paper) -> int:
    """Mend what services have lost."""
    from arje.ctl import render

    found = client.call("Heal", labels=args.labels)
    in_json(paper, found) if args.json else render.healed(paper, found)
    lost = any(service["degradations"] for service in found["results"])
    return Action.DEGRADED if lost and args.strict else Action.DONE
