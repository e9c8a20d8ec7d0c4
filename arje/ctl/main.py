"""Words of a command line to a verb, errors of the manager to one line and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from arje import paths
from arje.ctl.client import CallError, Client, TimedOut, Unreachable
from arje.ctl.exitcodes import Action, Query
from arje.ctl.verbs import VERBS, Verb
from arje.ctl.words import Paper, escape


def parser() -> argparse.ArgumentParser:
    """Return the parser; options may stand before or after the verb."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where = common.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="talk to the user's own manager")
    where.add_argument("--system", action="store_true", help="talk to the system's manager")
    where.add_argument("--socket", type=Path, metavar="PATH", help="talk to the manager on this socket")
    common.add_argument("--json", action="store_true", help="answer in JSON")
    common.add_argument("--plain", action="store_true", help="no glyphs, no colours")
    common.add_argument("--timeout", type=float, metavar="SEC", help="wait this long for the manager (exit 152)")
    made = argparse.ArgumentParser(prog="arjectl", description="Look at services and change them.", parents=[common])
    verbs = made.add_subparsers(dest="verb", metavar="VERB")
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.help, description=verb.help, aliases=verb.aliases, parents=[common])
        one.set_defaults(verb=name)
        nargs = {"": 0, "1": 1}.get(verb.operands, verb.operands)
        if nargs != 0:
            one.add_argument("labels", nargs=nargs, metavar=verb.operand, default=[])
        if name == "logs":
            one.add_argument("-f", "--follow", action="store_true", help="show new lines as they come")
            one.add_argument("-n", "--lines", type=_lines, default=100, metavar="N", help="lines per service (100)")
        if name == "stop":
            one.add_argument("--force", action="store_true", help="stop what needs them first")
        if not verb.query and name not in ("stop", "plan"):
            one.add_argument("--strict", action="store_true", help="degraded is an error (exit 154)")
    return made


def _lines(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10**6:
        raise ValueError
    return number


_DEFAULTS: Final[dict[str, Any]] = {
    "user": False,
    "system": False,
    "socket": None,
    "json": False,
    "plain": False,
    "timeout": None,
    "labels": [],
    "strict": False,
    "force": False,
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code (ctl/exitcodes.py)."""
    args = parser().parse_args(argv)
    for name, value in _DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    if isinstance(args.labels, str):  # nargs="?"
        args.labels = [args.labels]
    verb = VERBS[args.verb or "status"]
    paper = Paper(sys.stdout, plain=args.plain)
    try:
        code = _run(verb, args, paper)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough: head(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Query.TRUE
    except KeyboardInterrupt:
        return 130
    return int(code)


def _run(verb: Verb, args: argparse.Namespace, paper: Paper) -> int:
    try:
        if not verb.needs_manager:
            return verb.run(None, args, paper)  # type: ignore[arg-type]
        user = True if args.user else False if args.system else None
        client = Client(args.socket or paths.default_socket(user=user), args.timeout)
        try:
            return verb.run(client, args, paper)
        finally:
            client.close()
    except Unreachable as error:
        return _complain(args, "unreachable", str(error), Action.UNREACHABLE)
    except TimedOut:
        text = f"no answer in {args.timeout:g} s; the manager goes on with the request"
        return _complain(args, "timeout", text, Action.TIMED_OUT)
    except CallError as error:
        return _refused(verb, args, error)


def _refused(verb: Verb, args: argparse.Namespace, error: CallError) -> int:
    told = error.parameters
    if error.name == "NoSuchService":
        nearest = f"; did you mean {told['nearest']}?" if told.get("nearest") else ""
        code = Query.NO_SUCH_SERVICE if verb.query else Action.NO_SUCH_SERVICE
        return _complain(args, error.name, f"no service {told.get('label')!r}{nearest}", code)
    if error.name == "PermissionDenied":
        text = f"user {told.get('uid')} may look, not change: become root or the manager's user"
        return _complain(args, error.name, text, Action.NO_PERMISSION)
    if error.name == "Ordering":
        return _complain(args, error.name, str(told.get("message")), Action.FAILED)
    return _complain(args, error.name, f"the manager says {error.name}: {json.dumps(told)}", Action.FAILED)


def _complain(args: argparse.Namespace, name: str, text: str, code: int) -> int:
    if args.json:
        print(json.dumps({"error": name, "message": text}))
    print(f"arjectl: {escape(text)}", file=sys.stderr)
    return int(code)
