"""A real manager in a process of its own, on cards that a test writes, and the hand of a client on it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from arje.ctl.client import Client
from arje.init.runtime import cgroup_name
from arje.kernel import cgroup
from tests.zygote import Copy, ran

# A loaded machine is slow; that says nothing about the code.
settings.register_profile("arje", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("arje")

pytest_plugins = ["tests.spread"]
ROOT = Path(__file__).parent.parent
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
#: Whether a manager that a test starts finds a cgroup to make its own ones in.
HAS_CGROUP = (own := cgroup.own()) is not None and os.access(own, os.W_OK)
needs_cgroup = pytest.mark.skipif(not HAS_CGROUP, reason="no writable cgroup2 here")
#: For managers with ``user=True``: root becomes nobody for them, who has no cgroup; another user stays what he is.
no_cgroup = pytest.mark.skipif(HAS_CGROUP and os.geteuid() != 0, reason="this user has a delegated cgroup")


@functools.cache
def python_for_nobody(prefix: tuple[str, ...] = ()) -> tuple[str, dict[str, str]] | None:
    """Return an interpreter that an ordinary user may execute after ``prefix``, and its environment; None for none."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    debian = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    tries: list[tuple[str, dict[str, str]]] = [(sys.executable, {}), (debian, {"PYTHONPATH": f"{ROOT}:{site}"})]
    for python, more in tries:
        words = [
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            *prefix,
            python,
            "-c",
            "import arje.init.daemon",
        ]
        with contextlib.suppress(OSError):
            if subprocess.run(words, env=os.environ | more, capture_output=True, check=False).returncode == 0:
                return python, more
    return None


class Manager:
    """One manager. ``ctl`` runs arjectl as a person does, ``call`` speaks Varlink directly.

    It is a copy of one that has imported all (tests/zygote.py), but for ``fresh`` ones, ordinary users' and prefixed ones.
    """

    def __init__(
        self, directory: Path, *words: str, prefix: tuple[str, ...] = (), user: bool = False, fresh: bool = False
    ) -> None:
        self.directory = directory
        self.cards = directory / "cards"
        self.runtime = directory / "run"
        self.socket = self.runtime / "io.arje"
        self.cards.mkdir(exist_ok=True)
        read, write = os.pipe()
        self.log = (directory / "manager.log").open("wb+")
        own = ["--user", "--cards", str(self.cards), "--runtime-dir", str(self.runtime), "--ready-fd", str(write)]
        self.process = self._start([*own, *words], prefix, user, fresh, pass_fds=[write])
        os.close(write)
        ready = os.read(read, 1)
        os.close(read)
        if not ready:
            raise AssertionError(f"the manager did not start: {self.process.wait()}\n{self.said()}")
        self.client = Client(self.socket, 60)

    def _start(
        self, words: list[str], prefix: tuple[str, ...], user: bool, fresh: bool, **how: Any
    ) -> subprocess.Popen[Any]:
        how |= {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        environment = os.environ | {"HOME": str(self.directory)}
        if not (prefix or user or fresh):
            return Copy("arje", words, env=environment, **how)
        python, more = sys.executable, {}
        if user:
            found = python_for_nobody(prefix)
            if found is None:
                pytest.skip("no interpreter that user nobody may execute")
            python, more = found
            prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *prefix)
        return subprocess.Popen([*prefix, python, "-m", "arje", *words], env=environment | more, **how)

    def said(self) -> str:
        """What the manager itself logged."""
        return (self.directory / "manager.log").read_text(errors="replace")

    def await_said(self, text: str) -> None:
        """Wait until the manager has logged this; its log is written a moment later than things happen."""
        end = time.monotonic() + 30
        while text not in self.said():
            assert time.monotonic() < end, f"it never said {text!r}:\n{self.said()}"

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.client.call(method, **parameters)

    def show(self, label: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("List", labels=[label], full=True)["services"][0]
        return found

    def settle(self, *labels: str) -> dict[str, Any]:
        """Wait until nothing is on its way, and return the first service in full."""
        self.call("Wait", labels=list(labels))
        return self.show(labels[0]) if labels else {}

    def lines(self, label: str) -> list[str]:
        return [line["text"] for line in self.call("Logs", labels=[label], lines=1000)["lines"]]

    def written(self, label: str) -> None:
        """Wait until what the service has said is in its file: to read back more than memory holds, it is written first."""
        self.call("Logs", labels=[label], lines=10**6)

    def await_line(self, label: str, text: str) -> None:
        """Follow the log of a service until it says something."""
        client = Client(self.socket, 30)
        for reply in client.follow("Follow", labels=[label], lines=1000):
            if text in reply["line"]["text"]:
                break
        client.close()

    def until(self, label: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until a service looks so; the manager answers at its own speed."""
        end = time.monotonic() + 30
        while not what(found := self.show(label)):
            assert time.monotonic() < end, f"it never became so: {found}\n{self.said()}"
        return found

    def ctl(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return ran("arje.ctl", "--socket", str(self.socket), *words, timeout=timeout)

    def json(self, *words: str) -> Any:
        done = self.ctl("--json", *words)
        return json.loads(done.stdout)

    def json_lines(self, *words: str) -> list[Any]:
        """What a verb answers that has an object per line."""
        return [json.loads(line) for line in self.ctl("--json", *words).stdout.splitlines()]

    def write(self, label: str, text: str) -> None:
        """Write a card whole, as editors do: under another name, then renamed."""
        path = self.cards / f"{label}.toml"
        path.with_suffix(".tmp").write_text(text)
        path.with_suffix(".tmp").rename(path)

    def stop(self) -> int:
        """Tell it to stop and wait for its end."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        return code


def open_links(pid: int) -> list[str]:
    """Return what the descriptors of ``pid`` are, as /proc/PID/fd says it; one closed meanwhile is left out."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(fd))
    return found


def cgroups(name: str) -> list[str]:
    """Return the cgroups of this name below ours and its children: where processes that we start make theirs."""
    return [] if own is None else [str(path) for path in (own / name, *own.glob(f"*/{name}")) if path.exists()]


def left_over(manager: Manager) -> list[str]:
    """What a manager has left behind: cgroups, mounts, processes."""
    groups = cgroups(cgroup_name(manager.runtime, user=True))
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(manager.directory) in line]
    return groups + mounts


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that ordinary users may enter and overlayfs can write to."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="arje-test.", dir=base))
    directory.chmod(0o755)
    yield directory
    for work in directory.glob("**/work/work"):  # overlayfs leaves it without permissions
        work.chmod(0o700)
    shutil.rmtree(directory)


@pytest.fixture
def manage(place: Path) -> Iterator[Callable[..., Manager]]:
    """Start a manager on cards (label → TOML). It must end well and leave nothing behind."""
    started: list[Manager] = []

    def start(
        cards: dict[str, str], *words: str, prefix: tuple[str, ...] = (), user: bool = False, fresh: bool = False
    ) -> Manager:
        directory = place / str(len(started))
        directory.mkdir()
        (directory / "cards").mkdir()
        for label, text in cards.items():
            (directory / "cards" / f"{label}.toml").write_text(text)
        if user and os.geteuid() == 0:
            for path in (directory, directory / "cards"):
                os.chown(path, NOBODY, NOBODY)
        manager = Manager(directory, *words, prefix=prefix, user=user and os.geteuid() == 0, fresh=fresh)
        started.append(manager)
        return manager

    yield start
    for manager in started:
        code = manager.stop()
        assert code == 0, manager.said()
        assert "Traceback" not in manager.said(), manager.said()
        assert left_over(manager) == []


def sh(script: str, soma: str = "", rest: str = "") -> str:
    """Return a card that runs a shell script."""
    words = json.dumps(["-c", script])
    return f'{rest}\n[payload]\nexec = "/bin/sh"\nargv = {words}\n[soma]\n{soma}\n'
