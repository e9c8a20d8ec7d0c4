"""The limits of ``arje run``: what the command finds, and how its time ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from arje.kernel import cgroup
from tests.init.test_run import run


def test_the_command_has_the_limits_that_the_options_say() -> None:
    script = (
        "ulimit -n; ulimit -Hn; ulimit -c; nice; cat /proc/self/oom_score_adj; ionice -p $$; taskset -cp $$ | tail -c2"
    )
    done = run(
        *("--rlimit", "nofile=64:128", "--rlimit", "core=0", "--nice", "4", "--oom-score-adj", "5"),
        *("--ioprio", "idle", "--cpus", "0", "--scheduler", "batch", "--", "sh", "-c", script),
    )
    assert done.stdout.split() == ["64", "128", "0", "4", "5", "idle", "0"], done


def test_options_go_over_the_cards_own_limits(tmp_path: Path) -> None:
    card = tmp_path / "c.toml"
    soma = 'nice = 2\nrlimits = {nofile = 30, core = 0}\nioprio = "idle"'
    card.write_text(f'[payload]\nexec = "/bin/true"\n[soma]\n{soma}\n')
    script = "ulimit -n; ulimit -c; nice; ionice -p $$"
    done = run("--card", str(card), "--nice", "3", "--rlimit", "nofile=40", "--", "sh", "-c", script)
    assert done.stdout.split() == ["40", "0", "3", "idle"], done


@pytest.mark.parametrize("option", [["--memory-max", "64M"], ["--pids-max", "9"], ["--cpu-max", "50%"]])
def test_a_limit_that_cannot_be_had_is_told_once_or_refused(option: list[str]) -> None:
    place = cgroup.own()
    if place is not None and "memory" in (place / "cgroup.controllers").read_text():
        pytest.skip("it can be had here; see tests/vm")
    done = run(*option, "--", "sh", "-c", "exit 7")
    assert (done.returncode, done.stderr.count("degraded: cgroup.")) == (7, 1)
    assert run("--strict", *option, "--", "true").returncode == 153


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rlimit", "nofilee=3"], "did you mean 'rlimit.nofile'?"),
        (["--rlimit", "nofile"], "soma.rlimits.nofile"),
        (["--nice", "99"], "-20 to 19"),
        (["--cpus", "all"], "list of CPUs"),
        (["--timeout", "soon"], "'soon' is no duration"),
        (["--timeout", "0"], "no time at all"),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_names_it(words: list[str], said: str) -> None:
    done = run(*words, "--", "true")
    assert (done.returncode, said in done.stderr) == (2, True), done


@pytest.mark.parametrize("spaces", ["mount", "mount,pid"])
def test_a_command_whose_time_is_over_hears_term(spaces: str) -> None:
    script = "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.01; done"
    done = run("--timeout", "1", "--namespaces", spaces, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (124, "up\nheard\n"), done


def test_a_command_that_does_not_heed_term_is_killed_with_all_it_started(tmp_path: Path) -> None:
    note, began = tmp_path / "pid", time.monotonic()
    script = f"trap '' TERM; sleep 1000 & echo $! > {note}; while :; do sleep 1000; done"
    assert run("--timeout", "200ms", "--", "sh", "-c", script).returncode == 124
    assert time.monotonic() - began > 5
    assert not Path(f"/proc/{note.read_text().strip()}").exists()


def test_a_command_that_ends_in_time_has_its_own_status() -> None:
    assert run("--timeout", "1h", "--", "sh", "-c", "exit 9").returncode == 9
