"""Where arje keeps things: the well-known directories and the names inside them. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SYSTEM_RUNTIME: Final = Path("/run/arje")
SYSTEM_STATE: Final = Path("/var/lib/arje")
#: As in systemd.unit(5): what the administrator wrote hides what lives until the next boot, and that what packages ship.
SYSTEM_CARDS: Final = (Path("/usr/lib/arje/cards.d"), Path("/run/arje/cards.d"), Path("/etc/arje/cards.d"))
CARDS_NAME: Final = "cards.d"
#: In the runtime directory: the cards of ``arjectl run``, which go when their services have ended.
TRANSIENT_NAME: Final = "transient.d"
CACHE_NAME: Final = "cards.cache"
SYSTEM_CACHE: Final = Path("/var/cache/arje", CACHE_NAME)
SOCKET_NAME: Final = "io.arje"
LOCK_NAME: Final = "lock"
LOGS_NAME: Final = "logs"
TIMERS_NAME: Final = "timers"
SETS_NAME: Final = "sets"

#: Environment variable that names the control socket to arjectl. No service has it unasked: few could use it, and what is
#: in a sandbox need not know of its keeper. A card whose service is to have it says so, in the manager's own place of
#: files: ``env = {ARJE_SOCKET = "%t/arje/io.arje"}``.
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
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return (
        Path("/usr/lib/arje/user-cards.d"),
        Path(data, "arje", CARDS_NAME),
        user_runtime() / CARDS_NAME,
        Path("/etc/arje/user-cards.d"),
        Path(config, "arje", CARDS_NAME),
    )


def user_cache() -> Path:
    """Return where a user's own manager keeps its compiled cards."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "arje", CACHE_NAME)


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
