"""Where arje keeps things: the well-known directories and the names inside them. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SYSTEM_RUNTIME: Final = Path("/run/arje")
SYSTEM_STATE: Final = Path("/var/lib/arje")
SYSTEM_CARDS: Final = (Path("/usr/lib/arje/cards.d"), Path("/etc/arje/cards.d"), Path("/run/arje/cards.d"))
SOCKET_NAME: Final = "io.arje"
LOCK_NAME: Final = "lock"
LOGS_NAME: Final = "logs"
TIMERS_NAME: Final = "timers"

#: Environment variable that names the control socket, for arjectl and for the services that arje starts.
SOCKET_VARIABLE: Final = "ARJE_SOCKET"


def user_runtime() -> Path:
    """Return the runtime directory of a user's own manager (``$XDG_RUNTIME_DIR/arje``, else one under /tmp)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base, "arje") if base else Path(f"/tmp/arje-{os.getuid()}")


def user_state() -> Path:
    """Return where a user's own manager keeps what outlives it (``$XDG_STATE_HOME/arje``, basedir-spec)."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(base, "arje")


def user_cards() -> tuple[Path, ...]:
    """Return the card directories of a user's own manager, the later overriding the earlier."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return (Path(config, "arje", "cards.d"),)


def socket_of(runtime_dir: Path) -> Path:
    """Return the control socket inside a runtime directory."""
    return runtime_dir / SOCKET_NAME


def default_socket(*, user: bool | None = None) -> Path:
    """Return the socket that arjectl should try: ``$ARJE_SOCKET``, else the user's or the system's.

    ``user`` None means: the user's own manager when its socket is there, else the system's.
    """
    named = os.environ.get(SOCKET_VARIABLE)
    if named and user is None:
        return Path(named)
    own = socket_of(user_runtime())
    if user or (user is None and own.exists()):
        return own
    return socket_of(SYSTEM_RUNTIME)
