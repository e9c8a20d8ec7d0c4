"""A command line to a verb and its options, by the table of verbs. The verb may stand after the services.

Options may stand anywhere before a ``--``, also between the services (``arjectl logs web -n 3 db -f``).
"""

from __future__ import annotations

from arje.ctl.everywhere import GLOBALS
from arje.ctl.valued import VALUED
from arje.ctl.verbs import NAMES, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from arje.ctl.verb import Operand, Option, Verb

_MOST: Final = 10**6


class UsageError(Exception):
    """The command line is wrong; the text says how."""


class Arguments:
    """What a command line says: ``verb``, ``labels`` (its operands), ``command``, and an attribute for each option.

    An option that a verb does not take is False.
    """

    strict = force = now = no_wait = dry_run = False

    def __init__(self, verb: str, options: dict[str, Option]) -> None:
        self.verb = verb
        self.labels: list[str] = []
        self.command: list[str] = []
        for option in options.values():
            setattr(self, option.dest, option.default)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def parse(words: list[str]) -> Arguments:
    """Return what a command line says; ``verb`` is the verb's own name. Raises UsageError."""
    words = verb_first(words)
    place, named = next(_operands(words), (len(words), None))
    if named is not None and named not in NAMES:
        if {"-h", "--help"}.intersection(words):
            named, words = None, ["--help"]
        else:
            raise UsageError(_unknown(named))
    name = NAMES[named or "status"]
    verb = VERBS[name]
    options = {each: option for option in (*GLOBALS, *verb.options) for each in option.names}
    args = Arguments(name, options)
    args.help_of = name if named else ""
    try:
        _read([*words[:place], *words[place + 1 :]], verb, options, args)
        if not args.help and not args.version:
            _count(verb, args)
        if args.user and args.system:
            raise UsageError("--user or --system, not both")
    except UsageError as error:
        raise UsageError(f"{error} (arjectl {name} --help)") from None
    if named == "monitor":  # hands know it as one that goes on
        args.follow = True
    return args


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


def _operands(words: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the words that are neither options nor the values of options, with their places."""
    value = False
    for place, word in enumerate(words):
        if word == "--":
            yield from enumerate(words[place + 1 :], place + 1)
            return
        if not value and (not word.startswith("-") or word == "-"):
            yield place, word
        value = not value and word in VALUED


def _unknown(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, NAMES, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? Or, of a service: " if near else "of a service: "
    return f"no verb {word!r}; {meant}arjectl status {word} (arjectl --help lists the verbs)"


def _read(words: list[str], verb: Verb, options: dict[str, Option], args: Arguments) -> None:
    """Sort the words into options, operands and a command. Raises UsageError."""
    command = verb.command
    before = sum(operand.many == "" for operand in verb.operands) if command else 0
    rest = iter(words)
    for word in rest:
        if word == "--":
            (args.command if command else args.labels).extend(rest)
        elif word.startswith("-") and word != "-":
            _option(word, rest, options, args)
        elif command and len(args.labels) == before and "--" not in words:
            args.command = [word, *rest]
        else:
            args.labels.append(word)


def _option(word: str, rest: Iterator[str], options: dict[str, Option], args: Arguments) -> None:
    """Take one option with its value, or several short ones in a word (``-fn5``). Raises UsageError."""
    name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
    option = options.get(name)
    if option is None:
        raise UsageError(_strange(name, options))
    if option.kind == "flag":
        if equals:
            raise UsageError(f"{name} takes no value")
        setattr(args, option.dest, True)
        if value:
            _option(f"-{value}", rest, options, args)
        return
    if not equals and not value:
        taken = next(rest, None)
        if taken is None:
            raise UsageError(f"{name}: its value is missing: {option}")
        value = taken
    setattr(args, option.dest, _value(name, value, option))


def _strange(name: str, options: dict[str, Option]) -> str:
    import difflib

    near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    return f"no option {name}" + (f"; did you mean {near[0]}?" if near else "")


def _value(name: str, text: str, option: Option) -> object:
    """Return the value that a word stands for. Raises UsageError."""
    if option.choices and text not in option.choices:
        raise UsageError(f"{name}: {text!r} is none of {', '.join(option.choices)}")
    if option.kind in ("number", "percent"):
        most = 100 if option.kind == "percent" else _MOST
        if not (text.isascii() and text.isdecimal() and int(text[:9]) <= most):
            raise UsageError(f"{name}: {text!r} is no number from 0 to {most}")
        return int(text)
    if option.kind == "seconds":
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= _MOST:
            raise UsageError(f"{name}: {text!r} is no number of seconds")
        return number
    return text


def _count(verb: Verb, args: Arguments) -> None:
    """Check how many operands there are, and those that are one of some words. Raises UsageError."""
    operands = [operand for operand in verb.operands if operand.kind != "command"]
    least = sum(operand.many in ("", "+") for operand in operands)
    endless = any(operand.many in ("*", "+") for operand in operands)
    if len(args.labels) < least:
        missing = operands[len(args.labels)] if len(args.labels) < len(operands) else operands[-1]
        raise UsageError(f"{_what(missing)} is missing")
    if len(args.labels) > len(operands) and not endless:
        raise UsageError(f"{args.labels[len(operands)]!r}: one word too many")
    for word, operand in zip(args.labels, operands, strict=False):
        if operand.choices and word not in operand.choices:
            raise UsageError(f"{word!r} is none of {', '.join(operand.choices)}")


def _what(operand: Operand) -> str:
    return f"one of {', '.join(operand.choices)}" if operand.choices else operand.name
