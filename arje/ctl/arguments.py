"""A command line to a verb and its options. The verb may stand after the services (``arjectl web restart``)."""

from __future__ import annotations

import argparse

from arje.ctl.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, NoReturn

#: Every name of a verb to the verb's own.
NAMES: Final = {alias: name for name, verb in VERBS.items() for alias in (name, *verb.aliases)}
_TIMES: Final = ("--since", "--until")
_TAKES_VALUE: Final = (
    *("--socket", "--timeout", "--lines", "-n", "--on", "--for", "--slack", "--stay", "-s", "--signal", "--whom"),
    *("--stream", "--grep", "-o", "--output", "--label", "--card", "--confirm", *_TIMES),
)


class UsageError(Exception):
    """The command line is wrong; the text says how."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints can be told in JSON as well."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message} ({self.prog} --help)")


def parse(words: list[str]) -> argparse.Namespace:
    """Return the options; ``verb`` is the verb's own name. Raises UsageError, SystemExit for ``--help``."""
    words = verb_first(list(_with_times(words)))
    place, named = next(iter(_operands(words)), (len(words), None))
    if named is not None and named not in NAMES:
        raise UsageError(_unknown(named))
    command: list[str] = []
    if named == "run":
        words, command = _command(words, place)
    parser = _parser(NAMES[named] if named else None)
    # Intermixed: options may stand between the services.
    args: argparse.Namespace = parser.parse_intermixed_args(words[:place] + words[place + 1 :])
    args.verb = NAMES[named or "status"]
    args.command = command
    if named == "monitor":  # hands know it as one that goes on
        args.follow = True
    labels = getattr(args, "labels", None) or []
    args.labels = [labels] if isinstance(labels, str) else labels  # a string is one operand: nargs="?"
    return args


def _with_times(words: list[str]) -> Iterator[str]:
    """Yield the words, a time that begins with a minus (``--since -5m``) in one with its option: it is none itself."""
    rest = iter(words)
    for word in rest:
        if word in _TIMES and (value := next(rest, None)) is not None:
            yield f"{word}={value}"
        else:
            yield word


def verb_first(words: list[str]) -> list[str]:
    """Return the words with the verb before the services, when a verb stands there only after them."""
    places = list(_operands(words))
    if not places or places[0][1] in NAMES:
        return words
    for place, word in places:
        if word in NAMES:
            first = places[0][0]
            return [*words[:first], word, *words[first:place], *words[place + 1 :]]
    return words


def _command(words: list[str], place: int) -> tuple[list[str], list[str]]:
    """Return the words of arjectl, and those of the command that it is to run: all from ``--`` or the first operand on."""
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    for at, _ in _operands(words):
        if at > place:
            return words[:at], words[at:]
    return words, []


def _operands(words: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the words that are neither options nor the values of options, with their places."""
    value = False
    for place, word in enumerate(words):
        if word == "--":
            yield from enumerate(words[place + 1 :], place + 1)
            return
        if not value and (not word.startswith("-") or word == "-"):
            yield place, word
        value = not value and word in _TAKES_VALUE


def _unknown(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, NAMES, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? Or, of a service: " if near else "of a service: "
    return f"no verb {word!r}; {meant}arjectl status {word} (arjectl --help lists the verbs)"


def _parser(chosen: str | None) -> Parser:
    """Return the parser of one verb, or the one that knows them all for ``--help``; building all takes its time."""
    common = Parser(add_help=False, allow_abbrev=False)
    where = common.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="talk to the user's own manager")
    where.add_argument("--system", action="store_true", help="talk to the system's manager")
    where.add_argument("--socket", metavar="PATH", help="talk to the manager on this socket")
    common.add_argument("--json", action="store_true", help="answer in JSON; logs: one object per line")
    common.add_argument("--plain", action="store_true", help="no glyphs, no colours")
    common.add_argument("--timeout", type=float, metavar="SEC", help="wait this long for the manager (exit 152)")
    common.set_defaults(strict=False, force=False)
    if chosen is None:
        width = max(map(len, VERBS))
        verbs = "\n".join(f"  {name:<{width}}  {_help(name)}" for name in VERBS)
        return Parser(
            prog="arjectl",
            usage="arjectl [options] [VERB [operands]]",
            description="Look at services and change them. Without a verb: status.",
            epilog=f"verbs (arjectl VERB --help tells more):\n{verbs}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
            allow_abbrev=False,
        )
    verb = VERBS[chosen]
    form = {"": "", "1": " {}", "?": " [{}]", "*": " [{} ...]", "+": " {} ..."}[verb.operands]
    made = Parser(
        prog=f"arjectl {chosen}",
        usage=f"arjectl {chosen} [options]{form.format(verb.operand)}",  # to have it made costs an import
        description=f"{_help(chosen).capitalize()}.",
        parents=[common],
        allow_abbrev=False,
    )
    if verb.operands:
        nargs = None if verb.operands == "1" else verb.operands
        made.add_argument("labels", nargs=nargs, metavar=verb.operand, default=[])
    if chosen == "logs":
        _log_options(made)
    if chosen == "events":
        made.add_argument("-f", "--follow", action="store_true", help="show new ones as they come")
        made.add_argument("-n", "--lines", type=_lines, metavar="N", help="so many (100; with --since: all)")
        made.add_argument("--since", metavar="TIME", help='not before: "10:00", "-5m", "2026-11-25 10:00", @EPOCH')
    if chosen == "deps":
        made.add_argument("--reverse", action="store_true", help="what depends on it")
    if chosen == "plan":
        made.add_argument("--on", metavar="FILE", help="on the host whose saved report (arjectl doctor --json) this is")
    if chosen == "wait":
        goals = ("ready", "running", "stopped", "done", "failed")
        made.add_argument("--for", dest="goal", choices=goals, help="wait for this state, whoever brings it about")
    if chosen == "apply":
        made.add_argument(
            "--confirm", type=_seconds, metavar="SEC", help="go back if what it touches is not ready by then"
        )
    if chosen == "rollback":
        made.add_argument("--list", action="store_true", help="the sets that can be gone back to")
    if chosen == "kill":
        made.add_argument("-s", "--signal", default="TERM", metavar="SIG", help="by name or number (TERM)")
        made.add_argument("--whom", choices=("main", "all"), default="main", help="whose processes (main)")
    if chosen == "stop":
        made.add_argument("--force", action="store_true", help="stop what needs them first")
    if chosen == "harden":
        made.add_argument("--for", dest="seconds", type=_seconds, metavar="SEC", help="watch so long (until Ctrl-C)")
        made.add_argument("--slack", type=_percent, default=0, metavar="PERCENT", help="unseen calls of a set (0)")
        made.add_argument("--try", dest="attempt", action="store_true", help="run it so; go back when that fails")
        made.add_argument("--stay", type=_seconds, default=5.0, metavar="SEC", help="with --try: watch so long (5)")
        made.add_argument("--write", action="store_true", help="with --try: keep the card when it has passed")
    if chosen in ("enable", "disable", "mask"):
        what = "start" if chosen == "enable" else "stop"
        made.add_argument("--now", action="store_true", help=f"{what} them as well")
    if chosen == "run":
        made.add_argument("--label", metavar="NAME", default="", help="what it is called (run-1, run-2, …)")
        made.add_argument("--card", metavar="FILE", help="a card that the command is put into")
        made.add_argument("--wait", action="store_true", help="show what it writes, and end with its exit status")
        made.add_argument("--remain", action="store_true", help="keep its card until the next boot")
    if chosen.startswith("is-"):
        made.add_argument("--quiet", "-q", action="store_true", help="say nothing, only exit")
    if verb.strict:
        made.add_argument("--strict", action="store_true", help="degraded is an error (exit 154)")
    return made


def _log_options(made: Parser) -> None:
    made.add_argument("-f", "--follow", action="store_true", help="show new lines as they come")
    made.add_argument("-n", "--lines", type=_lines, metavar="N", help="lines per service (100; with --since: all)")
    made.add_argument("--since", metavar="TIME", help='not before: "10:00", "-5m", "2026-11-25 10:00", @EPOCH')
    made.add_argument("--until", metavar="TIME", help="not after")
    made.add_argument("--life", action="store_true", help="only of the current or latest life of each service")
    made.add_argument("--stream", choices=("stdout", "stderr"), help="only of this stream")
    made.add_argument("--grep", metavar="TEXT", help="only lines with this text in them")
    forms = ("short", "json", "cat", "with-time-zone")
    made.add_argument("-o", "--output", choices=forms, default="short", metavar="FORM", help=", ".join(forms))


def _help(name: str) -> str:
    verb = VERBS[name]
    return verb.help + (f" (also: {', '.join(verb.aliases)})" if verb.aliases else "")


def _percent(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1_000_000:
        raise ValueError
    return number


def _lines(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10**6:
        raise ValueError
    return number
