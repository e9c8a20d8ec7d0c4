"""Completions, driven in the real shells with a real manager; what they know comes from the table of verbs."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.live import OF_CGROUP, OF_SOMA, RLIMITS
from arje.ctl import complete
from arje.ctl.everywhere import GLOBALS
from arje.ctl.verb import KINDS
from arje.ctl.verbs import VERBS
from tests.conftest import ROOT, Manager, sh
from tests.test_linters import need

STAYS = "exec sleep 1000"


def arjectl(place: Path) -> Path:
    """Return a directory with an arjectl in it, for a PATH."""
    program = place / "bin/arjectl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\ncd {ROOT} 2>/dev/null\nexec {sys.executable} -m arje.ctl "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def managed(manage: Callable[..., Manager]) -> Manager:
    """A manager with one service up, two down, one failed, a template and a target."""
    cards = {
        "web": sh(STAYS),
        "web@": sh(STAYS, rest='instances = ["blue"]\nenabled = false'),
        "worker": sh(STAYS, rest='enabled = false\ndescription = "Works; at: night"'),
        "mail": sh("exit 3"),
        "site": 'payload = "virtual"\n',
    }
    manager = manage(cards)
    manager.settle()
    return manager


def answered(manager: Manager, *words: str) -> list[str]:
    return [word for word, _ in complete.answer(["--socket", str(manager.socket), *words])[1]]


SENSIBLE: tuple[tuple[list[str], list[str]], ...] = (
    (["stop", ""], ["site", "web"]),
    (["start", ""], ["mail", "web@blue", "worker"]),
    (["reset-failed", ""], ["mail"]),
    (["enable", ""], ["web@blue", "worker"]),
    (["disable", "w"], ["web"]),
    (["kill", ""], ["web"]),
    (["kill", "web", ""], []),
    (["kill", "-s", "US"], ["USR1", "USR2"]),
    (["kill", "--signal=HU"], ["--signal=HUP"]),
    (["kill", "--whom", ""], ["main", "all"]),
    (["target", ""], ["site"]),
    (["scale", ""], ["web@"]),
    (["why", "w"], ["web", "web@blue", "worker"]),
    (["web", "resta"], ["restart"]),
    (["set", "web", "memory_m"], ["memory_max=", "memory_min="]),
    (["show", "-P", "stat"], ["state", "status_text"]),
    (["ping", ""], []),
    (["logs", "--str"], ["--stream"]),
    (["logs", "--stream", ""], ["stdout", "stderr"]),
    (["thaw", ""], []),
)


def test_only_what_makes_sense_is_offered(managed: Manager) -> None:
    assert [(words, answered(managed, *words)) for words, _ in SENSIBLE] == list(SENSIBLE)


def test_every_verb_and_option_is_offered(managed: Manager) -> None:
    assert answered(managed, "") == list(VERBS)
    for name, verb in VERBS.items():
        words = complete.answer([name, "-"])[1]
        assert [word for word, _ in words] == [each for option in (*verb.options, *GLOBALS) for each in option.names]
    for verb in VERBS.values():  # nothing of the table is strange to it
        assert {each.kind for each in (*verb.operands, *verb.options)} <= set(KINDS)


def test_aliases_come_once_a_letter_is_there(managed: Manager) -> None:
    assert "isolate" not in answered(managed, "")
    assert answered(managed, "iso") == ["isolate"]


def test_files_are_the_shell_s(managed: Manager) -> None:
    assert complete.answer(["plan", "--on", ""])[0] == "files"
    assert complete.answer(["run", ""])[0] == "command"


def test_a_manager_that_does_not_answer_costs_half_a_second_at_most(place: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place / "deaf"))
        deaf.listen(8)
        begun = time.monotonic()
        assert complete.answer(["--socket", str(place / "deaf"), "stop", ""]) == ("", [])
        assert time.monotonic() - begun < 5
    assert complete.answer(["--socket", str(place / "none"), "stop", ""]) == ("", [])
    assert complete.PATIENCE <= 0.5


def test_it_knows_every_limit_that_can_be_set() -> None:
    assert tuple(sorted({*RLIMITS, *OF_CGROUP, *OF_SOMA})) == complete.LIMITS


def environment(manager: Manager, place: Path) -> dict[str, str]:
    return {
        "PATH": f"{arjectl(place)}:/usr/bin:/bin",
        "ARJE_SOCKET": str(manager.socket),
        "HOME": str(place),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
    }


LINES = {
    "arjectl stop ": {"site", "web"},
    "arjectl start wo": {"worker"},
    "arjectl start web@": {"web@blue"},
    "arjectl web resta": {"restart"},
    "arjectl kill -s HU": {"HUP"},
    "arjectl kill --whom=a": {"--whom=all"},
    "arjectl set web memory_mi": {"memory_min="},
    "arjectl plan --on ../po": {"../pool/"},
}


def test_in_bash(managed: Manager, place: Path) -> None:
    (place / "pool").mkdir()
    (place / "here").mkdir()
    script = """
source <(arjectl completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
# bash gives the function its own words, split as readline does.
read -ra COMP_WORDS <<<"$1"; [[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
$(complete -p arjectl | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
for word in "${COMPREPLY[@]}"; do echo "$word"; done
"""
    env, begun = environment(managed, place), {"web@blue": "@blue", "--whom=all": "all", "../pool/": "../pool"}
    for line, expected in LINES.items():
        words = [need("bash"), "--norc", "-c", script, "bash", line]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, cwd=place / "here")
        assert set(done.stdout.split()) == {begun.get(word, word) for word in expected}  # from where readline begins


def typed(words: list[str], env: dict[str, str], cwd: Path, keys: list[tuple[str, str]]) -> str:
    """Type at a shell on a terminal: each time once it has shown the text, then to its end. Returns all that it showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(words[0], words, env)
    shown, mark, end = "", 0, time.monotonic() + 30
    waiting = list(keys)
    while time.monotonic() < end:
        if waiting and re.search(waiting[0][0], shown[mark:]):
            mark = len(shown)
            key = waiting.pop(0)[1]
            os.write(fd, key.encode()) if key else os.kill(pid, 9)  # seen enough
        if select.select([fd], [], [], 0.5)[0]:
            try:
                shown += os.read(fd, 65536).decode(errors="replace")
            except OSError:  # the shell has gone (pty(7))
                break
    else:
        os.kill(pid, 9)
    os.close(fd)
    os.waitpid(pid, 0)
    assert not waiting, shown
    return shown


def at_tab(shown: str) -> set[str]:
    """What the shell made of the line: echoed behind a mark."""
    return set(re.findall(r"GOT<([^>]*)>", shown))


#: What cannot be told from the function alone: the break characters of the line editor.
UNIQUE: dict[str, str] = {line: next(iter(LINES[line])) for line in list(LINES)[2:5:2]}


@pytest.mark.parametrize("line", UNIQUE)
def test_bash_on_a_terminal_writes_the_rest_of_the_word(managed: Manager, place: Path, line: str) -> None:
    (place / "pool").mkdir()
    (place / "here").mkdir()
    (place / "rc").write_text(
        "source <(arjectl completion bash)\ngot() { set -- $READLINE_LINE; printf 'GOT<%s>' \"${!#}\"; exit; }\n"
        "bind -x '\"\\C-g\": got'\nPS1='READY> '\n"
    )
    keys = [("READY> ", f"{line}\t\x07")]
    shown = typed(
        [need("bash"), "--rcfile", str(place / "rc"), "-i"], environment(managed, place), place / "here", keys
    )
    assert at_tab(shown) == {UNIQUE[line]}, shown


@pytest.mark.parametrize("line", UNIQUE)
def test_zsh_on_a_terminal_writes_the_rest_of_the_word(managed: Manager, place: Path, line: str) -> None:
    (place / "pool").mkdir()
    (place / "here").mkdir()
    (place / ".zshrc").write_text(
        "PS1='READY> '\nunsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste\n"
        "autoload -U compinit && compinit -u -D\nsource <(arjectl completion zsh)\n"
        "got() { print -n \"GOT<${${(z)BUFFER}[-1]}>\"; exit }\nzle -N got; bindkey '^G' got\nprint STARTED\n"
    )
    keys = [("STARTED[^$]*READY> ", f"{line}\t\x07")]
    shown = typed(
        [need("zsh"), "-d", "-i"], environment(managed, place) | {"ZDOTDIR": str(place)}, place / "here", keys
    )
    assert at_tab(shown) == {UNIQUE[line]}, shown


def test_zsh_lists_what_there_is_with_what_it_means(managed: Manager, place: Path) -> None:
    (place / ".zshrc").write_text(
        "PS1='READY> '\nunset zle_bracketed_paste\nautoload -U compinit && compinit -u -D\n"
        "source <(arjectl completion zsh)\nprint STARTED\n"
    )
    keys = [("STARTED[^$]*READY> ", "arjectl start \t"), ("Works; at: night", "")]
    typed([need("zsh"), "-d", "-i"], environment(managed, place) | {"ZDOTDIR": str(place)}, place, keys)


def test_in_fish(managed: Manager, place: Path) -> None:
    (place / "pool").mkdir()
    (place / "here").mkdir()
    script = "arjectl completion fish | source; complete -C $argv[1]"
    for line, expected in LINES.items():
        words = [need("fish"), "--no-config", "-c", script, line]
        env = environment(managed, place)
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, cwd=place / "here")
        assert {row.partition("\t")[0] for row in done.stdout.splitlines()} == expected


def test_the_loaders_that_a_package_ships_ask_arjectl(managed: Manager, place: Path) -> None:
    bash = f"source {ROOT}/ship/completions/arjectl; complete -p arjectl"
    done = subprocess.run(
        [need("bash"), "-c", bash], env=environment(managed, place), capture_output=True, text=True, check=True
    )
    assert done.stdout == "complete -F _arjectl arjectl\n"
