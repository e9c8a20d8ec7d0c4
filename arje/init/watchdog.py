"""The hardware watchdog: a timer outside of us that resets the machine unless the loop says in time that it turns.

It is petted from the loop and from nowhere else: a loop that hangs must let it bite. Only a driver with "magic close"
(WDIOF_MAGICCLOSE) can be told to stop, by a ``V`` before the close; on a reboot it stays armed, so that a reboot that
hangs is ended as well (the kernel's watchdog-api).
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

import trio

from arje import log

LOG = log.logger()
DEVICES: Final = ("/dev/watchdog0", "/dev/watchdog")
_SETTIMEOUT: Final = 0xC0045706  # WDIOC_SETTIMEOUT
_OFTEN: Final = 3  # so many times within its time: one may be late


class Watchdog:
    """An armed watchdog; ``seconds`` is what its driver made of the wish. Raises OSError where there is none."""

    def __init__(self, seconds: float, path: str = "") -> None:
        self.path = path or next((each for each in DEVICES if os.access(each, os.W_OK)), DEVICES[0])
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        self.seconds = seconds
        try:
            answer = fcntl.ioctl(self._fd, _SETTIMEOUT, struct.pack("i", max(1, round(seconds))))
            self.seconds = float(struct.unpack("i", answer)[0])
        except OSError as error:  # a driver with a time of its own
            LOG.warning("the watchdog keeps its own time", device=self.path, error=error.strerror)

    def pet(self) -> None:
        """Say that the loop turns. Raises OSError."""
        os.write(self._fd, b"\0")

    def close(self, *, stop: bool) -> None:
        """Let go of it; ``stop``: by magic close, so that it bites no more."""
        try:
            if stop:
                os.write(self._fd, b"V")
        finally:
            os.close(self._fd)


async def pet(seconds: float, path: str = "") -> None:
    """Arm the watchdog and pet it until cancelled; where there is none, say so and rest.

    It stays armed when this ends: what follows is a shutdown, in which nobody pets it but the acts that get on.
    """
    try:
        dog = Watchdog(seconds, path)
    except OSError as error:
        LOG.error("there is no watchdog", wanted_s=seconds, error=str(error))
        return
    LOG.info("watchdog", device=dog.path, seconds=dog.seconds)
    keeper.dog = dog
    while True:
        dog.pet()
        await trio.sleep(dog.seconds / _OFTEN)


class Keeper:
    """The one watchdog of this process, for those who end it."""

    dog: Watchdog | None = None

    def pet(self) -> None:
        """Pet it, if there is one: an act of the shutdown has got on. Never raises."""
        if self.dog is not None:
            try:
                self.dog.pet()
            except OSError:
                self.dog = None

    def let_go(self, *, stop: bool) -> None:
        """Close it, if there is one. Never raises."""
        dog, self.dog = self.dog, None
        if dog is not None:
            try:
                dog.close(stop=stop)
            except OSError as error:
                LOG.warning("the watchdog was not stopped", error=error.strerror)


keeper: Final = Keeper()
