"""Sandboxes from Python: ``arje.run``, ``arje.output``, ``arje.spawn``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import arje
from arje.card.soma import Namespaces, Soma
from arje.errors import CardError, IncarnationRefused, SetupFailed
from arje.incarnation import Exit
from arje.sandbox import PIPE, Failed, TimedOut
from tests.conftest import ROOT


def descriptors() -> list[str]:
    return sorted(str(path) for path in Path("/proc/self/fd").iterdir())


def runs(pid: int) -> bool:
    """Whether a process is more than a zombie that waits for its new parent."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def test_output_is_what_the_program_says() -> None:
    assert arje.output(["sh", "-c", "uname -n"], soma={"namespaces": ["uts"], "hostname": "box"}) == b"box\n"


def test_a_soma_of_our_own_making_does_as_well() -> None:
    soma = Soma(namespaces=Namespaces(uts=True), hostname="mine")
    assert arje.output(["uname", "-n"], soma=soma) == b"mine\n"


def test_a_run_tells_how_it_ended_and_what_it_got() -> None:
    done = arje.run(["sh", "-c", "echo out; echo err >&2; exit 7"], soma={"namespaces": ["pid", "mount"]}, capture=True)
    assert (done.exit, done.returncode, done.stdout, done.stderr) == (Exit("exited", 7), 7, b"out\n", b"err\n")
    assert {grant.feature for grant in done.incarnation.grants if grant.ok} >= {"pid", "mount"}
    assert arje.run(["sh", "-c", "kill -9 $$"]).returncode == -9


def test_check_raises_for_what_does_not_end_well() -> None:
    with pytest.raises(Failed) as caught:
        arje.run(["sh", "-c", "exit 3"], check=True)
    assert caught.value.done.returncode == 3
    with pytest.raises(Failed):
        arje.output("false")


def test_more_than_a_pipe_holds_goes_in_and_out() -> None:
    data = os.urandom(1 << 20)
    assert arje.run("cat", input=data, capture=True).stdout == data
    assert arje.run("true", input=data).exit.ok, "it need not listen"


def test_environment_and_directory_are_what_is_said(place: Path) -> None:
    said = arje.output(["sh", "-c", "pwd; echo $A$HOME"], env={"A": "b", "PATH": os.environ["PATH"]}, cwd=place)
    assert said.decode().split() == [str(place), "b"]
    assert arje.output("pwd").decode().strip() == str(Path.cwd())


def test_a_program_that_takes_too_long_is_killed_with_all_it_started(place: Path) -> None:
    note = place / "pid"
    with pytest.raises(TimedOut) as caught:
        arje.run(["sh", "-c", f"echo begun; sleep 1000 & echo $! > {note}; wait"], capture=True, timeout=1)
    assert caught.value.stdout == b"begun\n"
    assert not runs(int(note.read_text()))


def test_a_spawned_program_talks_hears_signals_and_is_waited_for() -> None:
    script = "trap 'echo heard; exit 4' TERM; echo up; while read line; do echo got $line; done"
    script += "; while :; do sleep 0.01; done"
    with arje.spawn(["sh", "-c", script], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.stdin.write(b"this\n")
        assert process.stdout.readline() == b"got this\n"
        assert process.poll() is None
        assert process.wait_timeout(0.01) is None
        process.stdin.close()
        process.terminate()
        assert process.stdout.readline() == b"heard\n"
        assert (process.wait_timeout(30), process.poll()) == (Exit("exited", 4), Exit("exited", 4))
        process.send_signal(signal.SIGTERM)


def test_leaving_with_ends_a_program_and_gives_everything_back() -> None:
    arje.run("true")  # what is made once
    before = descriptors()
    with arje.spawn(["sleep", "1000"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        pid = process.pid
    process.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(SetupFailed):
        arje.run("/no/such/program", capture=True, input=b"x")
    assert descriptors() == before


def test_a_file_and_a_descriptor_can_be_its_streams(place: Path) -> None:
    with (place / "out").open("wb") as file:
        arje.run(["sh", "-c", "echo a; echo b >&2"], stdout=file, stderr=file.fileno())
    assert (place / "out").read_text() == "a\nb\n"


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(CardError, match="did you mean 'pid'"):
        arje.run("true", soma={"namespaces": ["pdi"]})
    with pytest.raises(SetupFailed, match="uts"):
        arje.run("true", soma={"hostname": "x"})
    with pytest.raises(IncarnationRefused, match="cgroup"):
        arje.run("true", soma={"cgroup": {"cpu_idle": True, "io_max": {"0:0": {"rbps": 1}}}, "strict_caps": True})
    with pytest.raises(ValueError, match="name a program"):
        arje.run([])


def test_importing_arje_imports_no_sandbox() -> None:
    look = "import sys, arje; assert 'arje.sandbox' not in sys.modules; arje.run; assert 'arje.sandbox' in sys.modules"
    subprocess.run([sys.executable, "-c", look], check=True, cwd=ROOT)
