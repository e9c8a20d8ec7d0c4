"""What starts a service, as a status answer has it: its sockets and paths, its connections, what it has stored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arje.service.record import Service

if TYPE_CHECKING:
    from arje.supervisor.connections import Connection, Connections
    from arje.supervisor.supervisor import Supervisor


def of_service(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return the fields of a full answer."""
    card, activations = service.card, supervisor.activations
    held = {each.socket.address: each.fd for each in activations.descriptors.sockets(card.label) if each.socket}
    served = activations.connections.get(card.label)
    now = supervisor.host.now()
    return {
        "activated": card.activation.when.value,
        "idle_timeout": card.activation.idle_timeout,
        "sockets": [
            {"listen": socket.listen, "name": socket.name or card.label, "open": socket.address in held}
            for socket in card.sockets
        ],
        "paths": [watch.watch for watch in card.paths],
        "connections": [_connection(each, now) for each in served.alive] if served else [],
        "connected": _counted(card.activation.max_connections, served) if served else None,
        "stored": [{"name": each.name, "what": _what(each.fd)} for each in activations.descriptors.stored(card.label)],
    }


def _connection(found: Connection, now: float) -> dict[str, Any]:
    return {
        "number": found.number,
        "listen": found.listen,
        "peer": found.peer,
        "pid": found.pid,
        "since_s": max(0.0, now - found.since),
    }


def _counted(most: int, served: Connections) -> dict[str, Any]:
    return {
        "most": most,
        "accepted": served.accepted,
        "refused": served.refused,
        "failed": served.failed,
        "last_failure": served.last_failure,
    }


def _what(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
