"""The verbs of arjectl: what each asks the manager, and the exit code that its answer means.

Pages that only some verbs show are imported by those: every start of arjectl pays for what stands at the top.
"""

from __future__ import annotations

import json

from arje import __version__
from arje.ctl import render
from arje.ctl.exitcodes import Action, Query
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any, Final

    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Run = Callable[[Client, Namespace, Paper], int]


class Verb:
    """A verb: how it runs, what it is for, its operands (``?`` one or none, ``*`` any, ``+`` some), names hands know.

    ``query``: it only looks. ``strict``: it takes ``--strict``.
    """

    def __init__(
        self,
        run: Run,
        help: str,
        operands: str = "",
        operand: str = "SERVICE",
        aliases: tuple[str, ...] = (),
        *,
        query: bool = True,
        strict: bool = False,
        needs_manager: bool = True,
    ) -> None:
        self.run = run
        self.help = help
        self.operands = operands
        self.operand = operand
        self.aliases = aliases
        self.query = query
        self.strict = strict
        self.needs_manager = needs_manager


def in_json(paper: Paper, value: Any) -> None:
    """Write a value as one line of JSON."""
    paper.line(json.dumps(value, ensure_ascii=True))


def _status(client: Client, args: Namespace, paper: Paper) -> int:
    services = client.call("List", labels=args.labels, full=bool(args.labels), look=bool(args.labels))["services"]
    manager = client.call("GetManager")["manager"]
    if args.json:
        in_json(paper, {"manager": manager, "services": services})
    elif args.labels:
        from arje.ctl import detail

        for number, service in enumerate(services):
            if number:
                paper.line()
            detail.detail(paper, service)
    else:
        render.table(paper, manager, services)
        if any(service["isolation"]["degradations"] for service in services):
            paper.line()
            render.degradations(paper, services)
    if not args.labels or all(service["up"] for service in services):
        return Query.TRUE
    return Query.NOT_RUNNING


def _list(client: Client, args: Namespace, paper: Paper) -> int:
    services = client.call("List", labels=args.labels, full=False)["services"]
    if args.json:
        in_json(paper, services)
    else:
        width = max((len(service["label"]) for service in services), default=0)
        for service in services:
            state = paper.state(service["state"])
            paper.line(f"{paper.mark(service['state'])}{service['label']:<{width}}  {state}")
    return Query.TRUE


def _show(client: Client, args: Namespace, paper: Paper) -> int:
    services = client.call("List", labels=args.labels, full=True)["services"]
    if args.json:
        in_json(paper, services)
        return Query.TRUE
    for number, service in enumerate(services):
        if number:
            paper.line()
        for name, value in service.items():
            paper.line(f"{name}={escape(value) if isinstance(value, str) else json.dumps(value)}")
    return Query.TRUE


def _why(client: Client, args: Namespace, paper: Paper) -> int:
    chain = client.call("Why", label=args.labels[0])["chain"]
    in_json(paper, chain) if args.json else render.why(paper, chain)
    return Query.TRUE


def _deps(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import deps

    tree = client.call("Deps", label=args.labels[0], reverse=args.reverse)["tree"]
    in_json(paper, tree) if args.json else deps.show(paper, tree)
    return Query.TRUE


def _target(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Target", label=args.labels[0]), args, paper)


def _degradations(client: Client, args: Namespace, paper: Paper) -> int:
    services = client.call("List", labels=args.labels, full=False, look=True)["services"]
    if args.json:
        in_json(paper, {service["label"]: service["isolation"]["degradations"] for service in services})
    else:
        render.degradations(paper, services)
        render.degradations_summary(paper, services)
    return Query.TRUE


def _doctor(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import doctor

    report = client.call("Doctor")
    in_json(paper, report) if args.json else doctor.show(paper, report)
    return Query.TRUE


def _logs(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import log_verbs

    return log_verbs.logs(client, args, paper)


def _ps(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import ps

    return ps.ps(client, args, paper)


def _events(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import event_verbs

    return event_verbs.events(client, args, paper)


def _schema(client: Client, args: Namespace, paper: Paper) -> int:
    paper.line(json.dumps(client.call("Schema")["schema"], indent=None if args.json else 2))
    return Query.TRUE


def _ping(client: Client, args: Namespace, paper: Paper) -> int:
    answer = client.call("Ping")
    in_json(paper, answer) if args.json else paper.line(f"arje {answer['version']}, pid {answer['pid']}")
    return Query.TRUE


def _version(client: Client, args: Namespace, paper: Paper) -> int:
    paper.line(json.dumps({"version": __version__}) if args.json else f"arjectl {__version__}")
    return Query.TRUE


def _start(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Start", labels=args.labels), args, paper)


def _trigger(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Trigger", labels=args.labels), args, paper)


def _timers(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import timers

    return timers.timers(client, args, paper)


def _stop(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Stop", labels=args.labels, force=args.force), args, paper)


def _restart(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Restart", labels=args.labels), args, paper)


def _try_restart(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("TryRestart", labels=args.labels), args, paper)


def _reload(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Reload", labels=args.labels), args, paper)


def _reload_or_restart(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Reload", labels=args.labels, or_restart=True), args, paper)


def _kill(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl.arguments import UsageError
    from arje.ctl.client import CallError

    try:
        found = client.call("Kill", labels=args.labels, signal=args.signal, whom=args.whom)
    except CallError as error:
        if error.name != "InvalidParameter":
            raise
        raise UsageError(f"{args.signal!r} is no signal (write TERM, HUP, RTMIN+3 or a number)") from error
    return _results(found, args, paper)


def _wait(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Wait", labels=args.labels, until=args.goal), args, paper)


def _history(client: Client, args: Namespace, paper: Paper) -> int:
    services = client.call("List", labels=args.labels, full=True)["services"]
    if args.json:
        in_json(paper, {service["label"]: service["history"] for service in services})
    else:
        render.history(paper, services)
    return Query.TRUE


def _results(answer: dict[str, Any], args: Namespace, paper: Paper) -> int:
    results = answer["results"]
    if args.json:
        in_json(paper, results)
    else:
        for found in results:
            render.result(paper, found)
    return verdict(results, strict=args.strict)


def verdict(results: list[dict[str, Any]], *, strict: bool) -> int:
    """The code of the worst result: a refusal says more than a failure."""
    codes = {"refused": Action.ISOLATION_REFUSED, "dependents": Action.DEPENDENTS, "failed": Action.FAILED}
    found = {codes[result["result"]] for result in results if result["result"] in codes}
    for code in (Action.ISOLATION_REFUSED, Action.DEPENDENTS, Action.FAILED):
        if code in found:
            return code
    if strict and any(result["degraded"] for result in results):
        return Action.DEGRADED
    return Action.DONE


def _activating(client: Client, args: Namespace, paper: Paper) -> int:
    from arje.ctl import sockets

    return sockets.show(client, args, paper)


def _heal(client: Client, args: Namespace, paper: Paper) -> int:
    found = client.call("Heal", labels=args.labels)
    in_json(paper, found) if args.json else render.healed(paper, found)
    lost = any(service["degradations"] for service in found["results"])
    return Action.DEGRADED if lost and args.strict else Action.DONE


def _freeze(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Freeze", labels=args.labels), args, paper)


def _thaw(client: Client, args: Namespace, paper: Paper) -> int:
    return _results(client.call("Thaw", labels=args.labels), args, paper)


def _later(module: str, name: str) -> Run:
    """Return a verb whose module is imported when it runs."""

    def run(client: Client, args: Namespace, paper: Paper) -> int:
        from importlib import import_module

        return int(getattr(import_module(f"arje.ctl.{module}"), name)(client, args, paper))

    return run


VERBS: Final[dict[str, Verb]] = {
    "status": Verb(_status, "the table of services, or some in detail", "*"),
    "list": Verb(_list, "labels and states", "*", aliases=("ls", "list-units")),
    "show": Verb(_show, "every field of services", "*"),
    "why": Verb(_why, "the causal chain of a service's state", "1"),
    "history": Verb(_history, "the last states of services, and who or what put them there", "+"),
    "deps": Verb(_deps, "what a service depends on, as a tree", "1", aliases=("list-dependencies",)),
    "sockets": Verb(_activating, "what is listened on, and for whom", "*", aliases=("list-sockets",)),
    "paths": Verb(_activating, "which paths start which services", "*", aliases=("list-paths",)),
    "degradations": Verb(_degradations, "what was asked for and not granted, why, and the remedy", "*"),
    "doctor": Verb(_doctor, "what this machine can isolate, and how to mend what it cannot"),
    "logs": Verb(_logs, "what services wrote", "*", aliases=("tail",)),
    "ps": Verb(_ps, "the processes of services, and what they use", "*"),
    "events": Verb(_events, "what became of services: every change of state, and why", "*", aliases=("monitor",)),
    "timers": Verb(_timers, "when timed services run next, and ran last", "*", aliases=("list-timers",)),
    "start": Verb(_start, "start services and what they need; arm those with a timer", "+", query=False, strict=True),
    "trigger": Verb(_trigger, "run services now, whatever their timers say", "+", query=False, strict=True),
    "stop": Verb(_stop, "stop services, and disarm their timers", "+", query=False),
    "restart": Verb(_restart, "stop and start services", "+", query=False, strict=True),
    "try-restart": Verb(_try_restart, "restart those that run", "+", query=False, strict=True),
    "reload": Verb(_reload, "let services read their configuration again", "+", query=False),
    "reload-or-restart": Verb(
        _reload_or_restart, "reload those that can, restart the others", "+", query=False, strict=True
    ),
    "kill": Verb(_kill, "send services a signal (-s, --whom)", "+", aliases=("signal",), query=False),
    "target": Verb(
        _target,
        "start a target and stop what it does not pull in",
        "1",
        "TARGET",
        ("isolate",),
        query=False,
        strict=True,
    ),
    "set": Verb(
        _later("limits_verbs", "set_limits"),
        "change limits of a running service, until it is restarted",
        "+",
        "SERVICE NAME=VALUE",
        query=False,
    ),
    "heal": Verb(_heal, "mend what services have lost, where it can be had by now", "*", query=False, strict=True),
    "harden": Verb(
        _later("harden", "harden"),
        "watch a service and propose the tightest card that it still runs with",
        "1",
        query=False,
    ),
    "freeze": Verb(_freeze, "let no process of services run", "+", query=False),
    "thaw": Verb(_thaw, "let frozen services run again", "+", query=False),
    "run": Verb(_later("run_verb", "run"), "run a command as a service that goes when it has ended", "*", query=False),
    "enable": Verb(_later("stick_verbs", "enable"), "let the manager start services by itself", "+", query=False),
    "disable": Verb(_later("stick_verbs", "disable"), "let only hands and dependents start services", "+", query=False),
    "mask": Verb(_later("stick_verbs", "mask"), "let nothing start services, no hand either", "+", query=False),
    "unmask": Verb(_later("stick_verbs", "unmask"), "take masks away", "+", query=False),
    "pin": Verb(_later("stick_verbs", "pin"), "let nothing but a hand change whether services run", "+", query=False),
    "unpin": Verb(_later("stick_verbs", "unpin"), "take pins out", "+", query=False),
    "scale": Verb(
        _later("stick_verbs", "scale"), "let a template have so many copies", "+", "TEMPLATE@ NUMBER", query=False
    ),
    "reset-failed": Verb(_later("stick_verbs", "reset_failed"), "forget the failures of services", "*", query=False),
    "cat": Verb(_later("stick_verbs", "cat"), "every file that made a card", "+"),
    "is-active": Verb(_later("tests", "is_active"), "whether one of these services is up", "+"),
    "is-ready": Verb(_later("tests", "is_ready"), "whether one of these services is ready", "+"),
    "is-failed": Verb(_later("tests", "is_failed"), "whether one of these services has failed", "+"),
    "is-enabled": Verb(_later("tests", "is_enabled"), "whether the manager starts one of these by itself", "+"),
    "is-degraded": Verb(_later("tests", "is_degraded"), "whether one of these services lacks isolation", "+"),
    "is-system-running": Verb(_later("tests", "is_system_running"), "whether all is well, and if not what"),
    "wait": Verb(_wait, "wait until services have settled, or are so (--for)", "*", query=False, strict=True),
    "plan": Verb(
        _later("plan_verbs", "plan"),
        "what the cards on disk would change, or what a start of one would get here or elsewhere (--on)",
        "?",
        "SERVICE|FILE",
        ("diff",),
    ),
    "apply": Verb(
        _later("plan_verbs", "apply"),
        "take the cards on disk, all or none; go back when they are no good (--confirm)",
        "?",
        "TOKEN",
        ("daemon-reload", "update"),
        query=False,
        strict=True,
    ),
    "rollback": Verb(
        _later("plan_verbs", "rollback"),
        "go back to the cards before the last apply, or to an earlier set",
        "?",
        "TOKEN",
        query=False,
        strict=True,
    ),
    "schema": Verb(_schema, "the JSON schema of a card"),
    "ping": Verb(_ping, "whether a manager answers"),
    "version": Verb(_version, "arjectl's own version", needs_manager=False),
}
