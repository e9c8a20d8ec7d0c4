"""The pipes between services: held by arje, so that they outlive both ends. What is in one waits for the next life.

As arje holds both ends open, no reader sees an end of file while producers come and go, and no writer a broken pipe while
the consumer does: it waits, once the pipe is full. Each life gets descriptions of its own of the ends (``/proc/self/fd``
opens a pipe anew), so that O_NONBLOCK, which belongs to the description (open(2)), does not pass from one to the next.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import termios
from collections.abc import Collection

from arje.card.card import Card
from arje.service.pipeline import consumers


class Pipes:
    """One pipe per consumer, made when it is first asked for.

    ``consumers``: who reads, as the cards have it; ``known``: every service, as who reads may not be there.
    """

    def __init__(self) -> None:
        self.consumers: frozenset[str] = frozenset()
        self.known: frozenset[str] = frozenset()
        self._pipes: dict[str, tuple[int, int]] = {}

    def set_cards(self, cards: Collection[Card]) -> None:
        """Learn who reads from whom. A pipe that nobody needs any more stays until its consumer's card goes."""
        self.consumers = consumers(cards)
        self.known = frozenset(card.label for card in cards)

    def reading(self, consumer: str) -> int:
        """Return a new descriptor of the end that a consumer reads. Raises OSError."""
        return os.open(f"/proc/self/fd/{self._pipe(consumer)[0]}", os.O_RDONLY | os.O_CLOEXEC)

    def writing(self, consumer: str) -> int:
        """Return a new descriptor of the end that the producers of a consumer write to. Raises OSError."""
        return os.open(f"/proc/self/fd/{self._pipe(consumer)[1]}", os.O_WRONLY | os.O_CLOEXEC)

    def waiting(self, consumer: str) -> int:
        """Return how many bytes are in a consumer's pipe: nobody has read them yet (FIONREAD, ioctl_pipe(2))."""
        if consumer not in self._pipes:
            return 0
        found = array.array("i", [0])
        fcntl.ioctl(self._pipes[consumer][0], termios.FIONREAD, found)
        return found[0]

    def _pipe(self, consumer: str) -> tuple[int, int]:
        if consumer not in self._pipes:
            self._pipes[consumer] = os.pipe2(os.O_CLOEXEC)
        return self._pipes[consumer]

    def forget(self, consumer: str) -> None:
        """Close the pipe of a consumer whose card is gone."""
        for fd in self._pipes.pop(consumer, ()):
            with contextlib.suppress(OSError):
                os.close(fd)

    def close(self) -> dict[str, int]:
        """Close every pipe; return how many bytes in each are lost with it: nobody has read them."""
        lost = {consumer: count for consumer in self._pipes if (count := self.waiting(consumer))}
        for consumer in list(self._pipes):
            self.forget(consumer)
        return lost
