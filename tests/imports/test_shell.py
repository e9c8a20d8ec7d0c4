"""The reader of shell scripts against a shell: what it says a command line is, is what sh makes of it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.imports import shell
from arje.imports.shell import Broken, Dynamic

VARIABLES = {"A": "one two", "B": "", "NAME": "net.eth0"}


def by_sh(text: str) -> list[str]:
    """Return the words that a shell passes to a program."""
    script = f"set -f; A='one two'; B=; NAME=net.eth0; set -- {text}\nprintf '%s\\0' $# \"$@\""
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[1:-1]


LINES = [
    "a b  c",
    "'a b' \"c d\" e\\ f",
    '$A "$A" x$A.y ${A}z',
    'x"$B"y "$B" $B z',
    "${C:-default} ${C:-$A} ${B:-b}",
    '"a \\"b\\" \\$c \\q"',
    "'it'\\''s' a\"b\"'c'",
    "${NAME#*.} ${NAME##*.} ${NAME%.*} ${NAME%%e*}",
    "a#b c #d",
    '--opt="$A" --x=${NAME#net.}',
    "a \\\n b",
]


@pytest.mark.parametrize("line", LINES)
def test_words_are_those_of_sh(line: str) -> None:
    assert shell.words(line, VARIABLES, 1) == by_sh(line)


@given(st.text("ab '\"\\$A{}:-", max_size=12))
def test_any_words_are_those_of_sh_or_refused(line: str) -> None:
    try:
        words = shell.words(line, VARIABLES, 1)
    except (Dynamic, Broken):
        return
    if line.rstrip(" ").endswith("\\") or ("{" in line and "${" not in line.replace("$${", "")):
        return
    assert words == by_sh(line)


@pytest.mark.parametrize(
    "line", ["$(date)", "`date`", "a | b", "a; b", "a > b", "*.conf", "$UNSET", "~/x", "a & b", "$1"]
)
def test_what_only_a_shell_can_know_is_refused(line: str) -> None:
    with pytest.raises(Dynamic):
        shell.words(line, VARIABLES, 1)


def test_statements_have_their_lines_and_functions_their_bodies() -> None:
    text = """#!/bin/sh
# a comment with ' and {
A="x
y" ; B='}'
f() {
  echo "}" # not the end: }
  g() { :; }
}
: ${C:=1}
echo done # really
"""
    found = [(each.line, each.name or each.text) for each in shell.statements(text)]
    assert found == [(3, 'A="x\ny"'), (4, "B='}'"), (5, "f"), (9, ": ${C:=1}"), (10, "echo done")]


@given(st.text("ab(){}'\"`$\\;\n# =", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        for statement in shell.statements(text):
            shell.assignment(statement)
            shell.words(statement.text, VARIABLES, statement.line)
    except (Dynamic, Broken):
        pass
