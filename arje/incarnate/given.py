"""What one incarnation gets besides what its card says: descriptors, variables, and its own pid.

These are the supervisor's: listening sockets and stored descriptors, the readiness socket's name, a watchdog's interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """``fds`` become 3, 4 and so on, and stay the caller's. ``env`` wins over the card's. ``pid_variables`` are the names
    of variables that hold the payload's pid as it sees it itself (``LISTEN_PID`` of sd_listen_fds(3))."""

    env: tuple[tuple[str, str], ...] = ()
    pid_variables: tuple[str, ...] = ()
    fds: tuple[int, ...] = field(default=(), compare=False)


#: Nothing.
NOTHING: Final = Given()
