"""What starts a service besides a hand: its sockets, its paths. And how often they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.listen import CONNECTED, Kind
from arje.card.path_watch import Watch
from arje.card.rules import FORBID, Seconds, whole_rule
from arje.card.sockets import Socket
from arje.card.unreadable import Unreadable, shown


class When(StrEnum):
    """When a service with sockets runs. ``on-demand``: once something arrives on one of them, until it ends by itself.
    ``per-connection``: arje accepts, and each connection gets a process of its own."""

    START = "start"
    ON_DEMAND = "on-demand"
    PER_CONNECTION = "per-connection"


_MANY: Final = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerLimit:
    """At most ``times`` starts by sockets or paths in ``interval`` seconds; one more and the service is ``failed``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    times: Annotated[int | None, whole_rule(0, _MANY)] = None
    """Number of starts; 0 means no limit, None 20, or 200 for connections."""
    interval: Seconds = 2.0
    """In this many seconds."""


_LIMIT: Final = TriggerLimit()
#: What has connections that the kernel lists.
COUNTED: Final = frozenset({Kind.TCP, Kind.UNIX, Kind.UNIX_SEQPACKET})
_STREAMS: Final = "write tcp or unix, or remove activation.idle_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """When its sockets or paths start it. A card may write the word alone: ``activation = "on-demand"``.

    While it waits for them it is ``waiting`` and counts as up: who requires it need not wait. ``arjectl stop`` ends both,
    the process and the listening; ``arjectl restart`` of one that waits starts it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    when: When = When.START
    """``start``: it runs from the start, and finds its sockets open. ``on-demand``: once something arrives.
    ``per-connection``: a process for each connection."""
    max_connections: Annotated[int, whole_rule(1, _MANY)] = 64
    """Connections at once, each a process; further ones wait until one ends."""
    max_connections_per_source: Annotated[int, whole_rule(0, _MANY)] = 0
    """Connections at once from one IP address, or one user of this machine; further ones are closed. 0: no limit."""
    idle_timeout: Seconds = 0.0
    """Seconds without a connection after which a service that is started on demand is stopped, to be started by the next
    one; 0: it stops by itself or not at all. It is looked for ten times in that time."""
    trigger_limit: TriggerLimit = _LIMIT
    """How often it may be started so before arje gives up."""

    @property
    def limit(self) -> int:
        """How many starts fit into the interval; 0 means any number."""
        if self.trigger_limit.times is not None:
            return self.trigger_limit.times
        return 200 if self.when is When.PER_CONNECTION else 20


def sensible(
    activation: Activation, sockets: tuple[Socket, ...], paths: tuple[Watch, ...], *, has_process: bool, by_socket: bool
) -> list[Unreadable]:
    """Return what does not go together: ``by_socket`` says that the service's stdio is a socket of the card."""
    wrong = []
    if not has_process:
        for name, there in (("sockets", sockets), ("paths", paths)):
            if there:
                wrong.append(Unreadable(name, "a group has no process to use them", "add [payload], or remove them"))
    if activation.when is not When.START and not sockets:
        wrong.append(Unreadable("activation", "there is nothing to listen on", "add sockets = […]"))
    if activation.idle_timeout and activation.when is not When.ON_DEMAND:
        remedy = 'write when = "on-demand", or remove it'
        wrong.append(Unreadable("activation.idle_timeout", "nothing would start it again", remedy))
    wrong += [
        Unreadable(f"sockets.{index}.listen", f"{socket.listen} has no connections to tell idleness by", _STREAMS)
        for index, socket in enumerate(sockets)
        if activation.idle_timeout and socket.kind not in COUNTED
    ]
    if activation.when is When.PER_CONNECTION:
        if paths:
            wrong.append(Unreadable("paths", "connections start it already", "remove them, or activation"))
        wrong += [
            Unreadable(
                f"sockets.{index}.listen", f"{socket.listen} takes no connections", 'write tcp or unix, or "on-demand"'
            )
            for index, socket in enumerate(sockets)
            if socket.kind not in CONNECTED
        ]
    elif by_socket and len(sockets) != 1:
        message = f"the card has {len(sockets) or 'no'} sockets, where one is meant"
        wrong.append(Unreadable("soma.stdio", message, 'write one socket, or no stdio of "socket"'))
    return wrong


def spelled(value: Any, field: str, duration: Any) -> Any:
    """Return the table of a word. Raises Unreadable."""
    if isinstance(value, str):
        return {"when": value}
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is not a table", f'write [{field}], or {field} = "on-demand"')
    if "idle_timeout" in value:
        value = value | {"idle_timeout": duration(value["idle_timeout"], f"{field}.idle_timeout")}
    limit = value.get("trigger_limit")
    if not isinstance(limit, dict) or "interval" not in limit:
        return value
    interval = duration(limit["interval"], f"{field}.trigger_limit.interval")
    return value | {"trigger_limit": limit | {"interval": interval}}
