"""TCP and UDP ports that belong to one test alone, whoever else runs tests on this machine."""

from __future__ import annotations

import random
import socket
from typing import Final

#: Below what the kernel gives away by itself (ip_local_port_range, 32768 and up), above what services are known by.
_OURS: Final = range(20_000, 32_000)
#: A name in the same net namespace as the port, and gone with this process: nobody else chooses it meanwhile.
_claims: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port that nobody uses and that no other test is given while this process lives."""
    for port in random.sample(_OURS, len(_OURS)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0arje-test-port.{port}")
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("", port))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port
    raise AssertionError("no port is free")
