"""How soon the hand answers: arjectl --help, and arjectl status with 1000 services, beside the start of bare Python.

arjectl is started as packages install it (tools/arjectl, -I -S), with the interpreter that runs this; its peer is that
interpreter told to do nothing. systemctl and supervisorctl are shown beside it where they are installed. Wall
time from fork to the end of the process, output to /dev/null; what the manager does meanwhile is part of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, cast

from bench.main import CannotRun
from bench.measure import figures, interleave, ratio, table

ROOT: Final = Path(__file__).resolve().parent.parent
SERVICES: Final = 1000
_BLOCK: Final = 3  # starts in a row
_CARD: Final = 'description = "Service number {number}"\n[payload]\nexec = "/bin/sleep"\nargv = ["infinity"]\n'
_OTHERS: Final = {"systemctl": ("systemctl", "--version"), "supervisorctl": ("supervisorctl", "--help")}


def measure(rounds: int) -> dict[str, object]:
    """Measure the hand and bare Python in turn. Raises CannotRun when the manager cannot be started."""
    here = {name: words for name, words in _OTHERS.items() if shutil.which(name)}
    with _manager(SERVICES) as (socket, launcher):
        arjectl = (sys.executable, "-I", "-S", str(launcher), "--socket", str(socket))
        commands = {
            "python": (sys.executable, "-I", "-S", "-c", "pass"),
            "help": (*arjectl, "--help"),
            "status": (*arjectl, "status"),
            "ping": (*arjectl, "ping"),
            **here,
        }
        _check((*arjectl, "status"))
        blocks = interleave(rounds, {name: _side(words) for name, words in commands.items()})
    return {
        "services": SERVICES,
        "figures": {name: figures(found) for name, found in blocks.items()},
        "ratio": {name: ratio(found, blocks["python"]) for name, found in blocks.items() if name != "python"},
        "absent": sorted(_OTHERS.keys() - here.keys()),
    }


def _side(words: tuple[str, ...]) -> Callable[[], list[int]]:
    return lambda: [_once(words) for _ in range(_BLOCK)]


def _once(words: tuple[str, ...]) -> int:
    """Run a command to its end; return the nanoseconds that it took. Raises CalledProcessError."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    began = time.perf_counter_ns()
    pid = os.posix_spawnp(words[0], words, os.environ, file_actions=null, setsigmask=())
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter_ns() - began
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), words)
    return took


def _check(words: tuple[str, ...]) -> None:
    """Raise CannotRun unless the table has a line for each service."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if len(done.stdout.splitlines()) != SERVICES + 2:
        raise CannotRun(f"arjectl status is not whole: {done.stdout[:200]!r} {done.stderr!r}")


@contextmanager
def _manager(count: int) -> Iterator[tuple[Path, Path]]:
    """Start a manager that keeps so many services; yields its socket, and a launcher of arjectl from this checkout."""
    directory = Path(mkdtemp(prefix="arje-bench-hand."))
    try:
        cards = directory / "cards"
        cards.mkdir()
        for number in range(count):
            (cards / f"s{number}.toml").write_text(_CARD.format(number=number))
        launcher = directory / "arjectl"
        launcher.write_text((ROOT / "tools/arjectl").read_text().replace("/usr/lib/python3/dist-packages", str(ROOT)))
        words = [sys.executable, "-m", "arje", "--user", "--cards", str(cards), "--runtime-dir", str(directory / "run")]
        with (directory / "log").open("w") as log, subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log) as manager:
            try:
                socket = directory / "run/io.arje"
                _await_all(manager, socket, directory / "log")
                yield socket, launcher
            finally:
                manager.terminate()
                manager.wait()
    finally:
        shutil.rmtree(directory)


def _await_all(manager: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    while not socket.exists():
        if manager.poll() is not None:
            raise CannotRun(f"arje did not start: {log.read_text()[-500:]}")
        time.sleep(0.05)
    wait = [sys.executable, "-m", "arje.ctl", "--socket", str(socket), "--timeout", "120", "-q", "wait"]
    subprocess.run(wait, cwd=ROOT, check=True)


def render(found: dict[str, object]) -> str:
    """Return the figures for people."""
    sides = cast(dict[str, dict[str, float]], found["figures"])
    ratios = cast(dict[str, dict[str, Any]], found["ratio"])
    names = {
        "python": "python -I -S -c pass",
        "help": "arjectl --help",
        "status": f"arjectl status, {SERVICES} services",
    }
    names |= {"ping": "arjectl ping", "systemctl": "systemctl --version", "supervisorctl": "supervisorctl --help"}
    rows: list[tuple[str, ...]] = [("milliseconds", "p10", "p50", "x (p10)", "x (p50)")]
    for name, side in sides.items():
        times = [f"{ratios[name][part]:.2f}" for part in ("p10", "p50")] if name in ratios else ["1", "1"]
        rows.append((names[name], *(f"{side[f'{part}_us'] / 1000:.1f}" for part in ("p10", "p50")), *times))
    return table(rows)
