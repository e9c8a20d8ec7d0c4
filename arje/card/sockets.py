"""What a service listens on before it runs: the sockets that arje opens for it and passes on (sd_listen_fds(3)).

They are opened in the manager's own network namespace, whatever namespaces the service has, and stay open while the
service restarts. They are closed when it is stopped, has failed or is done.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.ids import Who
from arje.card.listen import CONNECTED, FILES, IP, LOCAL, Address, Kind, checked
from arje.card.listen import address as address_of
from arje.card.rules import FORBID, Flag, Rule, many, matching, text, whole_rule
from arje.card.unreadable import Unreadable, shown, together


class BindIPv6Only(StrEnum):
    """Whether a socket on every address of IPv6 takes IPv4 as well. ``default``: as net.ipv6.bindv6only says."""

    DEFAULT = "default"
    BOTH = "both"
    IPV6_ONLY = "ipv6-only"


def octal(value: Any) -> int:
    """Return the number of a mode in octal, ``"0660"``. Raises Unreadable."""
    if (
        not isinstance(value, str)
        or not re.fullmatch("0?o?[0-7]{1,4}", value)
        or int(value.replace("o", ""), 8) > 0o777
    ):
        raise Unreadable("", f"{shown(value)} is no file mode", 'write it in octal and quoted: "0660"')
    return int(value.replace("o", ""), 8)


def absolute(value: Any) -> str:
    """Return an absolute path. Raises Unreadable."""
    path = text(value)
    if not path.startswith("/"):
        raise Unreadable("", f"{shown(path)} is no absolute path", 'begin it with "/"')
    return path


_MODE: Final = {"type": "string", "pattern": "^0?o?[0-7]{1,3}$"}
_PATH: Final = {"type": "string", "pattern": "^/"}
_NAME: Final = matching(
    "[!-9;-~]{1,255}", "is no name", "letters, digits and signs but the colon, at most 255", empty=True
)
_DEVICE: Final = matching("[^/\\s\\x00]{1,15}", "is no network device", "it has at most 15 letters", empty=True)
Octal = Annotated[int, Rule(octal, _MODE)]
_LISTEN: Final = Rule(checked, {"type": "string", "minLength": 1})
_BUFFER: Final = whole_rule(0, 2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """One thing to listen on. A card may write its ``listen`` alone: ``sockets = ["8080", "unix:/run/x.sock"]``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    listen: Annotated[str, _LISTEN]
    """Where: ``tcp:[HOST:]PORT``, ``udp:[HOST:]PORT``, ``unix:/PATH`` or ``unix:@NAME`` (a stream), ``unix-datagram:…``,
    ``unix-seqpacket:…``, ``fifo:/PATH``, ``netlink:FAMILY[:GROUPS]``, ``vsock:[CID:]PORT``, ``mqueue:/NAME``,
    ``special:/PATH`` (a device or a file of /proc). A port alone is every address of IPv4 and IPv6."""
    name: Annotated[str, _NAME] = ""
    """What ``LISTEN_FDNAMES`` calls it; empty means the card's label."""
    mode: Octal = 0o666
    """Permissions of a unix socket, a FIFO or a queue, octal and quoted; it never has more than these."""
    user: Who | None = None
    """Who owns a unix socket, a FIFO or a queue; None: the manager's user."""
    group: Who | None = None
    """Its group; None: the manager's."""
    directory_mode: Octal = 0o755
    """Permissions of the directories above it that are made because they are missing."""
    symlinks: Annotated[tuple[str, ...], Rule(many(absolute), {"type": "array", "items": _PATH})] = ()
    """Symbolic links that lead to a unix socket or a FIFO; they are made with it and go with it."""
    remove_on_stop: Flag = False
    """Whether a unix socket, a FIFO or a queue is removed when it is closed; the links go with it then."""
    writable: Flag = False
    """Whether a special file is opened for writing as well."""
    backlog: Annotated[int, _BUFFER] = 4096
    """How many connections may wait to be accepted (listen(2)); net.core.somaxconn caps it."""
    bind_ipv6_only: BindIPv6Only = BindIPv6Only.DEFAULT
    """Whether an IPv6 address is for IPv6 alone; a port alone is always for both unless this says ``ipv6-only``."""
    reuse_port: Flag = False
    """Whether others of the same user may listen there too, and share the load (SO_REUSEPORT)."""
    free_bind: Flag = False
    """Whether the address need not be there yet (IP_FREEBIND)."""
    transparent: Flag = False
    """Whether it may be an address of somebody else (IP_TRANSPARENT); needs CAP_NET_ADMIN."""
    broadcast: Flag = False
    """Whether it may send to everybody on the link (SO_BROADCAST)."""
    bind_to_device: Annotated[str, _DEVICE] = ""
    """The only network device that it serves (SO_BINDTODEVICE)."""
    keep_alive: Flag = False
    """Whether the kernel looks after silent connections (SO_KEEPALIVE)."""
    no_delay: Flag = False
    """Whether small packets are sent at once (TCP_NODELAY)."""
    receive_buffer: Annotated[int, _BUFFER] = 0
    """Bytes of the receive buffer (SO_RCVBUF, forced over the machine's limit where we may); 0: the machine's. Or
    ``"8M"``."""
    send_buffer: Annotated[int, _BUFFER] = 0
    """Bytes of the send buffer; as ``receive_buffer``."""
    pass_credentials: Flag = False
    """Whether messages carry who sent them (SO_PASSCRED)."""
    priority: Annotated[int | None, whole_rule(0, 15)] = None
    """Priority of what it sends (SO_PRIORITY); over 6 needs CAP_NET_ADMIN."""
    mark: Annotated[int | None, whole_rule(0, 2**32 - 1)] = None
    """The mark of its packets (SO_MARK); needs CAP_NET_ADMIN."""
    max_messages: Annotated[int, whole_rule(0, 65536)] = 0
    """How many messages a queue that is made holds; 0: as the machine has it, and ``message_size`` too (mq_overview(7))."""
    message_size: Annotated[int, whole_rule(0, 2**24)] = 0
    """Bytes of its longest message."""
    non_blocking: Flag = False
    """Whether the service gets it with O_NONBLOCK."""

    @property
    def address(self) -> Address:
        """Where, as data."""
        return address_of(self.listen)

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.address.kind


_SOCKETS: Final = frozenset(Kind) - FILES
_PLACED: Final = LOCAL | {Kind.FIFO}
#: Option → the kinds that have it. What is not here every kind has.
_FITS: Final[dict[str, frozenset[Kind]]] = {
    **dict.fromkeys(("directory_mode", "symlinks"), _PLACED),
    **dict.fromkeys(("mode", "user", "group", "remove_on_stop"), _PLACED | {Kind.MQUEUE}),
    **dict.fromkeys(("max_messages", "message_size"), frozenset({Kind.MQUEUE})),
    "writable": frozenset({Kind.SPECIAL}),
    "backlog": CONNECTED,
    **dict.fromkeys(("bind_ipv6_only", "reuse_port", "free_bind", "transparent", "bind_to_device"), IP),
    **dict.fromkeys(("priority", "mark"), IP),
    "broadcast": frozenset({Kind.UDP}),
    **dict.fromkeys(("keep_alive", "no_delay"), frozenset({Kind.TCP})),
    **dict.fromkeys(("receive_buffer", "send_buffer"), _SOCKETS),
    "pass_credentials": LOCAL | {Kind.NETLINK},
}
_DEFAULTS: Final = {field.name: field.default for field in dataclasses.fields(Socket)}


def fitting(socket: Socket) -> Socket:
    """Return it when its kind has all of its options. Raises Unreadable."""
    wrong = []
    for name, kinds in _FITS.items():
        if getattr(socket, name) == _DEFAULTS[name]:
            continue
        if socket.kind not in kinds:
            have = ", ".join(sorted(kind.value for kind in kinds))
            wrong.append(Unreadable(name, f"a {socket.kind.value} socket has none", f"remove it; it is for {have}"))
        elif name in ("mode", "user", "group", "directory_mode", "symlinks") and not socket.address.is_file:
            wrong.append(Unreadable(name, "an abstract name is no file", "remove it, or listen on a path"))
    if bool(socket.max_messages) != bool(socket.message_size):
        wrong.append(Unreadable("max_messages", "a queue has both, or neither", "write message_size as well"))
    if wrong:
        raise together(wrong)
    return socket


def apart(sockets: tuple[Socket, ...]) -> tuple[Socket, ...]:
    """Return them when no two listen on the same. Raises Unreadable."""
    seen: set[Address] = set()
    wrong = []
    for index, socket in enumerate(sockets):
        if socket.address in seen and not socket.reuse_port:
            wrong.append(Unreadable(f"{index}.listen", f"{socket.listen!r} is there already", "remove one"))
        seen.add(socket.address)
    if wrong:
        raise together(wrong)
    return sockets


Sockets = Annotated[tuple[Annotated[Socket, Rule(fitting)], ...], Rule(apart)]


def spelled(value: Any, field: str, size: Callable[[Any, str], Any]) -> Any:
    """Return the tables of a list of words and tables; one word or table is a list of one. Raises Unreadable."""
    items = value if isinstance(value, list) else [value]
    found, wrong = [], list[Unreadable]()
    for index, item in enumerate(items):
        try:
            found.append(_one(item, f"{field}.{index}", size))
        except Unreadable as error:
            wrong += error.all()
    if wrong:
        raise together(wrong)
    return found


def _one(item: Any, field: str, size: Callable[[Any, str], Any]) -> Any:
    if isinstance(item, int) and not isinstance(item, bool):
        raise Unreadable(field, f"{item} is not text", f'write it in quotes: "{item}"')
    if not isinstance(item, dict):
        return {"listen": item} if isinstance(item, str) else item
    sized = ("receive_buffer", "send_buffer")
    return {name: size(word, f"{field}.{name}") if name in sized else word for name, word in item.items()}
