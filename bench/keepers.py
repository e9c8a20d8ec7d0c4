"""Supervisors to be measured, each told to keep the same N services: runit, s6, supervisord, circus, and arje itself.

A service is one static program without libc that writes its pid to a FIFO and sleeps for ever. What a supervisor costs is
then the supervisor's alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {"s6-svscan": "s6", "runsvdir": "runit", "supervisord": "supervisor"}
#: Where circus is, which is on PyPI only: ``pip install circus`` into an environment, and this variable names its bin.
CIRCUS: Final = "ARJE_BENCH_CIRCUS"
#: Byte code is kept, as where a program is installed.
_ENVIRONMENT: Final = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"} | {
    "PYTHONPATH": str(ROOT)
}
_LONGEST: Final = 120.0  # seconds until somebody counts as not coming

_PROGRAM: Final = r"""
static long call(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
void _start(void) {
    int pid = (int)call(39, 0, 0, 0), fd = (int)call(2, (long)FIFO, 1, 0);
    call(1, fd, (long)&pid, sizeof pid);
    call(3, fd, 0, 0);
    for (;;)
        call(34, 0, 0, 0);
}
"""


@dataclass(frozen=True)
class Keeper:
    """A supervisor: ``prepare`` makes what it reads for so many services and returns its command."""

    name: str
    prepare: Callable[[Path, Path, int], tuple[str, ...]]
    absent: str = ""
    twice: bool = False
    """Whether what counts is the second start: the first has compiled what it was given to read."""


class Place:
    """A directory with the program, and the FIFO on which services tell their pids."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fifo = directory / "fifo"
        self.program = directory / "service"
        os.mkfifo(self.fifo)
        self._fd = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        source = directory / "service.c"
        source.write_text(_PROGRAM.replace("FIFO", json.dumps(str(self.fifo))))
        flags = ("-O2", "-static", "-nostdlib", "-fno-stack-protector", "-ffreestanding")
        subprocess.run(["gcc", *flags, "-o", str(self.program), str(source)], check=True)

    def pids(self, count: int) -> list[int]:
        """Wait until so many services have told their pid. Raises TimeoutError."""
        found, end = b"", time.monotonic() + _LONGEST
        while len(found) < 4 * count:
            if not select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{len(found) // 4} of {count} services came")
            found += os.read(self._fd, 65536)
        return [pid for (pid,) in struct.iter_unpack("i", found)]

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Make a place in memory, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="arje-bench.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    made = Place(directory)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)


class Running:
    """A supervisor that runs. Its processes are those below it that are no services."""

    def __init__(self, keeper: Keeper, where: Place, count: int) -> None:
        self._directory = Path(tempfile.mkdtemp(dir=where.directory))
        command = keeper.prepare(self._directory, where.program, count)
        self._where = where
        if keeper.twice:
            self._start(command)
            where.pids(count)
            time.sleep(0.5)
            self.process.terminate()
            self.process.wait()
        began = time.perf_counter_ns()
        self._start(command)
        try:
            self.services = where.pids(count)
        except BaseException:
            self.close()
            raise
        self.up_ns = time.perf_counter_ns() - began

    def _start(self, command: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_ENVIRONMENT | {"HOME": str(self._directory)},
        )

    def below(self) -> list[int]:
        """Every process below the supervisor, itself included."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def memory(self) -> int:
        """Proportional memory (PSS) of the supervisor's own processes in bytes."""
        total = 0
        services = set(self.services)
        for pid in self.below():
            if pid in services:
                continue
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def wakeups(self) -> int:
        """How often the supervisor's own processes have been switched to, so far (proc_pid_status(5))."""
        total = 0
        for pid in set(self.below()) - set(self.services):
            for task in Path(f"/proc/{pid}/task").iterdir():
                text = (task / "status").read_text()
                total += sum(int(line.split()[1]) for line in text.splitlines() if "_ctxt_switches" in line)
        return total

    def again(self, count: int) -> int:
        """Kill so many services at once; return the nanoseconds until as many are back."""
        victims, kept = self.services[:count], self.services[count:]
        began = time.perf_counter_ns()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        back = self._where.pids(count)
        took = time.perf_counter_ns() - began
        self.services = [*kept, *back]
        return took

    def close(self) -> None:
        """Kill the supervisor and all that is below it."""
        below = self.below()  # the supervisor first: who would start them again is stopped before they go
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in {*below, *self.below()} - {self.process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def keepers() -> list[Keeper]:
    """Every supervisor, arje first; those that are not here say why."""
    circus = os.environ.get(CIRCUS, "")
    no_circus = (
        "" if circus and Path(circus, "circusd").exists() else f"circus is not here: pip install it, set {CIRCUS}"
    )
    return [
        Keeper("arje", _arje, twice=True),
        Keeper("runit", _runit, _absent("runsvdir")),
        Keeper("s6", _s6, _absent("s6-svscan")),
        Keeper("supervisord", _supervisord, _absent("supervisord")),
        Keeper("circus", _circus, no_circus),
    ]


def _absent(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed; apt install {PACKAGES[program]}"


def _arje(directory: Path, program: Path, count: int) -> tuple[str, ...]:
    cards = directory / "cards"
    cards.mkdir()
    for number in range(count):
        (cards / f"s{number}.toml").write_text(
            f'[payload]\nexec = "{program}"\n[supervision]\nrestart = "always"\ninitial = 0\nmax = 0\n'
            "rate_limit = {starts = 0}\n"
        )
    _compile(cards, directory / "run")
    return (sys.executable, "-m", "arje", "--user", "--cards", str(cards), "--runtime-dir", str(directory / "run"))


def _compile(cards: Path, runtime: Path) -> None:
    """Leave the compiled cards there, as every manager does: what is measured is not the first start after an upgrade."""
    code = (
        "import sys; from pathlib import Path; from arje.card import cache, shelf, specifiers; from arje import paths\n"
        "memory = shelf.Memory(specifiers.Surroundings(user=True))\n"
        "shelf.load_dirs([Path(sys.argv[1])], memory)\n"
        "cache.save(Path(sys.argv[2], paths.CACHE_NAME), memory.known)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(cards), str(runtime)], check=True, cwd=ROOT)


def _runit(directory: Path, program: Path, count: int) -> tuple[str, ...]:
    for number in range(count):
        one = directory / f"sv/s{number}"
        one.mkdir(parents=True)
        (one / "run").symlink_to(program)
    return ("runsvdir", str(directory / "sv"))


def _s6(directory: Path, program: Path, count: int) -> tuple[str, ...]:
    for number in range(count):
        one = directory / f"sv/s{number}"
        one.mkdir(parents=True)
        (one / "run").symlink_to(program)
    return ("s6-svscan", "-c", str(max(1000, count) + 100), str(directory / "sv"))


def _supervisord(directory: Path, program: Path, count: int) -> tuple[str, ...]:
    lines = [
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid\nminfds=20000\n"
    ]
    rest = "autorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
    lines += [f"[program:s{number}]\ncommand={program}\n{rest}" for number in range(count)]
    (directory / "conf").write_text("\n".join(lines))
    return ("supervisord", "-c", str(directory / "conf"))


def _circus(directory: Path, program: Path, count: int) -> tuple[str, ...]:
    ends = "\n".join(f"{name} = ipc://{directory}/{name}" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint"))
    lines = [f"[circus]\ncheck_delay = 1\n{ends}\n"]
    lines += [f"[watcher:s{number}]\ncmd = {program}\nmax_retry = -1\n" for number in range(count)]
    (directory / "circus.ini").write_text("\n".join(lines))
    return (str(Path(os.environ[CIRCUS], "circusd")), "--log-level", "CRITICAL", str(directory / "circus.ini"))
