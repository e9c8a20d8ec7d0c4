"""The two commands, `make run` and `make test`, as somebody meets them in a fresh checkout.

Each run has a witness: a cgroup of its own, where this user may make one, and a runtime base of its own. Whatever a run
leaves behind is in one of them, in the machine's mounts, or has become a child of ours (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje.kernel import cgroup
from tests.conftest import NOBODY, ROOT

LABELS = {path.stem for path in (ROOT / "cards.d").glob("*.toml")}
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "build", "__pycache__", "*.egg-info", "*.so", "_native.c", ".*_cache"
)
SUBREAPER = 36
#: What the make that runs these tests hands down.
MAKES = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "TESTS", "PYTHON", "VENV", "NO_COLOR"}


class Witness:
    """Knows what a run of a command has left behind."""

    def __init__(self, place: Path) -> None:
        self.base = place / "base"
        self.base.mkdir()
        self.base.chmod(0o1777)
        self.group = self._group()
        self.children = children()

    @staticmethod
    def _group() -> Path | None:
        own = cgroup.own()
        with contextlib.suppress(OSError):
            if own is not None:
                (own / f"arje-witness-{os.getpid()}").mkdir()
                return own / f"arje-witness-{os.getpid()}"
        return None

    def prefix(self) -> list[str]:
        """Words before a command that make it begin in the witness's cgroup."""
        if self.group is None:
            return []
        return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(self.group / "cgroup.procs")]

    def left(self) -> list[str]:
        """Processes, cgroups, mounts and files that should not be there any more."""
        found = [f"process {pid}: {command(pid)}" for pid in children() - self.children]
        if self.group is not None:
            pids = (self.group / "cgroup.procs").read_text().split()
            found += [f"process {pid}: {command(int(pid))}" for pid in pids]
            found += [f"cgroup {path}" for path in self.group.iterdir() if path.is_dir()]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return found + [line for line in mounts if str(self.base) in line] + [str(path) for path in self.base.iterdir()]

    def await_nothing(self) -> None:
        """Wait until all is gone: who ran make was killed, not who cleans up."""
        end = time.monotonic() + 30
        while left := self.left():
            assert time.monotonic() < end, left

    def close(self) -> None:
        if self.group is not None:
            (self.group / "cgroup.kill").write_text("1")
            while "populated 1" in (self.group / "cgroup.events").read_text():
                children()
            cgroup.Cgroup(self.group).remove()


def children() -> set[int]:
    """Return our living children; those that ended without a Popen to ask for them are reaped."""
    found = set()
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                found.add(pid)
            elif pid not in started:
                os.waitpid(pid, os.WNOHANG)
    return found


started: set[int] = set()


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "gone"


@pytest.fixture
def witness(place: Path) -> Iterator[Witness]:
    prctl = ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 1, 0, 0, 0)
    witness = Witness(place)
    yield witness
    left = witness.left()
    witness.close()
    prctl(SUBREAPER, 0, 0, 0, 0)
    assert left == []


def environment(witness: Witness | None = None, **more: str) -> dict[str, str]:
    """An environment of a person who types `make`: not that of the make that runs these tests."""
    own = {name: value for name, value in os.environ.items() if name not in MAKES and not name.startswith("PYTEST")}
    return own | {"XDG_RUNTIME_DIR": str(witness.base) if witness else ""} | more


def make_run(witness: Witness, where: Path = ROOT, *prefix: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`make run` without a terminal, in a checkout that is set up."""
    words = [*witness.prefix(), *prefix, "make", *fresh(where), "run"]
    return subprocess.run(
        words,
        cwd=where,
        env=environment(witness, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def fresh(where: Path) -> list[str]:
    """Words for make that keep it from building the venv anew under the tests that run in it."""
    return ["-o", ".venv/.ready"] if where == ROOT else []


def table(output: str) -> dict[str, str]:
    """The rows of the status table by service."""
    rows = output.partition("DESCRIPTION")[2].partition("\n\n")[0].strip("\n").splitlines()
    words = (re.sub(r"^[●✓◐◑↻✗○] ", "", row).split() for row in rows)
    return {word[1]: " ".join(word) for word in words}


def shows_everything(output: str) -> None:
    """The table holds every card at rest, and below it stands every loss with its cause and its remedy.

    But the worker, which starts over and over, may be on its way at any time.
    """
    assert re.match(r"arje \S+  pid \d+  running  up ", output)
    assert set(table(output)) == LABELS
    for label, row in table(output).items():
        assert label == "worker" or not re.search(r"\b(starting|waiting|stopping)\b", row)
    for label, row in table(output).items():
        if re.search(r"\d+/\d+!", row):
            paragraph = re.split(rf"^(?:\S )?{label}: .*\n", output, flags=re.M)[1]
            lines = list(itertools.takewhile(lambda line: line.startswith("  "), paragraph.split("\n")))
            assert lines[0].startswith("  ! ")
            assert lines[-1].strip().startswith("remedy: "), "one remedy may serve all the losses above it"
            for line in lines:
                assert re.match(r"  ! \S+ +asked: .+ got: .+   \S|\s+remedy: \S", line)


class Terminal:
    """`make run` on a terminal of its own, and the hands on it."""

    def __init__(self, witness: Witness) -> None:
        self.master, slave = pty.openpty()
        words = [*witness.prefix(), "setsid", "--ctty", "make", *fresh(ROOT), "run"]
        self.make = subprocess.Popen(words, cwd=ROOT, env=environment(witness), stdin=slave, stdout=slave, stderr=slave)
        started.add(self.make.pid)
        os.close(slave)
        self.seen = ""

    def await_text(self, text: str) -> None:
        while text not in self.seen:
            assert select.select([self.master], [], [], 60)[0], f"{text!r} never came: {self.seen}"
            self.seen += os.read(self.master, 65536).decode(errors="replace")

    def end(self) -> int:
        """Read to the end, and return the exit status."""
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while select.select([self.master], [], [], 60)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
        os.close(self.master)
        return self.make.wait(60)


def test_without_a_terminal_it_shows_all_stops_all_and_exits_0(witness: Witness) -> None:
    done = make_run(witness)
    assert done.returncode == 0, done.stderr
    shows_everything(done.stdout)
    assert "hello from greeter, pid 2 of my own namespace" in done.stdout
    assert witness.left() == []


def test_on_a_terminal_it_follows_the_log_until_ctrl_c(witness: Witness) -> None:
    terminal = Terminal(witness)
    terminal.await_text("Following the log; Ctrl-C stops everything.")
    shown = re.sub(r"\x1b\[\d*m", "", terminal.seen.replace("\r", ""))
    shows_everything(shown[shown.index("arje 0") :])
    assert list(witness.base.iterdir()), "it runs"
    terminal.await_text("hello from greeter")
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 0
    assert "***" not in terminal.seen, "make has nothing to complain of"
    assert "Traceback" not in terminal.seen
    assert witness.left() == []


def test_ctrl_z_does_not_leave_it_standing(witness: Witness) -> None:
    terminal = Terminal(witness)
    terminal.await_text("Following the log")
    os.write(terminal.master, b"\x1a\x03")
    assert terminal.end() == 0


def test_a_closed_terminal_ends_it(witness: Witness) -> None:
    terminal = Terminal(witness)
    terminal.await_text("Following the log")
    os.close(terminal.master)
    terminal.make.wait(60)
    witness.await_nothing()


def test_sigterm_to_make_ends_it(witness: Witness) -> None:
    terminal = Terminal(witness)
    terminal.await_text("Following the log")
    terminal.make.terminate()
    assert terminal.end() != 0
    witness.await_nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", ["manager.log", "io.arje", "sandbox"])
def test_a_signal_on_its_way_up_leaves_nothing(witness: Witness, moment: str, number: signal.Signals) -> None:
    words = [*witness.prefix(), sys.executable, "tools/run-examples"]
    run = subprocess.Popen(
        words, cwd=ROOT, env=environment(witness), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    started.add(run.pid)
    while run.poll() is None and not list(witness.base.glob(f"*/{moment}")):
        pass
    run.send_signal(number)
    assert run.wait(60) == 128 + number
    assert witness.left() == []


def test_a_reader_that_goes_away_leaves_nothing(witness: Witness) -> None:
    words = [*witness.prefix(), sys.executable, "tools/run-examples"]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(witness), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as run:
        started.add(run.pid)
        assert run.stdout is not None
        assert run.stdout.readline().startswith(b"arje ")
        run.stdout.close()
        run.wait(60)
    assert witness.left() == []


def test_when_it_is_killed_itself_the_manager_stops_all_the_same(witness: Witness) -> None:
    words = [*witness.prefix(), sys.executable, "tools/run-examples"]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(witness), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as run:
        started.add(run.pid)
        assert run.stdout is not None
        run.stdout.readline()
        run.kill()
    end = time.monotonic() + 30
    while any(left.startswith(("process", "cgroup")) for left in witness.left()):
        assert time.monotonic() < end, witness.left()
    for directory in witness.base.iterdir():  # nobody was left to remove it
        assert (directory / "manager.log").exists()
        subprocess.run(["chmod", "-R", "u+rwX", str(directory)], check=True)
        shutil.rmtree(directory)


def take(port: int) -> contextlib.AbstractContextManager[object]:
    """Take a port once other tests' examples have left it; a stranger who keeps it is as good."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    return contextlib.nullcontext()


def test_taken_ports_are_named_and_the_rest_runs(witness: Witness) -> None:
    with contextlib.ExitStack() as taken:
        for port in (8017, 8018):
            taken.enter_context(take(port))
        done = make_run(witness)
    assert done.returncode == 0
    assert "port 8017: Address already in use: expect web to fail" in done.stderr
    assert "port 8018: Address already in use: expect redis to fail" in done.stderr
    shows_everything(done.stdout)
    assert re.search(r" limits +running", done.stdout)


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of this checkout without what make builds, under a name that a careless script would split."""
    with tempfile.TemporaryDirectory(prefix="arje-test.") as place:  # not on /dev/shm, which may be noexec
        Path(place).chmod(0o755)
        where = Path(place, "a checkout")
        shutil.copytree(ROOT, where, ignore=NOT_SOURCE, symlinks=True)
        yield where


def make(where: Path, *words: str, prefix: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, "make", *words],
        cwd=where,
        env=environment(None, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_fresh_checkout_serves_an_ordinary_user(witness: Witness, checkout: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already, whose checkout the other tests ran in")
    where = checkout
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(where)], check=True)
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    built = make(where, "setup", prefix=user, HOME=str(where))
    assert built.returncode == 0, built.stdout + built.stderr
    before = (where / ".venv/.ready").stat().st_mtime_ns
    again = make(where, "setup", prefix=user, HOME=str(where))
    assert "Nothing to be done" in again.stdout
    assert (where / ".venv/.ready").stat().st_mtime_ns == before
    shown = make_run(witness, where, *user, HOME=str(where))
    assert shown.returncode == 0, shown.stderr
    shows_everything(shown.stdout)
    assert witness.left() == []
    tested = make(where, "test", "TESTS=tests/card", prefix=user, HOME=str(where))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def find(version: str) -> Path | None:
    """Return a working Python of this version, whatever `python3` is here (a shim of pyenv may not work)."""
    here = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for python in (*here, shutil.which(f"python{version}")):
        with contextlib.suppress(OSError):
            if python and subprocess.run([python, "-c", "import ensurepip"], capture_output=True).returncode == 0:
                return Path(python)
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_python_builds_arje_and_runs_the_examples(witness: Witness, checkout: Path, version: str) -> None:
    if sys.version.startswith(f"{version}."):
        pytest.skip(f"all the other tests run with Python {version}")
    python = find(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    venv = checkout / ".venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    install = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--editable", "."]
    built = subprocess.run(install, cwd=checkout, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    for stamp in (".ready", ".built"):
        (venv / stamp).touch()
    done = make_run(witness, checkout)
    assert done.returncode == 0, done.stderr
    shows_everything(done.stdout)


def test_a_python_that_is_too_old_is_named_before_anything_is_built(checkout: Path) -> None:
    old = next(filter(None, map(find, ("3.10", "3.9", "3.8", "3.7"))), None)
    if old is None:
        pytest.skip("no Python older than 3.11 here")
    refused = make(checkout, f"PYTHON={old}", "setup")
    assert refused.returncode != 0
    assert "arje needs Python 3.11, not 3." in refused.stderr
