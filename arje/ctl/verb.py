"""What a verb of arjectl is, as data: parsing, help, completions and man pages are made from it (verbs.py has them all)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Run = Callable[[Client, Arguments, Paper], int]

#: What a word on the command line may be; a completion knows where each comes from.
KINDS: Final = {
    "service": "a service, or a pattern of them such as web@*; all: every one",
    "template": "a template, with its @ at the end",
    "target": "a service without a process, which stands for those that it pulls in",
    "card": "a card file, or a directory of them",
    "service-or-card": "a service, or a card file",
    "topic": "one of the words that are listed",
    "limit": "a field of a card and what it is to be",
    "token": "what plan or rollback --list has told",
    "name": "a name that is not taken yet",
    "command": "a program and its arguments, all that follows",
    "file": "a file",
    "directory": "a directory",
    "socket": "a unix socket, or ssh:[user@]host[:socket]",
    "host": "a host that ssh knows",
    "signal": "a signal by name or number",
    "field": "a field of the answer",
    "number": "a whole number, from 0",
    "percent": "a whole number from 0 to 100",
    "seconds": "a length of time in seconds",
    "time": 'a moment: "10:00", "-5m", "2026-11-25 10:00", "yesterday", @EPOCH',
    "text": "any text",
    "choice": "one of the words that are listed",
    "flag": "nothing: it is there or not",
}

#: The groups in which help and man pages show the verbs.
GROUPS: Final = {
    "look": "Look at services",
    "run": "Run and stop them",
    "stick": "What sticks",
    "test": "Tests for scripts",
    "config": "Cards",
    "logs": "Logs and events",
    "boot": "Where the time went",
    "manager": "The manager itself",
    "machine": "The machine",
}


class Operand:
    """A word behind the verb. ``many``: empty for exactly one, ``?`` one or none, ``*`` any number, ``+`` at least one."""

    __slots__ = ("choices", "kind", "many", "name")

    def __init__(self, name: str, kind: str, many: str = "", choices: tuple[str, ...] = ()) -> None:
        self.name = name
        self.kind = kind
        self.many = many
        self.choices = choices

    def __str__(self) -> str:
        name = "|".join(self.choices) or self.name
        return {"": "{}", "?": "[{}]", "*": "[{}…]", "+": "{}…"}[self.many].format(name)


class Option:
    """An option: its names (``-f``, ``--follow``), help, and what its value is; ``kind`` flag has none.

    ``default`` is what it is without being given, ``dest`` the attribute that holds it (the last name when empty).
    """

    __slots__ = ("choices", "default", "dest", "help", "kind", "metavar", "names")

    def __init__(
        self,
        names: str,
        help: str,
        kind: str = "flag",
        metavar: str = "",
        *,
        choices: tuple[str, ...] = (),
        default: object = None,
        dest: str = "",
    ) -> None:
        self.names = tuple(names.split())
        self.help = help
        self.kind = kind
        self.metavar = metavar or "|".join(choices)
        self.choices = choices
        self.default = False if kind == "flag" else default
        self.dest = dest or self.names[-1].lstrip("-").replace("-", "_")

    def __str__(self) -> str:
        return ", ".join(self.names) + (f" {self.metavar}" if self.metavar else "")


class Verb:
    """A verb: which function runs it (``module:function`` below arje.ctl), its group, what it is for, what it takes.

    ``offline``: which function does it in a root where no manager runs, if it can be done there.

    ``aliases``: names that hands know from elsewhere. ``query``: it only looks. ``exits``: the codes (exitcodes.py) that it
    may end with beside those of every verb of its sort. ``manager``: yes, no, or maybe when it does without one.
    """

    __slots__ = ("aliases", "exits", "group", "help", "manager", "offline", "operands", "options", "query", "run")

    def __init__(
        self,
        run: str,
        group: str,
        help: str,
        *operands: Operand,
        aliases: str = "",
        options: tuple[Option, ...] = (),
        exits: tuple[int, ...] = (),
        query: bool = True,
        manager: str = "yes",
        offline: str = "",
    ) -> None:
        self.run = run
        self.group = group
        self.help = help
        self.operands = operands
        self.aliases = tuple(aliases.split())
        self.options = options
        self.exits = exits
        self.query = query
        self.manager = manager
        self.offline = offline

    @property
    def command(self) -> Operand | None:
        """The operand that takes all that is left, with its options; None when there is none."""
        return self.operands[-1] if self.operands and self.operands[-1].kind == "command" else None

    @property
    def codes(self) -> tuple[int, ...]:
        """Every exit code that it may end with, in order."""
        labels = any(operand.kind in ("service", "service-or-card", "target", "template") for operand in self.operands)
        sort = (0, 2, *((4,) if labels else ())) if self.query else (0, 1, 2, 4, *((5,) if labels else ()))
        reached = () if self.manager == "no" else (150, 152)
        return tuple(sorted({*sort, *reached, *self.exits}))

    def load(self) -> Run:
        """Import what runs it."""
        module, _, name = self.run.partition(":")
        found: Run = getattr(__import__(f"arje.ctl.{module}", fromlist=(name,)), name)
        return found
