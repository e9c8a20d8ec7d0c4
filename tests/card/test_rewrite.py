"""Keys of [soma] are put into a card's text; every other line stays as its author wrote it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from arje.card.loader import load_text
from arje.card.rewrite import rewrite

CHANGES = [("no_new_privs", True, "a reason"), ("seccomp", {"allow": ["@default", "read"]}, "")]


@pytest.mark.parametrize(
    "text",
    [
        '[payload]\nexec = "/bin/true"\n',
        '[soma]\nchdir = "/tmp" # here\n\n[payload]\nexec = "/bin/true"\n',
        '[payload]\nexec = "/bin/true"\n[soma.namespaces]\nnet = true\n',
        '[payload]\nexec = "/bin/true"\n[soma]\nno_new_privs = false\nseccomp = "@known"\n',
        '[payload]\nexec = "/bin/true"\n[soma]\nseccomp.allow = [\n  "@known", # ]\n  "read",\n]\nchdir = "/tmp"\n',
        '[payload]\nexec = "/bin/true"\n[soma.seccomp]\ndeny = ["mount"]\n\n[soma.landlock]\nread = ["/"]\n',
    ],
)
def test_the_keys_are_set_and_nothing_else_changes(text: str) -> None:
    new = rewrite(text, CHANGES)
    before, after = tomllib.loads(text), tomllib.loads(new)
    assert after["soma"].pop("no_new_privs") is True
    assert after["soma"].pop("seccomp") == {"allow": ["@default", "read"]}
    for key in ("no_new_privs", "seccomp"):
        before.get("soma", {}).pop(key, None)
    assert after == before | {"soma": before.get("soma", {})}
    assert "# a reason" in new
    for line in ('chdir = "/tmp" # here', "[soma.namespaces]", "[soma.landlock]"):
        assert (line in new) == (line in text)
    assert not load_text(Path("web.toml"), new).problems


def test_a_path_with_quotes_and_backslashes_comes_through() -> None:
    new = rewrite("", [("landlock", {"read": ['/a "b"\\c\n']}, "")])
    assert tomllib.loads(new)["soma"]["landlock"]["read"] == ['/a "b"\\c\n']
