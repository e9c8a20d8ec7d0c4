"""What ``--help`` shows, of all verbs and of one: made from the table of verbs."""

from __future__ import annotations

from arje.ctl.everywhere import GLOBALS
from arje.ctl.verb import GROUPS, KINDS
from arje.ctl.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arje.ctl.verb import Option


def of_all(width: int | None = None) -> str:
    """Return every verb in its group, and the options that all of them take; ``width`` is the terminal's."""
    return _wrapped(_all(), width)


def _all() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: arjectl [options] [VERB [operands]]", "       arjectl SERVICE… VERB", ""]
    lines += ["Look at services and change them. Without a verb: status."]
    for group, title in GROUPS.items():
        verbs = [(name, verb) for name, verb in VERBS.items() if verb.group == group]
        if verbs:
            lines += ["", f"{title}:"]
        for name, verb in verbs:
            aliases = f" (also: {', '.join(verb.aliases)})" if verb.aliases else ""
            lines.append(f"  {name:<{width}}  {verb.help}{aliases}")
    lines += ["", "Options of every verb (arjectl VERB --help tells its own):", *_options(GLOBALS)]
    return "\n".join(lines)


def of_verb(name: str, width: int | None = None) -> str:
    """Return how a verb is written, what it takes, and how it ends; ``width`` is the terminal's."""
    return _wrapped(_verb(name), width)


def _verb(name: str) -> str:
    from arje.ctl.exitcodes import meaning

    verb = VERBS[name]
    words = " ".join(["arjectl", name, *(["[options]"] if verb.options else []), *map(str, verb.operands)])
    lines = [f"usage: {words}", "", f"{verb.help[:1].upper()}{verb.help[1:]}."]
    if verb.aliases:
        lines.append(f"Also: {', '.join(verb.aliases)}.")
    if verb.operands:
        named = {operand.name: operand for operand in verb.operands}
        width = max(map(len, named))
        lines += ["", *(f"  {each:<{width}}  {KINDS[operand.kind]}" for each, operand in named.items())]
    if verb.options:
        lines += ["", "Options:", *_options(verb.options)]
    lines += ["", "Options of every verb:", *_options(GLOBALS)]
    lines += ["", "Exit codes:", *(f"  {code:>3}  {meaning(code, query=verb.query)}" for code in verb.codes)]
    return "\n".join(lines)


def _options(options: Iterable[Option]) -> Iterator[str]:
    known = list(options)
    width = max(len(str(option)) for option in known)
    for option in known:
        yield f"  {option!s:<{width}}  {option.help}"


def _wrapped(text: str, width: int | None) -> str:
    """Break lines that are longer than a terminal, below where their last column begins."""
    if width is None or width < 40:
        return text
    lines: list[str] = []
    for line in text.splitlines():
        start = line.rfind("  ") + 2 if line.startswith(" ") else 0
        while len(line) > width and (place := line.rfind(" ", start + 1, width + 1)) > start:
            lines.append(line[:place])
            line = " " * start + line[place + 1 :]
        lines.append(line)
    return "\n".join(lines)
