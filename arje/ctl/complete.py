"""What may stand where the cursor is: the words that a shell shows at Tab, by the table of verbs and the manager's word.

Whatever goes wrong gives no words: a completion must never write over a command line or hold it. The manager is given
:data:`PATIENCE` to name its services.
"""

from __future__ import annotations

from arje.ctl.arguments import verb_first
from arje.ctl.everywhere import GLOBALS
from arje.ctl.valued import VALUED
from arje.ctl.verbs import NAMES, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

    from arje.ctl.verb import Operand, Option, Verb

    Words = Iterator[tuple[str, str]]

#: Seconds.
PATIENCE: Final = 0.5
#: What the shell itself has to add: files, directories, programs.
_BY_SHELL: Final = {
    "card": "files",
    "file": "files",
    "service-or-card": "files",
    "socket": "files",
    "directory": "directories",
    "command": "command",
}
#: Verb → which services it has something to do for, as the manager lists them. Any other verb: all.
_SENSIBLE: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "start": lambda service: not service["up"] and not service["masked"],
    "stop": lambda service: service["state"] not in ("stopped", "done", "failed"),
    "restart": lambda service: not service["masked"],
    "try-restart": lambda service: service["up"],
    "reload": lambda service: service["up"],
    "reload-or-restart": lambda service: service["up"],
    "trigger": lambda service: service["timer"],
    "kill": lambda service: service["pid"],
    "freeze": lambda service: service["pid"] and not service["frozen"],
    "thaw": lambda service: service["frozen"],
    "set": lambda service: service["pid"],
    "heal": lambda service: service["isolation"]["degradations"],
    "degradations": lambda service: service["isolation"]["degradations"],
    "harden": lambda service: service["pid"],
    "shell": lambda service: service["pid"],
    "ps": lambda service: service["pid"],
    "timers": lambda service: service["timer"],
    "enable": lambda service: not service["enabled"],
    "disable": lambda service: service["enabled"],
    "mask": lambda service: not service["masked"],
    "unmask": lambda service: service["masked"],
    "pin": lambda service: not service["pinned"],
    "unpin": lambda service: service["pinned"],
    "reset-failed": lambda service: service["state"] == "failed",
}
#: What `arjectl set` can change (arje/card/live.py); tests hold the two together.
LIMITS: Final = (
    *("as", "core", "cpu", "cpu_affinity", "cpu_idle", "cpu_max", "cpu_weight", "cpuset", "cpuset_mems", "data"),
    *("fsize", "io_max", "io_weight", "ioprio", "locks", "memlock", "memory_high", "memory_low", "memory_max"),
    *("memory_min", "memory_oom_group", "memory_swap_max", "msgqueue", "nice", "nofile", "nproc", "oom_score_adj"),
    *("pids_max", "rss", "rtprio", "rttime", "scheduler", "sigpending", "stack"),
)


def answer(words: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Return what the shell is to add (files, directories, command or nothing), and the words with what each means.

    ``words`` are those after ``arjectl`` up to the cursor; the last is the one that is being written, perhaps empty.
    """
    *before, current = words or [""]
    ordered = verb_first(before) if before else []
    verb, place = _verb(ordered)
    by_shell, found = "", list[tuple[str, str]]()
    option = _open_option(before, verb)
    name, equals, start = current.partition("=")
    if option:
        by_shell, found = _of_kind(option, before, current, verb)
    elif current.startswith("--") and equals and (option := _named(name, verb)):
        by_shell, words_ = _of_kind(option, before, start, verb)
        found = [(f"{name}={word}", about) for word, about in words_]
    elif current.startswith("-") and "--" not in before:
        found = list(_options(verb, set(before)))
    elif verb is None:
        found = list(_first(before, current))
    else:
        operand, used = _operand(verb, ordered, place)
        if operand is not None:
            by_shell, found = _of_kind(operand, before, current, verb, used)
    return by_shell, [(word, about) for word, about in found if word.startswith(current)]


def _plain(words: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the words that are neither options nor their values, with their places."""
    value = False
    for place, word in enumerate(words):
        if not value and (not word.startswith("-") or word == "-"):
            yield place, word
        value = not value and word in VALUED


def _verb(words: list[str]) -> tuple[Verb | None, int]:
    """Return the verb that is already there, and its place."""
    place, word = next(_plain(words), (len(words), ""))
    return (VERBS[NAMES[word]], place) if word in NAMES else (None, len(words))


def _known(verb: Verb | None) -> dict[str, Option]:
    return {name: option for option in (*GLOBALS, *(verb.options if verb else ())) for name in option.names}


def _named(name: str, verb: Verb | None) -> Option | None:
    option = _known(verb).get(name)
    return option if option and option.kind != "flag" else None


def _open_option(before: list[str], verb: Verb | None) -> Option | None:
    """Return the option whose value is being written."""
    return _named(before[-1], verb) if before and "--" not in before else None


def _options(verb: Verb | None, used: set[str]) -> Words:
    for option in (*(verb.options if verb else ()), *GLOBALS):
        if not used.intersection(option.names):
            for name in option.names:
                yield name, option.help


def _first(before: list[str], current: str) -> Words:
    """Yield verbs; once a letter is there, also the names that hands know, and services: the verb may come after them."""
    services = any(_plain(before))
    for name, verb in VERBS.items():
        if not services or (verb.operands and verb.operands[0].kind == "service"):
            yield name, verb.help
    if current and not services:
        for name, verb in VERBS.items():
            for alias in verb.aliases:
                yield alias, f"as {name}"
        yield from ((service["label"], service["description"]) for service in _services(before))


def _operand(verb: Verb, words: list[str], place: int) -> tuple[Operand | None, list[str]]:
    """Return the operand that is being written, and the words that stand for operands already."""
    used = [word for _, word in _plain(words[place + 1 :])]
    if verb.command and used and len(used) >= len(verb.operands) - 1:
        return verb.command, used
    for operand in verb.operands[len(used) :]:
        if operand.name != "NAME" or operand.kind != "name":
            return operand, used
    last = verb.operands[-1] if verb.operands else None
    return (last if last and last.many in ("*", "+") else None), used


def _of_kind(
    what: Operand | Option, before: list[str], current: str, verb: Verb | None, used: list[str] | None = None
) -> tuple[str, list[tuple[str, str]]]:
    """Return what the shell is to add, and the words of an operand's or option's kind."""
    by_shell = _BY_SHELL.get(what.kind, "")
    found: list[tuple[str, str]] = [(word, "") for word in what.choices]
    if what.kind in ("service", "service-or-card", "target"):
        found += _labels(what.kind, before, verb, set(used or ()))
    elif what.kind == "template":
        found += [(name, "template") for name in _ask(before, "GetManager").get("manager", {}).get("templates", [])]
    elif what.kind == "token":
        found += [(each["token"], each["why"]) for each in _ask(before, "Sets").get("sets", [])]
    elif what.kind == "signal":
        from signal import Signals

        found += [(each.name.removeprefix("SIG"), "") for each in Signals if not each.name.startswith("SIGRT")]
    elif what.kind == "field":
        services = _ask(before, "List", labels=None, full=True).get("services", [])
        found += [(name, "") for name in (services[0] if services else ())]
    elif what.kind == "limit":
        found += [(f"{name}=", "") for name in LIMITS]
    return by_shell, found


def _labels(kind: str, before: list[str], verb: Verb | None, used: set[str]) -> Words:
    name = next((name for name, each in VERBS.items() if each is verb), "")
    fits = _SENSIBLE.get(name, bool)
    for service in sorted(_services(before, full=kind == "target"), key=lambda service: str(service["label"])):
        target = kind != "target" or service.get("payload") == "virtual"
        if fits(service) and target and service["label"] not in used:
            yield service["label"], f"{service['state']}  {service['description']}".strip()


def _services(before: list[str], *, full: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _ask(before, "List", labels=None, full=full).get("services", [])
    return found


def _ask(before: list[str], method: str, **parameters: Any) -> dict[str, Any]:
    """Ask the manager that the words mean; nothing when it does not answer in time, or is on another host."""
    from arje import paths
    from arje.ctl.client import CallError, Client, TimedOut, Unreachable

    path = ""
    for place, word in enumerate(before):
        if word.startswith("--socket="):
            path = word.partition("=")[2]
        elif word == "--socket" and place + 1 < len(before):
            path = before[place + 1]
        elif word == "--host" or word.startswith(("-H", "--host=")):
            return {}
    user = True if "--user" in before else False if "--system" in before else None
    try:
        client = Client(path or paths.default_socket(user=user), PATIENCE)
        try:
            return client.call(method, **parameters)
        finally:
            client.close()
    except (CallError, TimedOut, Unreachable):
        return {}
