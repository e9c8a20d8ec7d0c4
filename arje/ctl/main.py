"""Run one verb; errors of the command line and of the manager become one line (or JSON) and an exit code."""

from __future__ import annotations

import sys
from posix import _exit

from arje.ctl.arguments import UsageError, parse
from arje.ctl.client import CallError, Client, TimedOut, Unreachable
from arje.ctl.exitcodes import Action, Query
from arje.ctl.verbs import VERBS
from arje.ctl.words import Paper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from arje.ctl.arguments import Arguments
    from arje.ctl.verb import Verb


#: Verbs whose request stays with the manager when arjectl is interrupted.
_GOES_ON = frozenset({"start", "stop", "restart", "try-restart", "reload-or-restart", "trigger", "target", "apply"})


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code (ctl/exitcodes.py)."""
    words = as_called(sys.argv[0], sys.argv[1:]) if argv is None else argv
    if sys.stdout.encoding != "utf-8" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a locale cannot write is shown as Python writes it
    try:
        args = parse(words)
        if args.host:  # or several: they are asked in their own way
            from arje.ctl import hosts

            if (elsewhere := hosts.asked(words, args)) is not None:
                return elsewhere
            args = parse(hosts.on_one(words, args))
    except UsageError as error:
        return complain("usage", str(error), Action.USAGE, in_json="--json" in words)
    try:
        code = _told(args) if args.help or args.version else _run(VERBS[args.verb], args)
        sys.stdout.flush()
    except UsageError as error:
        return complain("usage", str(error), Action.USAGE, in_json=args.json)
    except BrokenPipeError:  # the reader has seen enough: head(1)
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Query.TRUE
    except KeyboardInterrupt:
        if args.verb in _GOES_ON and not args.no_wait:
            print("arjectl: the manager goes on with it; arjectl events -f shows how", file=sys.stderr)
        return 130
    return int(code)


def as_called(program: str, words: list[str]) -> list[str]:
    """Return the words of a call under another name: /sbin/reboot, poweroff and halt may be links to arjectl.

    What else these programs take (``-p``, ``-d``, ``-n``, ``--no-wall``) means nothing here.
    """
    name = program.rpartition("/")[2]
    if name not in ("poweroff", "reboot", "halt"):
        return words
    verb = "poweroff" if name == "halt" and {"-p", "--poweroff"}.intersection(words) else name
    kept = [word for word in words if word in ("--help", "-h", "--no-wait", "--at-once")]
    return [verb, *(["--force"] if {"-f", "--force"}.intersection(words) else []), *kept]


def run() -> NoReturn:
    """Be the command: run one verb and end with its exit code, at once. Nothing of arjectl needs to be taken apart.

    That alone takes Python more than a millisecond.
    """
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    _exit(code)


def _told(args: Arguments) -> int:
    """Answer ``--help`` and ``--version``, which need no manager."""
    paper = Paper(sys.stdout, plain=args.plain)
    if args.version:
        from arje import __version__

        paper.line(f"arjectl {__version__}")
    else:
        from arje.ctl import usage

        text = usage.of_verb(args.help_of, paper.width) if args.help_of else usage.of_all(paper.width)
        paper.line(text if paper.rich else text.replace("…", "..."))
    return Query.TRUE


def _run(verb: Verb, args: Arguments) -> int:
    paper = Paper(sys.stdout, plain=args.plain, quiet=args.quiet)
    try:
        if verb.manager != "yes":  # it asks for one when it wants one
            return verb.load()(None, args, paper)  # type: ignore[arg-type] # such a verb takes no client
        try:
            client = Client(socket_of(args), args.timeout)
        except Unreachable:
            if not args.root or not verb.offline:
                raise
            return _offline(verb, args, paper)
        try:
            return verb.load()(client, args, paper)
        finally:
            client.close()
    except Unreachable as error:
        return complain("unreachable", str(error), Action.UNREACHABLE, in_json=args.json)
    except TimedOut:
        text = f"no answer in {args.timeout:g} s; the manager goes on with the request"
        return complain("timeout", text, Action.TIMED_OUT, in_json=args.json)
    except CallError as error:
        from arje.ctl import refusals

        text, code = refusals.told(verb, args, error)
        return complain(error.name, text, code, in_json=args.json)


def _offline(verb: Verb, args: Arguments, paper: Paper) -> int:
    """Do in a root what can be done there without its manager."""
    module, _, name = verb.offline.partition(":")
    return int(getattr(__import__(f"arje.ctl.{module}", fromlist=(name,)), name)(args, paper))


def socket_of(args: Arguments) -> str:
    """Return the socket of the manager that is meant."""
    if args.socket:
        return str(args.socket)
    if args.root:
        return f"{args.root}/run/arje/io.arje"
    from arje.ctl import places

    return places.default_socket(True if args.user else False if args.system else None)


def complain(name: str, text: str, code: int, *, in_json: bool) -> int:
    """Say what is wrong, on stderr and for programs as JSON on stdout; return the exit code."""
    from arje.ctl.words import escape

    if in_json:
        from arje.ctl import wire

        print(wire.write({"error": name, "message": text, "code": int(code)}))
    print(f"arjectl: {escape(text)}", file=sys.stderr)
    return int(code)
