"""Run one verb; errors of the command line and of the manager become one line (or JSON) and an exit code."""

from __future__ import annotations

import json
import os
import sys

from arje.ctl.arguments import UsageError, parse
from arje.ctl.client import CallError, Client, TimedOut, Unreachable
from arje.ctl.exitcodes import Action, Query
from arje.ctl.verbs import VERBS, Verb
from arje.ctl.words import Paper, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code (ctl/exitcodes.py)."""
    words = sys.argv[1:] if argv is None else argv
    try:
        args = parse(words)
    except UsageError as error:
        return _complain("usage", str(error), Action.USAGE, in_json="--json" in words)
    try:
        code = _run(VERBS[args.verb], args, Paper(sys.stdout, plain=args.plain))
        sys.stdout.flush()
    except UsageError as error:
        return _complain("usage", str(error), Action.USAGE, in_json=args.json)
    except BrokenPipeError:  # the reader has seen enough: head(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Query.TRUE
    except KeyboardInterrupt:
        return 130
    return int(code)


def _run(verb: Verb, args: Namespace, paper: Paper) -> int:
    try:
        if not verb.needs_manager:
            return verb.run(None, args, paper)  # type: ignore[arg-type]
        client = Client(args.socket or _socket(args), args.timeout)
        try:
            return verb.run(client, args, paper)
        finally:
            client.close()
    except Unreachable as error:
        return _complain("unreachable", str(error), Action.UNREACHABLE, in_json=args.json)
    except TimedOut:
        text = f"no answer in {args.timeout:g} s; the manager goes on with the request"
        return _complain("timeout", text, Action.TIMED_OUT, in_json=args.json)
    except CallError as error:
        text, code = _refused(verb, args, error)
        return _complain(error.name, text, code, in_json=args.json)


def _socket(args: Namespace) -> str:
    from arje import paths  # costs as much as all the rest; who names a socket need not wait for it

    return str(paths.default_socket(user=True if args.user else False if args.system else None))


def _refused(verb: Verb, args: Namespace, error: CallError) -> tuple[str, int]:
    """Return an error reply in words, and its exit code."""
    told = error.parameters
    if error.name == "NoSuchService":
        nearest = f"; did you mean {told['nearest']}?" if told.get("nearest") else ""
        if problems := told.get("problems"):
            from arje.ctl.forecast import problem_text

            nearest = f"; its card cannot be loaded: {'; '.join(map(problem_text, problems))}"
        code = Query.NO_SUCH_SERVICE if verb.query else Action.NO_SUCH_SERVICE
        return f"no service {told.get('label')!r}{nearest}", code
    if error.name == "PermissionDenied":
        text = f"user {told.get('uid')} may look, not change: become root or the manager's user"
        return text, Action.NO_PERMISSION
    if error.name == "NotRunning":
        return f"{told.get('label')} is {told.get('state')}: it has no process to change", Action.NOT_RUNNING
    if error.name == "CannotSet":
        from arje.ctl import limits_verbs

        code = Action.USAGE if args.verb in ("set", "harden") else Action.CARD_INVALID
        return limits_verbs.cannot(told["problems"]), code
    if error.name == "BadReport":
        return str(told.get("message")), Action.USAGE
    if error.name == "Ordering":
        return str(told.get("message")), Action.FAILED
    return f"the manager says {error.name}: {json.dumps(told)}", Action.FAILED


def _complain(name: str, text: str, code: int, *, in_json: bool) -> int:
    if in_json:
        print(json.dumps({"error": name, "message": text, "code": int(code)}))
    print(f"arjectl: {escape(text)}", file=sys.stderr)
    return int(code)
