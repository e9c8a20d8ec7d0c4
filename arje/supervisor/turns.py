"""Many lives that go on at once, a few per turn of the loop: each takes 10 kB until it settles, and the heap keeps holes.

So the first of a thousand services run before the last one's life has a task, and a thousand that are killed at once come
back in the room that sixteen need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

_AT_ONCE: Final = 16


class Turns:
    """Calls ``start`` for each label: at once for a few of them, in later turns for more."""

    def __init__(self, start: Callable[[str], None]) -> None:
        self._start = start
        self._this_turn = 0
        self._later: deque[str] = deque()

    def take(self, label: str, nursery: trio.Nursery) -> None:
        """Start somebody, now or as soon as it is its turn."""
        if self._this_turn < _AT_ONCE:
            self._this_turn += 1
            self._start(label)
            return
        self._later.append(label)
        if len(self._later) == 1:
            nursery.start_soon(self._run, name="turns")

    async def _run(self) -> None:
        while self._later:
            await trio.lowlevel.checkpoint()
            for _ in range(min(_AT_ONCE, len(self._later))):
                self._start(self._later[0])  # there for as long as this runs: a second one would be started else
                self._later.popleft()
        self._this_turn = 0
