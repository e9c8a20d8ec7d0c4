"""``vm/run``, as somebody at a terminal has it: their own cards, memory and processors, a login, and off."""

from __future__ import annotations

import os
import platform
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

LIMIT = 120.0


class Console:
    """A ``vm/run`` and what it says."""

    def __init__(self, *words: str) -> None:
        self.said = ""
        self.process = subprocess.Popen([ROOT / "vm/run", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def expect(self, text: str) -> None:
        assert self.process.stdout is not None
        end = time.monotonic() + LIMIT
        while text not in self.said:
            assert select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0], self.said
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, self.said
            self.said += data.decode(errors="replace").replace("\r", "")

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()


def test_it_boots_ones_own_cards_to_a_login_and_goes_off(tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"the virtual machine is built for x86-64, not for {platform.machine()}")
    (tmp_path / "mine.toml").write_text('[payload]\nexec = "/bin/sleep"\nargv = ["1000"]\n')
    console = Console("--cards", str(tmp_path), "--memory", "300M", "--cpus", "2", "arje.hostname=mine")
    try:
        if console.process.poll() == 77:
            pytest.skip("no machine is to be had here")
        console.expect("mine login: ")
        console.type("root\n")
        console.expect("# ")
        console.type("arjectl status; nproc; free -m; echo do''ne\n")
        console.expect("done\n")
        assert "mine" in console.said.partition("SERVICE")[2]
        assert "\n2\n" in console.said
        console.type("arjectl poweroff\n")
        assert console.process.wait(LIMIT) == 0, console.said
    finally:
        console.process.kill()
        console.process.communicate()


def test_what_is_not_there_is_said_at_once() -> None:
    done = subprocess.run([ROOT / "vm/run", "--cards", "/nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "vm/run: /nowhere: there is no such file or directory\n"
