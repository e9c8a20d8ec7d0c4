"""A run script to what a card says: taken apart where all of it is plain, else run as it is, which loses nothing.

Plain is a script that sets variables, its directory, mask and limits, makes directories, asks for other services, and then
becomes the daemon. Each such line has its place in a card, and there arje can tell what became of it.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from arje.imports import chain, execline, shell
from arje.imports.chain import NotOurs
from arje.imports.draft import Draft, Place, wrong
from arje.imports.shell import Broken, Dynamic, Statement

_MERGED: Final = re.compile(r"exec\s+(2>&1|1?>&2)(\s*<\s*/dev/null)?(\s+1>&2)?")
_HUSHED: Final = re.compile(r"exec\s+(0?<\s*/dev/null|2>\s*/dev/null)")
_SOURCED: Final = re.compile(
    r"(?:(?:\[|test)\s+-[efrs]\s+\"?(?P<test>/[^\s\"]+)\"?\s*\]?\s*&&\s*)?(?:\.|source)\s+\"?(?P<file>/[^\s\"]+)\"?"
)
_NEEDED: Final = re.compile(r"(?:\[|test)\s+-([defrsxd])\s+\"?([^\s\"$]+)\"?\s*\]?\s*\|\|\s*exit(?:\s+\d+)?")
_STARTED: Final = re.compile(r"sv\s+(?:-[vw]\s*\d*\s+)*(start|check|up)\s+([^|&;]+?)(?:\s*\|\|\s*(true|:|exit.*))?")
_MOVED: Final = re.compile(r"cd\s+(.+?)(?:\s*\|\|\s*exit(?:\s+\d+)?)?", re.DOTALL)
_ULIMIT: Final = re.compile(r"ulimit\s+(?:-[SH]\s+)?-([SH]?)([cdflmnstuvx])\s+(\S+)(?:\s*\|\|\s*(?:true|:))?")
_ULIMITS: Final = {
    "c": "core",
    "d": "data",
    "f": "fsize",
    "l": "memlock",
    "m": "rss",
    "n": "nofile",
    "s": "stack",
    "t": "cpu",
    "u": "nproc",
    "v": "as",
    "x": "locks",
}
_THOUSANDS: Final = frozenset("dflmsv")  # in units of 1024 bytes (sh(1), ulimit)
_PREPARES: Final = ("mkdir", "chown", "chmod", "install", "touch", "rm", "ln", "modprobe", "checkpath")
_HANDS: Final = re.compile(
    r"^[^#\n]*\b(sv|s6-svc|s6-svwait|s6-rc|svc|rc-service|supervisorctl|dinitctl)\s", re.MULTILINE
)
_CONDITIONS: Final = {"d": "directory", "x": "executable", "s": "file_not_empty"}


def take_over(draft: Draft, file: Path, text: str, directory: Path, *, apart: bool = False) -> None:
    """Let a draft run what a script runs. ``apart``: where its stderr goes matters, as a logger reads it.

    Raises CardError when it is no script.
    """
    before = copy.deepcopy((draft.fields, draft.places, draft.notes, draft.findings))
    draft.default("soma.chdir", str(directory))
    try:
        if execline.is_execline(text):
            execline.take_apart(draft, file, text)
        elif _is_shell(text):
            _take_apart(draft, file, text, apart=apart)
        else:
            raise Dynamic(f"it is written for {text.splitlines()[0][2:].strip()}" if text else "it is empty", 1)
    except Broken as error:
        raise wrong(Place(str(file), error.line), str(error), "mend the script") from error
    except (Dynamic, NotOurs) as error:
        draft.fields, draft.places, draft.notes, draft.findings = before
        _as_it_is(draft, file, text, directory, error)


def _is_shell(text: str) -> bool:
    first = text.partition("\n")[0]
    words = first.removeprefix("#!").split()
    names = [PurePosixPath(word).name for word in words[:2]]
    return not first.startswith("#!") or any(name in ("sh", "bash", "dash", "ash", "invoke-run") for name in names)


def _as_it_is(draft: Draft, file: Path, text: str, directory: Path, why: Dynamic | NotOurs) -> None:
    line = why.line if isinstance(why, Dynamic) else 0
    place = Place(str(file), line)
    draft.kept(Place(str(file)), f"the script {file.name}", "payload.exec", str(file))
    draft.note("payload.exec", f"the script itself is run: {place.short} has {why}")
    draft.kept(Place(str(file)), "its directory", "soma.chdir", str(directory))
    if not text.startswith("#!"):
        draft.fields["payload.exec"] = "/bin/sh"
        draft.fields["payload.argv"] = [str(file)]
    elif not os.access(file, os.X_OK):
        draft.near(Place(str(file)), "its mode", "it may not be executed: chmod +x")
    for found in _HANDS.finditer(text):
        at = Place(str(file), text.count("\n", 0, found.start(1)) + 1)
        draft.near(at, f"a call of {found[1]}", "it asks another supervisor, which knows nothing of arje: take it out")


def _take_apart(draft: Draft, file: Path, text: str, *, apart: bool) -> None:
    reader = _Reader(draft, file, apart=apart)
    if "invoke-run" in text.partition("\n")[0]:  # it reads the package's defaults and exports them (invoke-run(5))
        where = f"-/etc/default/{Path(file).parent.name}"
        why = "its lines are read as NAME=VALUE, not as shell"
        draft.add(Place(str(file), 1), "invoke-run", "payload.env_file", [where], why)
    rest = shell.statements(text)
    while rest:
        statement = rest.pop(0)
        if statement.text == "if [ -e /etc/runit/verbose ]":
            while rest and rest.pop(0).text != "fi":
                pass
        elif reader.take(statement):
            return
    raise Dynamic("no exec of a daemon", 0)


class _Reader:
    """Statement after statement of a plain script into a draft."""

    def __init__(self, draft: Draft, file: Path, *, apart: bool) -> None:
        self._draft = draft
        self._file = file
        self._apart = apart
        self._variables: dict[str, str] = {}
        self._exported: set[str] = set()

    def take(self, statement: Statement) -> bool:
        """Take one over; return whether it was the last, the daemon itself. Raises Dynamic, NotOurs."""
        place = Place(str(self._file), statement.line)
        if statement.name:
            raise Dynamic(f"the function {statement.name}", statement.line)
        if assigned := shell.assignment(statement):
            self._assign(statement, place, *assigned)
            return False
        for pattern, act in self._LINES:
            if found := pattern.fullmatch(statement.text):
                act(self, place, found)
                return False
        return self._command(statement, place)

    def _assign(self, statement: Statement, place: Place, name: str, written: str, more: bool) -> None:
        value = shell.value(written, self._variables, statement.line)
        self._variables[name] = self._variables.get(name, "") + value if more else value
        if statement.text.startswith("export") or name in self._exported:
            self._draft.merge(place, f"export {name}", "payload.env", {name: self._variables[name]})

    def _command(self, statement: Statement, place: Place) -> bool:
        words = shell.words(statement.text, self._variables, statement.line)
        match words:
            case ["exec", _, *_]:
                chain.program(self._draft, place, chain.unchain(self._draft, place, words[1:]), self._base)
                return True
            case ["set", *_] | ["trap", "-", *_]:
                self._draft.kept(place, " ".join(words))
            case ["echo" | "printf" | "logger", *_]:
                self._draft.lost(place, statement.text, "what it says before it starts; arje tells its starts itself")
            case ["export", *names] if all(name in self._variables for name in names):
                self._exported |= set(names)
                for name in names:
                    self._draft.merge(place, f"export {name}", "payload.env", {name: self._variables[name]})
            case ["umask", mask]:
                self._draft.kept(place, statement.text, "soma.umask", mask)
            case [name, *rest] if name in _PREPARES and all(not word or word[0] in "/-" for word in rest[-1:]):
                before = self._draft.fields.get("hooks.pre", [])
                hook = {"exec": name, "argv": rest, "privileged": True}
                self._draft.kept(place, statement.text, "hooks.pre", [*before, hook])
            case _:
                raise Dynamic(statement.text.partition("\n")[0][:60], statement.line)
        return False

    @property
    def _base(self) -> str:
        return str(self._draft.fields.get("soma.chdir", ""))

    def _merged(self, place: Place, found: re.Match[str]) -> None:
        if self._apart:
            raise Dynamic("stderr led to where stdout goes, to its logger", place.line)
        self._draft.kept(place, found[0], "soma.stdio.stderr", "log")

    def _hushed(self, place: Place, found: re.Match[str]) -> None:
        stream = "stderr" if found[1].startswith("2") else "stdin"
        self._draft.kept(place, found[0], f"soma.stdio.{stream}", "null")

    def _sourced(self, place: Place, found: re.Match[str]) -> None:
        path = f"-{found['file']}" if found["test"] else found["file"]
        why = "its lines are read as NAME=VALUE, not as shell"
        self._draft.add(place, found[0], "payload.env_file", [path], why)

    def _needed(self, place: Place, found: re.Match[str]) -> None:
        field = f"conditions.{_CONDITIONS.get(found[1], 'path_exists')}"
        if not found[2].startswith("/"):
            raise Dynamic(found[0], place.line)
        why = "it is skipped while it is not so; runit would try again and again"
        self._draft.add(place, found[0], field, [found[2]], why)

    def _started(self, place: Place, found: re.Match[str]) -> None:
        names = found[2].split()
        hard = (found[3] or "").startswith("exit") or found[1] == "check"
        self._draft.add(place, found[0], "requires" if hard else "wants", [PurePosixPath(name).name for name in names])

    def _moved(self, place: Place, found: re.Match[str]) -> None:
        directory = shell.value(found[1], self._variables, place.line)
        self._draft.kept(place, found[0], "soma.chdir", str(PurePosixPath(self._base, directory)))

    def _limited(self, place: Place, found: re.Match[str]) -> None:
        amount = shell.value(found[3], self._variables, place.line)
        if amount.isdecimal() and found[2] in _THOUSANDS:
            amount = str(int(amount) * 1024)
        chain.limit(self._draft, place, found[0], _ULIMITS[found[2]], amount)

    _LINES: Final[tuple[tuple[re.Pattern[str], Callable[[_Reader, Place, re.Match[str]], None]], ...]] = (
        (_MERGED, _merged),
        (_HUSHED, _hushed),
        (_SOURCED, _sourced),
        (_NEEDED, _needed),
        (_STARTED, _started),
        (_MOVED, _moved),
        (_ULIMIT, _limited),
    )
