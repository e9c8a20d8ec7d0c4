"""The door to a timer that tells when CLOCK_REALTIME is set (timerfd_create(2))."""

from __future__ import annotations

import errno
import os

from arje.native import _check, _lib


def watch() -> int:
    """Return a non-blocking descriptor that is readable when CLOCK_REALTIME was set or the machine has slept.

    Read it with :func:`was_set`. Raises OSError (timerfd_create(2)).
    """
    return _check(_lib.arje_clock_watch())


def was_set(fd: int) -> bool:
    """Whether the clock was set since the last call. Raises OSError."""
    try:
        os.read(fd, 8)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.ECANCELED:
            raise
    return True
