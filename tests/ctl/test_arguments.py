"""The command line by the table of verbs, and the small modules that stand in for large ones: JSON, places."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje import paths
from arje.ctl import places, wire
from arje.ctl.arguments import UsageError, parse


def test_options_may_stand_anywhere_and_short_ones_together() -> None:
    args = parse(["logs", "web", "-fn5", "db", "--since", "-5m", "--stream=stderr"])
    assert (args.verb, args.labels, args.follow, args.lines) == ("logs", ["web", "db"], True, 5)
    assert (args.since, args.stream) == ("-5m", "stderr")
    assert parse(["-n", "3", "logs", "web"]).lines == 3
    assert parse(["--timeout", "2.5", "web", "restart"]).timeout == 2.5
    assert parse(["stop", "--", "-odd"]).labels == ["-odd"]


def test_a_short_option_means_what_the_verb_says() -> None:
    assert parse(["graph", "-f", "dot", "web"]).format == "dot"
    assert parse(["-f", "dot", "graph"]).format == "dot"
    assert parse(["web", "logs", "-f"]).follow is True


def test_a_command_takes_all_that_follows_it() -> None:
    args = parse(["shell", "web", "ls", "-l", "--json"])
    assert (args.labels, args.command, args.json) == (["web"], ["ls", "-l", "--json"], False)
    args = parse(["shell", "web"])
    assert (args.labels, args.command) == (["web"], [])
    args = parse(["run", "--in", "web", "-q", "--", "ls", "-l"])
    assert (args.inside, args.quiet, args.command) == ("web", True, ["ls", "-l"])
    args = parse(["run", "name", "--wait", "--", "ls"])
    assert (args.labels, args.wait, args.command) == (["name"], True, ["ls"])
    assert parse(["run", "ls", "name"]).command == ["ls", "name"]


def test_what_a_verb_does_not_take_is_told_with_the_nearest() -> None:
    for words, text in {
        "start": "SERVICE is missing (arjectl start --help)",
        "start web --forse": "no option --forse",
        "stop web --forse": "did you mean --force?",
        "why a b": "'b': one word too many",
        "logs -n": "-n: its value is missing: -n, --lines N",
        "logs -n -1": "'-1' is no number from 0 to 1000000",
        "harden a --slack 101": "is no number from 0 to 100",
        "apply --confirm soon": "'soon' is no number of seconds",
        "apply --confirm nan": "is no number of seconds",
        "graph -f xml": "'xml' is none of ascii, dot, mermaid, svg, json",
        "analyze speed": "'speed' is none of blame, critical-chain, plot",
        "status --json=yes": "--json takes no value",
        "status --user --system": "--user or --system, not both",
        "scale copy@": "NUMBER is missing",
        "restrat web": "did you mean restart?",
    }.items():
        with pytest.raises(UsageError) as raised:
            parse(words.split())
        assert text in str(raised.value), words


def test_an_option_that_a_verb_does_not_take_is_false_to_who_asks() -> None:
    args = parse(["list"])
    assert (args.force, args.now, args.no_wait, args.strict, args.dry_run) == (False,) * 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_is_what_the_json_module_has(value: Any) -> None:
    assert json.loads(wire.write(value)) == value
    assert wire.read(json.dumps(value)) == value
    assert wire.write(value).isascii()


@pytest.mark.parametrize("text", ["", "{", "[1,", "nul", '{"a" 1}'])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        wire.read(text)


@pytest.mark.parametrize("named", [None, "/some/socket"])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("user", [None, False, True])
def test_the_socket_is_where_the_manager_has_it(
    named: str | None, there: bool, user: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(paths.SOCKET_VARIABLE, raising=False)
    if named:
        monkeypatch.setenv(paths.SOCKET_VARIABLE, named)
    if there:
        (tmp_path / "arje").mkdir()
        (tmp_path / "arje" / "io.arje").touch()
    assert places.default_socket(user, os.environb) == str(paths.default_socket(user=user))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert places.default_socket(True, os.environb) == str(paths.default_socket(user=True))
