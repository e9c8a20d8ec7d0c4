"""The time of each step of a start: when it ended, by our clock and by the child's, which is the same clock."""

from __future__ import annotations

import time
from array import array

from arje.incarnation import SETUP_STEPS, StepTimes


class Stopwatch:
    """Marks of CLOCK_MONOTONIC in nanoseconds, from the first to the last."""

    __slots__ = ("_began", "_marks")

    def __init__(self) -> None:
        self._began = time.monotonic_ns()
        self._marks: dict[str, int] = {}

    def mark(self, step: str, at: int = 0) -> None:
        """Say that a step has ended now, or ``at``. Said twice, the first counts."""
        self._marks.setdefault(step, at or time.monotonic_ns())

    def ended(self, step: str) -> float:
        """Return when it did, in seconds of CLOCK_MONOTONIC; 0 when it did not."""
        return self._marks.get(step, 0) / 1e9

    @property
    def total_ms(self) -> float:
        """Milliseconds from the beginning to the last mark."""
        return (max(self._marks.values(), default=self._began) - self._began) / 1e6

    def steps(self) -> StepTimes:
        """Return each step with its milliseconds.

        A child in a time namespace has another clock: a mark that is not between its neighbours is left out, and its time
        is in the next one's.
        """
        before, last = self._began, max(self._marks.values(), default=self._began)
        times = array("f")
        for step in SETUP_STEPS:
            at = self._marks.get(step, 0)
            known = before <= at <= last
            times.append((at - before) / 1e6 if known else -1.0)
            before = at if known else before
        return StepTimes(times.tobytes())
