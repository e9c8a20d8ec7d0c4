"""As much of sh(1) as a service script needs to be read: statements with their lines, functions, assignments, words.

Nothing is run. What only a shell can know (``$(…)``, a variable that nobody has set, a glob, a condition) raises
:class:`Dynamic`, and the importer then lets the script be run as it is.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_FUNCTION: Final = re.compile(
    r"(?:function\s+)?([A-Za-z_][A-Za-z0-9_-]*)\s*\(\s*\)\s*(?=[{(])|function\s+([\w-]+)\s*(?=\{)"
)
_ASSIGNMENT: Final = re.compile(r"(?:(?:export|readonly|local)\s+)?([A-Za-z_][A-Za-z0-9_]*)(\+?)=", re.ASCII)
_DEFAULTED: Final = re.compile(r":\s+\"?\$\{([A-Za-z_][A-Za-z0-9_]*):?=((?:[^}\\]|\\.)*)\}\"?\s*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DEFAULT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::?[-=])(.*)", re.ASCII | re.DOTALL)
_CUT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(##?|%%?)(.*)", re.ASCII | re.DOTALL)
_OPERATORS: Final = "|&;<>()"


class Dynamic(ValueError):
    """Only a shell that runs the script can know it; ``line`` is where, from 1."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


class Broken(ValueError):
    """It is no shell script: a quote or a brace is never closed; ``line`` is where it was opened."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; of a function ``name`` is what it is called, and ``text`` its body without the braces."""

    line: int
    text: str
    name: str = ""


def statements(text: str) -> list[Statement]:
    """Return the statements of a script in order, comments left out. Raises Broken."""
    return list(_Scanner(text).run())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def run(self) -> Iterator[Statement]:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in " \t\n;":
                self._at += 1
            elif char == "#":
                self._skip_line()
            elif found := _FUNCTION.match(self._text, self._at):
                yield self._function(found)
            else:
                yield self._statement()

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _function(self, found: re.Match[str]) -> Statement:
        opened = self._at
        self._at = found.end()
        close = {"{": "}", "(": ")"}[self._text[self._at]]
        self._at += 1
        start, depth = self._at, 1
        while depth:
            if self._at >= len(self._text):
                raise Broken(f"the function {found[1] or found[2]} has no end", self._line(opened))
            char = self._text[self._at]
            if char == "#" and self._text[self._at - 1] in " \t\n;":
                self._skip_line()
                continue
            depth += (char == ("{" if close == "}" else "(")) - (char == close)
            self._quoted()
        return Statement(self._line(opened), self._text[start : self._at - 1], found[1] or found[2])

    def _statement(self) -> Statement:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in "\n;":
            if self._text[self._at] == "#" and self._text[self._at - 1] in " \t":
                end = self._at
                self._skip_line()
                return Statement(self._line(start), self._text[start:end].strip())
            self._quoted()
        text = self._text[start : self._at].strip()
        while self._text.startswith(";", self._at):
            self._at += 1
        return Statement(self._line(start), text)

    def _quoted(self) -> None:
        """Go past one character, or a whole quoted text, substitution or expansion."""
        opened, char = self._at, self._text[self._at]
        if char == "\\":
            self._at += 2
        elif char == "'":
            self._until("'", opened)
        elif char in '"`':
            self._at += 1
            while not self._text.startswith(char, self._at):
                if self._at >= len(self._text):
                    raise Broken("a quote is never closed", self._line(opened))
                if self._text.startswith(("\\", "$("), self._at):
                    self._quoted()
                else:
                    self._at += 1
            self._at += 1
        elif self._text.startswith("$(", self._at):
            self._nested("(", ")", opened)
        elif self._text.startswith("${", self._at):
            self._nested("{", "}", opened)
        else:
            self._at += 1

    def _until(self, end: str, opened: int) -> None:
        close = self._text.find(end, self._at + 1)
        if close < 0:
            raise Broken("a quote is never closed", self._line(opened))
        self._at = close + 1

    def _nested(self, begin: str, end: str, opened: int) -> None:
        """Go past a substitution; those within it are counted, not followed, so that no nesting is too deep."""
        self._at += 2
        depth = 1
        while depth:
            if self._at >= len(self._text):
                raise Broken(f"a {begin} is never closed", self._line(opened))
            char = self._text[self._at]
            depth += (char == begin) - (char == end)
            if char == "'" and (close := self._text.find("'", self._at + 1)) > 0:
                self._at = close
            self._at += 2 if char == "\\" else 1


def assignment(statement: Statement) -> tuple[str, str, bool] | None:
    """Return name, value as it is written, and whether it is appended, of a statement that is an assignment and no more."""
    if found := _DEFAULTED.fullmatch(statement.text):
        return found[1], found[2], False
    found = _ASSIGNMENT.match(statement.text)
    if found is None or statement.name:
        return None
    return found[1], statement.text[found.end() :], bool(found[2])


def value(written: str, variables: Mapping[str, str], line: int) -> str:
    """Return the value that an assignment gives. Raises Dynamic."""
    return _Words(written, variables, line).one()


def words(written: str, variables: Mapping[str, str], line: int) -> list[str]:
    """Return the words of a simple command. Raises Dynamic for anything else."""
    return _Words(written, variables, line).all()


def is_simple(written: str) -> bool:
    """Whether a command line is words alone, which no shell is needed for."""
    try:
        return bool(words(written, {}, 1))
    except (Dynamic, Broken):
        return False


class _Words:
    """Splits as the shell does: quotes keep together, what an unquoted variable holds is split."""

    def __init__(self, text: str, variables: Mapping[str, str], line: int) -> None:
        self._text = text
        self._variables = variables
        self._line = line
        self._at = 0
        self._found: list[str] = []
        self._word: list[str] = []
        self._begun = False

    def one(self) -> str:
        self._run(split=False)
        return "".join(self._word)

    def all(self) -> list[str]:
        self._run(split=True)
        self._end()
        return self._found

    def _run(self, *, split: bool) -> None:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in " \t\n":
                if not split:
                    raise self._dynamic("more than an assignment")
                self._end()
                self._at += 1
            elif char == "#" and not self._begun and split:
                return
            elif char in _OPERATORS:
                raise self._dynamic(f"{char!r}")
            elif char in "*?[" and split:
                raise self._dynamic("a pattern of file names")
            elif char == "~" and not self._begun:
                raise self._dynamic("a home directory")
            else:
                self._part(char, split=split)

    def _part(self, char: str, *, split: bool) -> None:
        if char == "'":
            close = self._text.find("'", self._at + 1)
            if close < 0:
                raise Broken("a quote is never closed", self._line)
            self._add(self._text[self._at + 1 : close])
            self._at = close + 1
        elif char == '"':
            self._double()
        elif char == "\\":
            follows = self._text[self._at + 1 : self._at + 2]
            if follows != "\n":
                self._add(follows)
            self._at += 2
        elif char in "$`":
            self._split(self._variable()) if split else self._add(self._variable())
        else:
            self._add(char)
            self._at += 1

    def _double(self) -> None:
        self._at += 1
        self._begun = True
        while not self._text.startswith('"', self._at):
            if self._at >= len(self._text):
                raise Broken("a quote is never closed", self._line)
            char = self._text[self._at]
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in ("$", "`", '"', "\\", "\n"):
                follows = self._text[self._at + 1]
                self._add("" if follows == "\n" else follows)
                self._at += 2
            elif char in "$`":
                self._add(self._variable())
            else:
                self._add(char)
                self._at += 1
        self._at += 1

    def _variable(self) -> str:
        """Return what ``$NAME``, ``${NAME}`` or ``${NAME:-word}`` stands for."""
        if self._text[self._at] == "`" or self._text.startswith("$(", self._at):
            raise self._dynamic("the output of a command")
        if self._text.startswith("${", self._at):
            close = self._closing(self._at + 2)
            inner = self._text[self._at + 2 : close]
            self._at = close + 1
            if _NAME.fullmatch(inner) and inner in self._variables:
                return self._variables[inner]
            if found := _DEFAULT.fullmatch(inner):
                return self._variables.get(found[1]) or value(found[2], self._variables, self._line)
            if (cut := _CUT.fullmatch(inner)) and cut[1] in self._variables and "$" not in cut[3]:
                return _without(self._variables[cut[1]], cut[2], cut[3])
            raise self._dynamic(f"${{{inner}}}")
        found = _NAME.match(self._text, self._at + 1)
        if found is None:
            follows = self._text[self._at + 1 : self._at + 2]
            if not follows or follows in " \t\n\"'/":
                self._at += 1
                return "$"
            raise self._dynamic(f"${follows}")
        if found[0] not in self._variables:
            raise self._dynamic(f"${found[0]}")
        self._at = found.end()
        return self._variables[found[0]]

    def _closing(self, at: int) -> int:
        depth = 1
        while at < len(self._text):
            depth += (self._text[at] == "{") - (self._text[at] == "}")
            if not depth:
                return at
            at += 1
        raise Broken("a ${ is never closed", self._line)

    def _add(self, text: str) -> None:
        self._word.append(text)
        self._begun = True

    def _split(self, text: str) -> None:
        pieces = text.split()
        if not pieces:
            return
        if text[0].isspace():
            self._end()
        for number, piece in enumerate(pieces):
            if number:
                self._end()
            self._add(piece)
        if text[-1].isspace():
            self._end()

    def _end(self) -> None:
        if self._begun:
            self._found.append("".join(self._word))
        self._word, self._begun = [], False

    def _dynamic(self, what: str) -> Dynamic:
        return Dynamic(what, self._line)


def _without(text: str, sign: str, pattern: str) -> str:
    """Return a text without what a pattern matches at its beginning (``#``) or end (``%``); twice the sign: the most."""
    ends = range(min(len(text), 1000) + 1)
    for count in ends if len(sign) == 1 else reversed(ends):
        part = text[:count] if sign[0] == "#" else text[len(text) - count :]
        if fnmatch.fnmatchcase(part, pattern):
            return text[count:] if sign[0] == "#" else text[: len(text) - count]
    return text
