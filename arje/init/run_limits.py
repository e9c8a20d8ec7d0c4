"""The options of ``arje run`` that limit the command: the names of ``arjectl set``, and a time after which it is ended."""

from __future__ import annotations

import argparse
import os
import signal
import time
from dataclasses import replace
from typing import Final

from arje.card import live, normalise
from arje.card.limits import CgroupLimits
from arje.card.soma import Soma
from arje.card.unreadable import Unreadable
from arje.errors import CardError, CardProblem
from arje.incarnate.outcome import Outcome

TIMED_OUT: Final = 124  # as timeout(1)
_GRACE: Final = 5.0  # seconds between TERM and KILL

#: Option → the limit it sets (card/live.py), the word for its value, and what it is.
_OPTIONS: Final = {
    "--memory-max": ("memory_max", "BYTES", "memory of all its processes: 256M"),
    "--pids-max": ("pids_max", "N", "processes and threads"),
    "--cpu-max": ("cpu_max", "PERCENT", 'CPU time: 50%%, or "QUOTA PERIOD"'),
    "--nice": ("nice", "N", "-20 to 19"),
    "--ioprio": ("ioprio", "CLASS[:N]", "realtime:0-7, best-effort:0-7 or idle"),
    "--scheduler": ("scheduler", "POLICY[:N]", "batch, idle, other, fifo:1-99 or rr:1-99"),
    "--oom-score-adj": ("oom_score_adj", "N", "-1000 to 1000"),
    "--cpus": ("cpu_affinity", "LIST", "CPUs that it may run on: 0,1 or 0-3"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("limits")
    for option, (name, word, about) in _OPTIONS.items():
        group.add_argument(option, metavar=word, help=about, dest=f"limit_{name}")
    group.add_argument(
        "--rlimit",
        action="append",
        default=[],
        metavar="NAME=SOFT[:HARD]",
        help="a limit of setrlimit(2): nofile=64; may be repeated",
    )
    group.add_argument(
        "--timeout", metavar="TIME", help=f"send TERM after this time, then KILL; exit status {TIMED_OUT}"
    )


def merged(soma: Soma, options: argparse.Namespace) -> Soma:
    """Return the soma with the limits of the options over its own. Raises CardError."""
    chosen = {name: getattr(options, f"limit_{name}") for name, _, _ in _OPTIONS.values()}
    changes = {name: value for name, value in chosen.items() if value is not None}
    for word in options.rlimit:
        name, _, value = word.partition("=")
        changes[f"rlimit.{name}"] = value
    if not changes:
        return soma
    asked = live.read(changes, "arje run")
    rlimits = {limit[0]: limit for limit in (*soma.rlimits, *asked.rlimits)}
    mine = {name: getattr(asked, name) for name in live.OF_SOMA if getattr(asked, name) not in (None, ())}
    return replace(soma, rlimits=tuple(rlimits.values()), cgroup=_over(soma.cgroup, asked.cgroup), **mine)


def _over(below: CgroupLimits | None, above: CgroupLimits | None) -> CgroupLimits | None:
    if below is None or above is None:
        return above or below
    return replace(below, **{name: value for name in live.OF_CGROUP if (value := getattr(above, name)) is not None})


def seconds(text: str | None) -> float | None:
    """Return the time of ``--timeout`` in seconds; None for none. Raises CardError."""
    if text is None:
        return None
    try:
        found = normalise.duration(text, "--timeout")
        if found > 0:
            return float(found)
        raise Unreadable("--timeout", "it is no time at all", "write 5, or 200ms")
    except Unreadable as error:
        raise CardError([CardProblem("arje run", 0, "--timeout", str(error), error.remedy)]) from error


class Deadline:
    """The end of a command's time, once it has begun: TERM then, and KILL to all of it when it does not heed that."""

    def __init__(self, length: float | None, *, with_parent: bool = False) -> None:
        self.passed = False
        self.parent = _parent() if with_parent else -1
        """Tells the end of who started us; -1 when that does not matter."""
        self._next = None if length is None else time.monotonic() + length

    @property
    def left_ms(self) -> float | None:
        """Milliseconds until something is to be done; None for never."""
        return None if self._next is None else max(0.0, self._next - time.monotonic()) * 1000

    def look(self, outcome: Outcome) -> None:
        """Do what is due."""
        if self._next is None or time.monotonic() < self._next:
            return
        if self.passed:
            outcome.kill_tree()
        else:
            outcome.signal_main(signal.SIGTERM)
        self.passed = True
        self._next = time.monotonic() + _GRACE


def _parent() -> int:
    """Return a pidfd of who started us; -1 for one in another pid namespace."""
    try:
        return os.pidfd_open(os.getppid())
    except OSError:
        return -1
