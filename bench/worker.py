"""Other processes that are asked for samples in turn: one line with a count in, one JSON line out, until EOF.

``python -m bench.worker arje MEGABYTES`` spawns from a process of that size, ``python -m bench.worker crun DIRECTORY``
runs crun from a mount namespace in which it can work, ``box DIRECTORY`` does so with the full sandbox.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from arje.kernel import process
from bench import boxes, peers, site
from bench.main import CannotRun
from bench.measure import STOPPING

ROOT = Path(__file__).resolve().parent.parent


class Worker:
    """The hand of the asking process on a worker. ``hello`` is what it said first."""

    def __init__(self, started: subprocess.Popen[str]) -> None:
        assert started.stdin is not None
        assert started.stdout is not None
        self._stdin: IO[str] = started.stdin
        self._stdout: IO[str] = started.stdout
        self.hello: dict[str, Any] = self._answer()

    def ask(self, count: int) -> list[Any]:
        """Return that many samples in nanoseconds. Raises CannotRun when the worker has ended."""
        self._stdin.write(f"{count}\n")
        self._stdin.flush()
        samples: list[Any] = self._answer()
        return samples

    def _answer(self) -> Any:
        line = self._stdout.readline()
        if not line:
            raise CannotRun("a worker ended early; what it said is above")
        return json.loads(line)


@contextlib.contextmanager
def started(*words: str, prefix: Sequence[str] = ()) -> Iterator[Worker]:
    """Start a worker; it ends, and cleans, when its stdin does. The signals that are blocked here are blocked there."""
    command = [*prefix, sys.executable, "-m", "bench.worker", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield Worker(running)


def resident() -> int:
    """Return how many bytes of this process are in memory (proc(5): VmRSS)."""
    return int(process.status("self")["VmRSS"].split()[0]) * 1024


def grow(size: int) -> mmap.mmap:
    """Return touched memory that makes this process ``size`` bytes large; in small pages, the dearest to copy."""
    ballast = mmap.mmap(-1, max(mmap.PAGESIZE, size - resident()), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ballast.madvise(mmap.MADV_NOHUGEPAGE)
    for offset in range(0, len(ballast), mmap.PAGESIZE):
        ballast[offset] = 1
    return ballast


def serve(samples: Callable[[int], list[Any]], **hello: object) -> None:
    """Answer until EOF."""
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        try:
            print(json.dumps(samples(int(line))), flush=True)
        except (subprocess.CalledProcessError, BrokenPipeError):
            if signal.sigpending() & STOPPING:
                return  # it died of the same Ctrl-C
            raise


def main(kind: str, argument: str) -> None:
    """Be a worker."""
    if kind in ("crun", "box"):
        crun = (boxes if kind == "box" else peers).enter_bundle(Path(argument))
        serve(lambda count: [peers.life(crun) for _ in range(count)])
    else:
        with site.opened() as here:
            here.to_exec(1)  # what is loaded at the first spawn counts as arje's own
            ballast = grow(int(argument) << 20)
            serve(here.to_exec, rss_mb=resident() >> 20)
            ballast.close()


if __name__ == "__main__":
    os.set_inheritable(0, False)
    main(*sys.argv[1:])
