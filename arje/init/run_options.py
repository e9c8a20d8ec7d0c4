"""The options of ``arje run`` that describe the sandbox: a row each, judged by the rules of a card.

Every option writes into a table as a card has it in TOML; what the loader then complains about is told under the name of
the option that said it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, NamedTuple

from arje.card.loader import card_of
from arje.card.soma import Soma
from arje.card.unreadable import Unreadable
from arje.errors import CardError, CardProblem
from arje.init import run_words as words

ORIGIN: Final = "arje run"


class Row(NamedTuple):
    """``flags`` with spaces between, the word for its value (empty: it takes none), the field below ``soma``.

    ``many``: each use adds to the field; ``read`` then gives one item, or a list of them.
    """

    flags: str
    word: str
    about: str
    field: str
    read: Callable[[str], Any] = words.text
    many: bool = False


_FILES: Final = (
    Row("--bind", "SRC[:DST]", "show a file or directory, writable", "binds", words.bind("rw"), True),
    Row("--ro-bind", "SRC[:DST]", "show it read-only", "binds", words.bind("ro"), True),
    Row("--bind-try", "SRC[:DST]", "as --bind, when it is there", "binds", words.bind("rw", optional=True), True),
    Row("--ro-bind-try", "SRC[:DST]", "as --ro-bind, when it is there", "binds", words.bind("ro", optional=True), True),
    Row("--tmpfs", "DIR[:SIZE]", "an empty file system; / is the root", "tmpfs", many=True),
    Row("--private-tmp", "", "a /tmp and a /var/tmp of its own", "private_tmp", words.yes),
    Row("--root", "DIR", "this directory is the root", "root", words.path),
    Row("--read-only-root", "", "nothing is written but to what is given here", "read_only_root", words.yes),
    Row(
        "--overlay",
        "LOWER[,WORD=…]",
        "an overlay, the root or (at=DIR) below it; upper=DIR,work=DIR or tmpfs=SIZE takes what is written",
        "overlay",
        words.overlay,
    ),
    Row("--proc", "", "a new /proc (with namespaces pid and mount it is there anyway)", "proc", words.yes),
    Row("--proc-hidepid", "WORD", "noaccess, invisible or ptraceable", "proc.hidepid"),
    Row("--proc-subset", "pid", "processes only", "proc.subset"),
    Row("--dev", "", "a minimal /dev", "dev", lambda _: "minimal"),
    Row("--sysfs", "", "a new, read-only /sys", "sysfs", words.yes),
    Row("--mqueue", "", "message queues of its own", "mqueue", words.yes),
    Row("--mask", "PATH", "it looks empty; kernel: the usual list", "masked_paths", many=True),
    Row("--read-only", "PATH", "nothing can be written to it", "read_only_paths", many=True),
    Row(
        "--protect-kernel-tunables",
        "",
        "/proc/sys, /sys and the like are read-only, the kernel's memory is hidden",
        "protect_kernel_tunables",
        words.yes,
    ),
    Row("--symlink", "TO:PATH", "a link, on a tmpfs or overlay of its own", "symlinks", words.symlink, True),
    Row("--file", "SRC:DST", "a copy of a file", "files", words.file, True),
)
_NETWORK: Final = (
    Row(
        "--net",
        "WORD",
        "none, loopback, host, pasta[:PORT,…] or veth:BRIDGE[,ADDRESS[,GATEWAY]]",
        "network",
        words.network,
    ),
)
_FILTERS: Final = (
    Row(
        "--seccomp", "LIST", "calls and @sets it may use; ~call: not; call:EPERM: answers so", "seccomp", words.seccomp
    ),
    Row("--seccomp-default", "ACTION", "what other calls get: kill, errno:EPERM, log or allow", "seccomp.default"),
    Row("--seccomp-log", "", "the kernel logs what is not let through", "seccomp.log", words.yes),
    Row("--landlock-ro", "PATH", "it may read below it, and elsewhere not", "landlock.read", words.dashed, True),
    Row("--landlock-rw", "PATH", "it may read and write below it", "landlock.read landlock.write", words.dashed, True),
    Row("--landlock-exec", "PATH", "it may execute below it", "landlock.execute", words.dashed, True),
    Row("--landlock-tcp-bind", "PORT,…", "ports to bind to, or none", "landlock.tcp_bind", words.numbers, True),
    Row(
        "--landlock-tcp-connect", "PORT,…", "ports to connect to, or none", "landlock.tcp_connect", words.numbers, True
    ),
    Row("--landlock-scope", "WORD", "abstract-unix-socket or signal", "landlock.scopes", words.listed, True),
)
_RIGHTS: Final = (
    Row("--cap", "LIST", "it has these capabilities, or none, or all", "capabilities.keep", words.capabilities),
    Row("--cap-bounding", "LIST", "it can never get others", "capabilities.bounding", words.capabilities),
    Row("--ambient", "LIST", "its programs inherit these", "capabilities.ambient", words.capabilities),
    Row("--no-new-privs", "", "execve gives no privileges", "no_new_privs", words.yes),
    Row("--run-as --user", "USER[:GROUP]", "its user", "run_as"),
    Row("--uid", "N", "its uid in a user namespace", "uid", words.number),
    Row("--gid", "N", "its gid in a user namespace", "gid", words.number),
    Row("--uid-map", "IN:OUT[:N]", "a line of the uid map", "uid_map", words.id_map, True),
    Row("--gid-map", "IN:OUT[:N]", "a line of the gid map", "gid_map", words.id_map, True),
    Row("--map-auto", "", "map the ids of /etc/subuid and /etc/subgid", "auto_map", words.yes),
)
_PROCESS: Final = (
    Row("--namespaces --unshare", "LIST", "mount,pid,… or all or minimal", "namespaces", words.kinds, True),
    Row("--hostname", "NAME", "in its uts namespace", "hostname"),
    Row("--chdir", "DIR", "working directory inside", "chdir"),
    Row("--umask", "MASK", "in octal", "umask"),
    Row("--new-session", "", "a session without this terminal, which it cannot type into", "new_session", words.yes),
    Row("--controlling-tty", "TTY", "the terminal of its own session", "controlling_tty"),
    Row("--die-with-parent", "", "end it when who started arje run ends", "parent_death_signal", lambda _: "KILL"),
)
_POLICY: Final = (
    Row("--strict", "", "refuse when anything that is asked for cannot be had", "strict_caps", words.yes),
    Row("--require", "FEATURE,…", "refuse when these cannot be had", "require", words.listed, True),
    Row("--prefer", "FEATURE,…", "live without these", "prefer", words.listed, True),
)
GROUPS: Final = {
    "namespaces and process": _PROCESS,
    "files": _FILES,
    "network": _NETWORK,
    "filters": _FILTERS,
    "user and rights": _RIGHTS,
    "policy": _POLICY,
}
#: Fields that bring a namespace with them. Without it they would be about the machine.
_BRINGS: Final = {
    "mount": {row.field.partition(".")[0] for row in _FILES},
    "uts": {"hostname"},
    "ipc": {"mqueue"},
    "user": {"uid", "gid", "uid_map", "gid_map", "auto_map"},
}


class _Ask(argparse.Action):
    """Keeps what was asked, in its order: binds and file systems lie upon each other."""

    def __init__(self, row: Row, **more: Any) -> None:
        super().__init__(nargs=None if row.word else 0, **more)
        self.row = row

    def __call__(self, parser: Any, options: Any, values: Any, option: str | None = None) -> None:
        options.asked.append((option, self.row, values if self.row.word else ""))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options, in groups."""
    parser.set_defaults(asked=[])
    for title, rows in GROUPS.items():
        group = parser.add_argument_group(title)
        for row in rows:
            flags, metavar = row.flags.split(), row.word or None
            group.add_argument(*flags, action=_Ask, row=row, dest="asked", metavar=metavar, help=row.about)


@dataclass(slots=True)
class Asked:
    """The table that the options make, and which option said what of it."""

    soma: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    problems: list[CardProblem] = field(default_factory=list)

    def named(self, place: str) -> str:
        """Return the options that said a field (``soma.binds.0.source``); the field itself when none did."""
        inner = place
        while inner:
            if inner in self.flags:
                return "/".join(dict.fromkeys(self.flags[inner]))
            inner = inner.rpartition(".")[0]
        return place

    def add(self, option: str, row: Row, word: str) -> None:
        """Take one option; a value that cannot be read is a problem that names it."""
        try:
            value = row.read(word)
        except Unreadable as error:
            self.problems.append(CardProblem(ORIGIN, 0, option, str(error), error.remedy))
            return
        for place in row.field.split():
            self._put(option, place.split("."), value, many=row.many)

    def _put(self, option: str, path: Sequence[str], value: Any, *, many: bool) -> None:
        *above, name = path
        table, place = self.soma, "soma"
        for part in above:
            place += f".{part}"
            if not isinstance(table.get(part), dict):  # --proc is less than what is said of it
                table[part] = {}
            self.flags.setdefault(place, []).append(option)
            table = table[part]
        place = f"{place}.{name}"
        self.flags.setdefault(place, []).append(option)
        if not many and not isinstance(value, dict):
            table[name] = value
        elif not many:  # of --seccomp: lists that grow
            if not isinstance(table.get(name), dict):
                table[name] = {}
            for inner, item in value.items():
                old = table[name].get(inner)
                both = [*old, *item] if isinstance(old, list) and isinstance(item, list) else item
                table[name][inner] = both
                self.flags.setdefault(f"{place}.{inner}", []).append(option)
        else:
            items = table.setdefault(name, [])
            for item in value if isinstance(value, list) else [value]:
                self.flags.setdefault(f"{place}.{len(items)}", []).append(option)
                items.append(item)


def soma_over(base: Soma, options: Sequence[tuple[str, Row, str]]) -> tuple[Soma, Asked]:
    """Return the soma of a card with what the options say over it. Lists of a card grow, everything else is replaced.

    Raises CardError, whose problems name the options.
    """
    asked = Asked()
    for option, row, word in options:
        for name in {place.partition(".")[0] for place in row.field.split() if "." in place or row.field == "seccomp"}:
            asked.soma.setdefault(name, _written(getattr(base, name)))
        asked.add(option, row, word)
    table = dict(asked.soma)
    given = {row.field.partition(".")[0] for _, row, _ in options}
    _rights(table, asked)
    _ids(table, base, asked)
    judged = _judged(table, asked)
    changes = {name: getattr(judged, name) for name in table}
    for name in ("binds", "tmpfs", "files", "symlinks", "masked_paths", "read_only_paths", "require", "prefer"):
        if name in changes:
            changes[name] = (*getattr(base, name), *changes[name])
    soma = replace(base, **changes)
    brought = {kind: True for kind, names in _BRINGS.items() if names & given}
    return replace(soma, namespaces=replace(soma.namespaces, **brought)), asked


def _written(part: Any) -> dict[str, Any]:
    """Return a table of the card with what is not the default in it, to be written over."""
    if not is_dataclass(part):
        return {}
    found = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if value != each.default or each.default is MISSING:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def _rights(table: dict[str, Any], asked: Asked) -> None:
    """``--cap`` bounds as well, as the list of a card does."""
    if "soma.capabilities.keep" in asked.flags and "soma.capabilities.bounding" not in asked.flags:
        kept = table["capabilities"]["keep"]
        table["capabilities"] = table["capabilities"] | ({"bounding": kept} if kept != "all" else {})


def _ids(table: dict[str, Any], base: Soma, asked: Asked) -> None:
    """``--uid`` is the id that ours has inside; where the options map others, it is the user inside."""
    ids: dict[str, Any] = {name: table.pop(name) for name in ("uid", "gid") if name in table}
    if not ids:
        return
    for name, flag in (("uid", "--uid"), ("gid", "--gid")):
        place = "user" if name == "uid" else "group"
        asked.flags.setdefault(f"soma.run_as.{place}", [flag])
        asked.flags.setdefault(f"soma.{name}_map", [flag])
    if "run_as" in table:
        problem = CardProblem(ORIGIN, 0, "/".join(f"--{name}" for name in ids), "--run-as names a user too", "keep one")
        asked.problems.append(problem)
    elif table.keys() & {"uid_map", "gid_map", "auto_map"} or base.uid_map or base.auto_map:
        table["run_as"] = {"user": ids.get("uid", 0), "group": ids.get("gid", 0), "groups": []}
    else:
        ours = {"uid": os.geteuid(), "gid": os.getegid()}
        for name, own in ours.items():
            table[f"{name}_map"] = [{"inside": ids.get(name, own), "outside": own}]


def _judged(table: dict[str, Any], asked: Asked) -> Soma:
    problems = list(asked.problems)
    try:
        soma = card_of({"label": "run", "soma": table}, ORIGIN).soma
    except CardError as error:
        problems += (replace(problem, field=asked.named(problem.field)) for problem in error.problems)
    if problems:
        raise CardError(tuple(dict.fromkeys(problems)))
    return soma
