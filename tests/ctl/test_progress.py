"""Progress: what is waited for and what is in the way, only on a terminal, erased at the end. And narrow terminals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Manager, sh
from tests.ctl.terminals import Terminal

Manage = Callable[..., Manager]


def test_a_start_that_takes_long_says_what_it_waits_for_and_erases_it(manage: Manage) -> None:
    manager = manage({})
    gate = manager.directory / "gate"
    slow = sh(f"while [ ! -e {gate} ]; do sleep 0.05; done; echo up; exec sleep infinity")
    manager.write("slow", "enabled = false\n" + slow + '[supervision]\nreadiness = "log:up"\n')
    manager.write("needs", 'enabled = false\nrequires = ["slow"]\n' + sh("exec sleep infinity"))
    manager.call("Apply")
    terminal = Terminal(manager, "start", "needs")
    terminal.until(lambda said: "slow  starting" in said and "not ready yet" in said)
    assert "needs  waiting" in terminal.said
    assert "needs slow (starting)" in terminal.said
    gate.touch()
    assert terminal.end() == 0
    last = terminal.said.rpartition("\x1b[J")
    assert last[1], "what was shown is erased"
    assert "needs" in last[2]
    assert "waiting" not in last[2]


def test_a_stop_names_who_is_in_the_way(manage: Manage) -> None:
    manager = manage(
        {
            "db": sh("exec sleep infinity"),
            "web": 'requires = ["db"]\n'
            + sh("trap '' TERM; echo up; while :; do sleep 0.05; done")
            + '[supervision]\nstop_timeout = 2\nreadiness = "log:up"\n',
        }
    )
    manager.settle("web")
    terminal = Terminal(manager, "stop", "--force", "db")
    terminal.until(lambda said: "web  stopping" in said)
    assert terminal.end() == 0
    assert "stopping" not in terminal.said.rpartition("\x1b[J")[2]


def test_help_fits_a_narrow_terminal(manage: Manage) -> None:
    manager = manage({})
    for words in (["--help"], ["apply", "--help"]):
        terminal = Terminal(manager, *words, columns=60)
        assert terminal.end() == 0
        lines = terminal.said.replace("\r", "").splitlines()
        assert max(map(len, lines)) <= 60
        assert " ".join(terminal.said.split()) == " ".join(manager.ctl(*words).stdout.replace("...", "…").split())


@pytest.mark.parametrize("words", [["--plain"], ["--quiet"], ["--json"]])
def test_who_wants_plain_words_gets_no_progress(manage: Manage, words: list[str]) -> None:
    manager = manage(
        {
            "a": sh("trap '' TERM; echo up; while :; do sleep 0.05; done")
            + '[supervision]\nstop_timeout = 1\nreadiness = "log:up"\n'
        }
    )
    manager.settle("a")
    terminal = Terminal(manager, *words, "stop", "a")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.said
    assert ("a: stopped" in terminal.said) == (words == ["--plain"])


def test_a_narrow_terminal_cuts_the_description_and_an_old_one_gets_ascii(manage: Manage) -> None:
    manager = manage({"a": f'description = "{"long " * 30}"\n' + sh("exec sleep infinity")})
    manager.settle("a")
    terminal = Terminal(manager, "status", columns=80, NO_COLOR="1")
    assert terminal.end() == 0
    assert [len(line) for line in terminal.said.splitlines() if "long" in line] == [80]
    terminal = Terminal(manager, "status", columns=40, NO_COLOR="1")
    assert terminal.end() == 0
    assert "long " * 29 in terminal.said, "where it would be gone whole it may wrap"
    terminal = Terminal(manager, "status", LANG="de_DE.ISO-8859-1")
    assert terminal.end() == 0
    assert terminal.said.isascii()


def test_ctrl_c_says_that_the_manager_goes_on(manage: Manage) -> None:
    manager = manage(
        {
            "a": sh("trap '' TERM; echo up; while :; do sleep 0.05; done")
            + '[supervision]\nstop_timeout = 2\nreadiness = "log:up"\n'
        }
    )
    manager.settle("a")
    terminal = Terminal(manager, "stop", "a")
    terminal.until(lambda said: "stopping" in said)
    terminal.process.send_signal(2)
    assert terminal.end() == 130
    assert "the manager goes on with it" in terminal.said
