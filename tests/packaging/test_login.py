"""A user's own manager from the first login to the end of the last, without systemd: real login shells of sh."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Client

CARD = '[payload]\nexec = "/bin/sleep"\nargv = ["infinity"]\n'


class Home:
    """A user's home with cards, where arje-login is on the PATH as a package puts it there."""

    def __init__(self, place: Path) -> None:
        self.runtime = place / "arje"
        cards = place / ".config/arje/cards.d"
        cards.mkdir(parents=True)
        (cards / "still.toml").write_text(CARD)
        bin = place / "bin"
        bin.mkdir()
        for name in ("arje", "arjectl"):
            module = "arje" if name == "arje" else "arje.ctl"
            (bin / name).write_text(f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m {module} "$@"\n')
        login = (ROOT / "ship/login/arje-login").read_text().replace("#!python", f"#!{sys.executable}", 1)
        (bin / "arje-login").write_text(login)
        for path in bin.iterdir():
            path.chmod(0o755)
        self.environment = {
            "HOME": str(place),
            "XDG_RUNTIME_DIR": str(place),
            "PATH": f"{bin}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        }
        self.shells: list[subprocess.Popen[bytes]] = []

    def login(self) -> subprocess.Popen[bytes]:
        """Start a shell that reads what a login shell reads, and lives until its input ends."""
        words = ["/bin/sh", "-c", f". {ROOT}/ship/login/arje.sh; cat; :"]
        shell = subprocess.Popen(words, env=self.environment, stdin=subprocess.PIPE, start_new_session=True)
        self.shells.append(shell)
        return shell

    def manager(self) -> int:
        """Wait until a manager answers, and return its pid."""
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(Exception):
                return int(Client(self.runtime / "io.arje", 30).call("Ping")["pid"])
            assert time.monotonic() < end, "no manager came"
            select.select([], [], [], 0.02)


def logout(shell: subprocess.Popen[bytes]) -> None:
    assert shell.stdin is not None
    shell.stdin.close()
    shell.wait(10)


def ended(pid: int, seconds: float) -> bool:
    """Return whether a process ends within this time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    return bool(select.select([handle], [], [], seconds)[0])


@pytest.fixture
def home(place: Path) -> Iterator[Home]:
    made = Home(place)
    yield made
    for shell in made.shells:
        logout(shell)


def holders(home: Home) -> Callable[[], int]:
    """Return a count of the processes that have the file of logins open."""
    file = str(home.runtime / "logins")

    def count() -> int:
        found = 0
        for fds in Path("/proc").glob("[0-9]*/fd"):
            with contextlib.suppress(OSError):
                found += any(os.readlink(fd) == file for fd in fds.iterdir())
        return found

    return count


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        select.select([], [], [], 0.02)


def test_the_first_login_starts_a_manager_and_the_end_of_the_last_one_stops_it(home: Home) -> None:
    first = home.login()
    pid = home.manager()
    count = holders(home)
    second = home.login()
    until(lambda: count() == 2)
    logout(first)
    until(lambda: count() == 1)
    assert home.manager() == pid
    logout(second)
    assert ended(pid, 30)
    third = home.login()  # and the next one starts another
    assert home.manager() != pid
    again = home.manager()
    logout(third)
    assert ended(again, 30)


def test_a_manager_that_somebody_else_started_outlives_the_logins(home: Home) -> None:
    read, write = os.pipe()
    words = [sys.executable, "-m", "arje", "--user", "--ready-fd", str(write)]
    with subprocess.Popen(
        words, env=home.environment, pass_fds=[write], stderr=subprocess.DEVNULL, cwd=ROOT
    ) as manager:
        os.close(write)
        try:
            assert os.read(read, 1) == b"\n"
            shell = home.login()
            count = holders(home)
            until(lambda: count() == 1)
            assert home.manager() == manager.pid
            logout(shell)
            until(lambda: count() == 0)
            assert manager.poll() is None
        finally:
            os.close(read)
            manager.terminate()


def test_who_has_no_cards_has_no_manager(home: Home) -> None:
    (Path(home.environment["HOME"]) / ".config/arje/cards.d").rename(Path(home.environment["HOME"]) / "elsewhere")
    logout(home.login())
    assert not home.runtime.exists()


@pytest.mark.parametrize("unit", ["system", "user"])
def test_systemd_understands_the_units(unit: str, place: Path) -> None:
    from tests.test_linters import need

    text = (ROOT / f"ship/units/arje.{unit}.service").read_text()
    (place / "arje.service").write_text(text.replace("/usr/bin/arje", "/bin/true"))
    words = [need("systemd-analyze"), "verify", "--man=no", str(place / "arje.service")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
