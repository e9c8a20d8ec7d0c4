"""The command: which benchmarks there are, and running one of them."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final, Protocol, cast

from arje.card.nearest import nearest
from bench.measure import STOPPING, Interrupted, machine

#: The modules of this package that are benchmarks, in the order in which they are listed.
BENCHMARKS: Final = ("spawn", "sandbox", "supervise", "boot", "hand")


class Benchmark(Protocol):
    """What a benchmark's module has. The first line of its docstring is what the list says."""

    def measure(self, rounds: int) -> dict[str, object]:
        """Run it and return its figures, fit for JSON. Raises CannotRun, and Interrupted when it is told to stop."""

    def render(self, figures: dict[str, object]) -> str:
        """Return the figures for people."""


class CannotRun(Exception):
    """This machine or this user cannot run the benchmark; the text says why and what would mend it."""


def summary(name: str) -> str:
    """Return a benchmark's one line, without importing it."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def main(words: list[str]) -> int:
    """Run the command and return its exit status: 2 for a wrong word, 1 when the benchmark cannot run here."""
    parser = argparse.ArgumentParser("bench/run", description="Measures arje, and its peers beside it.")
    parser.add_argument("name", nargs="?", help="the benchmark; without it, they are listed")
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object")
    parser.add_argument(
        "--rounds", type=int, default=100, metavar="N", help="how many alternating rounds (default: 100)"
    )
    asked = parser.parse_args(words)
    if asked.name is None:
        for name in BENCHMARKS:
            print(f"{name:10}{summary(name)}")
        return 0
    if asked.name not in BENCHMARKS:
        close = nearest(asked.name, BENCHMARKS)
        parser.error(f"no benchmark {asked.name!r}" + (f"; did you mean {close!r}?" if close else ""))
    if asked.rounds < 1:
        parser.error("--rounds: at least one")
    return _run(asked.name, asked.rounds, words, as_json=asked.json)


def _run(name: str, rounds: int, words: list[str], *, as_json: bool) -> int:
    """Signals stay blocked for the whole run and are looked for between blocks: none arrives half-way through a spawn."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    benchmark = cast(Benchmark, importlib.import_module(f"bench.{name}"))
    try:
        figures = benchmark.measure(rounds)
    except CannotRun as error:
        print(f"bench/run {name}: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:  # all is cleaned: now die of it, as the shell expects
        signal.signal(interrupted.signal, signal.SIG_DFL)
        os.kill(os.getpid(), interrupted.signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return 128 + interrupted.signal
    whole = {"benchmark": name, "command": ["bench/run", *words], "machine": machine(), "rounds": rounds, **figures}
    print(json.dumps(whole) if as_json else benchmark.render(whole))
    return 0
