"""Where the manager's socket is, as arje/paths.py says it: a test holds the two beside each other.

That one is made of Path, which costs arjectl as much as all the rest of it. ``posix`` is what os is made of.
"""

from __future__ import annotations

import sys
from posix import environ, getuid, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def variable(name: str) -> str:
    """Return a variable of the environment; empty when it is not set."""
    if (os := sys.modules.get("os")) is not None:  # whoever has imported it may have changed them there
        return str(os.environ.get(name, ""))
    return environ.get(name.encode(), b"").decode(errors="replace")


def default_socket(user: bool | None, variables: Mapping[bytes, bytes] = environ) -> str:
    """Return the socket to try: ``$ARJE_SOCKET``, else the user's own (``user``, or None and it is there), the system's."""
    named, base = (variables.get(name, b"").decode(errors="replace") for name in (b"ARJE_SOCKET", b"XDG_RUNTIME_DIR"))
    if named and user is None:
        return named
    own = f"{base}/arje/io.arje" if base else f"/tmp/arje-{getuid()}/io.arje"
    if user or (user is None and _is_there(own)):
        return own
    return "/run/arje/io.arje"


def _is_there(path: str) -> bool:
    try:
        stat(path)
    except OSError:
        return False
    return True
