"""The address that a socket of a card listens on, as one word: ``"tcp:127.0.0.1:8080"``, ``"unix:/run/x.sock"``. Pure.

A word without a kind means what systemd.socket(5) means by it: a number is a TCP port on every address, a path or
``@name`` a unix stream socket, ``HOST:PORT`` a TCP socket.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from arje.card.nearest import nearest
from arje.card.rules import text
from arje.card.unreadable import Unreadable, shown


class Kind(StrEnum):
    """What is listened on, by the word before the first colon."""

    TCP = "tcp"
    UDP = "udp"
    UNIX = "unix"
    UNIX_DATAGRAM = "unix-datagram"
    UNIX_SEQPACKET = "unix-seqpacket"
    FIFO = "fifo"
    NETLINK = "netlink"
    SPECIAL = "special"
    VSOCK = "vsock"
    MQUEUE = "mqueue"


IP: Final = frozenset({Kind.TCP, Kind.UDP})
LOCAL: Final = frozenset({Kind.UNIX, Kind.UNIX_DATAGRAM, Kind.UNIX_SEQPACKET})
#: Kinds whose connections can be accepted.
CONNECTED: Final = frozenset({Kind.TCP, Kind.UNIX, Kind.UNIX_SEQPACKET, Kind.VSOCK})
#: Kinds that are no sockets.
FILES: Final = frozenset({Kind.FIFO, Kind.SPECIAL, Kind.MQUEUE})

#: Families of netlink(7) by name.
FAMILIES: Final = {
    "route": 0,
    "usersock": 2,
    "sock-diag": 4,
    "nflog": 5,
    "xfrm": 6,
    "selinux": 7,
    "iscsi": 8,
    "audit": 9,
    "fib-lookup": 10,
    "connector": 11,
    "netfilter": 12,
    "dnrtmsg": 14,
    "kobject-uevent": 15,
    "generic": 16,
    "scsitransport": 18,
    "rdma": 20,
    "crypto": 21,
}
ANY_CID: Final = 2**32 - 1
_LONGEST: Final = 107  # bytes of a unix socket's path (unix(7)): 108 with the NUL
_EXAMPLES: Final = 'write "8080", "tcp:127.0.0.1:8080", "udp:[::1]:53", "unix:/run/x.sock" or "fifo:/run/x"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A readable address. ``path`` is a path, ``@name``, or a queue's ``/name``; no ``host``: all of IPv4 and IPv6.

    ``number`` is a port, or netlink's family; ``more`` netlink's multicast groups, or the context id of a vsock.
    """

    kind: Kind
    path: str = ""
    host: str = ""
    number: int = 0
    more: int = 0

    @property
    def is_file(self) -> bool:
        """Whether it has a place in the file system, or among the queues: owner and mode, and it may be removed."""
        return self.path.startswith("/")


@cache
def address(word: str) -> Address:
    """Return the address of a word. Raises Unreadable."""
    name, colon, rest = word.partition(":")
    if name.isascii() and name.isdecimal() and not colon:
        return Address(kind=Kind.TCP, number=_port(word, name))
    if word.startswith(("/", "@")):
        return Address(kind=Kind.UNIX, path=_path(word, word, Kind.UNIX))
    if word[:1] in "[.0123456789":
        return _ip(word, Kind.TCP, word)
    if not colon or name not in list(Kind):
        near = nearest(name, [known.value for known in Kind]) if colon else ""
        raise Unreadable("", f"{shown(word)} is no address", f"did you mean {near!r}?" if near else _EXAMPLES)
    kind = Kind(name)
    if kind in IP:
        return _ip(word, kind, rest)
    if kind is Kind.NETLINK:
        return _netlink(word, rest)
    if kind is Kind.VSOCK:
        return _vsock(word, rest)
    return Address(kind=kind, path=_path(word, rest, kind))


def canonical(word: str) -> str:
    """Return the word with its kind written out. Raises Unreadable."""
    found = address(word)
    return word if word.startswith(f"{found.kind.value}:") else f"{found.kind.value}:{word}"


def checked(value: object) -> str:
    """Return the word of an address as it is kept. Raises Unreadable."""
    return canonical(text(value))


def _port(word: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and 0 < int(digits[:6]) < 2**16):
        raise Unreadable("", f"{shown(word)} has no port", "ports are 1 to 65535")
    return int(digits)


def _ip(word: str, kind: Kind, rest: str) -> Address:
    if rest.isdecimal():
        return Address(kind=kind, number=_port(word, rest))
    host, _, port = rest.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == "*":
        return Address(kind=kind, number=_port(word, port))
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        raise Unreadable("", f"{shown(bare)} is no IP address", _EXAMPLES) from None
    if (found.version == 6) != (bare != host):
        raise Unreadable("", f"{shown(word)} is no address", "write IPv6 in brackets: [::1]:80")
    return Address(kind=kind, host=bare, number=_port(word, port))


def _path(word: str, path: str, kind: Kind) -> str:
    if kind in LOCAL and path.startswith("@") and len(path) > 1:
        if len(path.encode()) > _LONGEST + 1:
            raise Unreadable("", f"{shown(word)} is longer than {_LONGEST} bytes", "choose a shorter name (unix(7))")
        return path
    if kind is Kind.MQUEUE and not re.fullmatch("/[^/]{1,255}", path):
        raise Unreadable("", f"{shown(path)} is no queue", 'write "mqueue:/NAME" (mq_overview(7))')
    if not path.startswith("/") or path.endswith("/"):
        raise Unreadable("", f"{shown(path)} is no absolute path of a file", 'begin it with "/"')
    if kind in LOCAL and len(path.encode()) > _LONGEST:
        raise Unreadable("", f"{shown(path)} is longer than {_LONGEST} bytes", "choose a shorter path (unix(7))")
    return path


def _netlink(word: str, rest: str) -> Address:
    family, _, groups = rest.partition(":")
    number = FAMILIES.get(family, int(family) if re.fullmatch("[0-9]{1,2}", family) else -1)
    if number < 0 or not re.fullmatch("[0-9]{0,10}", groups) or int(groups or 0) >= 2**32:
        near = nearest(family, FAMILIES)
        example = 'write "netlink:kobject-uevent:1", the family and the sum of its groups'
        raise Unreadable("", f"{shown(word)} is no netlink", f"did you mean {near!r}?" if near else example)
    return Address(kind=Kind.NETLINK, number=number, more=int(groups or 0))


def _vsock(word: str, rest: str) -> Address:
    cid, colon, port = rest.rpartition(":")
    if not re.fullmatch("[0-9]{1,10}", port) or not (cid.isdecimal() if colon else True) or int(port) >= 2**32:
        raise Unreadable("", f"{shown(word)} is no vsock", 'write "vsock:PORT" or "vsock:CID:PORT"')
    more = int(cid) if colon else ANY_CID
    if more > ANY_CID:
        raise Unreadable("", f"{shown(cid)} is no context id", f"it is 0 to {ANY_CID}")
    return Address(kind=Kind.VSOCK, number=int(port), more=more)
