"""Figures that can be believed: small blocks in alternating order, medians, and ratios with their spread.

The noise of a shared machine is larger than what is to be told apart, so figures are compared only within one
interleaved run, and a ratio is shown with the spread that it had from round to round.
"""

from __future__ import annotations

import os
import platform
import signal
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from arje import __version__

#: What ends a benchmark early. Blocked while it runs, and looked for between blocks.
STOPPING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

#: The samples of one side in nanoseconds, one list for each round.
Blocks = list[list[int]]

Sample = TypeVar("Sample")


class Interrupted(Exception):
    """One of STOPPING is pending."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


def stop_if_asked() -> None:
    """Raises Interrupted when one of STOPPING is pending."""
    for pending in signal.sigpending() & STOPPING:
        raise Interrupted(signal.Signals(pending))


def interleave(rounds: int, sides: Mapping[str, Callable[[], list[Sample]]]) -> dict[str, list[list[Sample]]]:
    """Call each side once in each round, in alternating order (A B, B A, …); one round before the first warms up.

    Raises Interrupted.
    """
    found: dict[str, list[list[Sample]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in sides if number % 2 else reversed(list(sides)):
            stop_if_asked()
            try:
                block = sides[name]()
            except Exception:
                stop_if_asked()  # a peer dies of the same Ctrl-C
                raise
            if number > 0:
                found[name].append(block)
    return found


def quantile(samples: Sequence[float], part: float) -> float:
    """Return the sample below which ``part`` of all lie (nearest rank)."""
    return sorted(samples)[round((len(samples) - 1) * part)]


def figures(blocks: Blocks) -> dict[str, float]:
    """Return the number of samples and their 10th, 50th and 90th percentile in microseconds."""
    samples = [sample / 1000 for block in blocks for sample in block]
    cuts = {f"p{percent}_us": round(quantile(samples, percent / 100), 1) for percent in (10, 50, 90)}
    return {"samples": len(samples), **cuts}


def ratio(blocks: Blocks, base: Blocks) -> dict[str, float]:
    """Return how many times ``base`` the other is.

    ``p50`` and ``p10`` compare these of all samples; on a busy machine p10 is the one that means something.
    ``rounds_p10`` to ``rounds_p90`` is how the ratio of the medians was spread over the rounds.
    """
    mine, other = figures(blocks), figures(base)
    rounds = [statistics.median(one) / statistics.median(two) for one, two in zip(blocks, base, strict=True)]
    spread = {f"rounds_p{percent}": round(quantile(rounds, percent / 100), 3) for percent in (10, 50, 90)}
    return {name: round(mine[f"{name}_us"] / other[f"{name}_us"], 3) for name in ("p50", "p10")} | spread


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows with aligned columns, the first to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Return what the figures depend on: kernel, processors, what else ran (load of the last minute), Python, arje."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": model[0].partition(":")[2].strip() if model else "",
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "arje": __version__,
    }
