"""rtnetlink(7) as far as arje needs it: links, addresses and routes to bytes and back, and a socket to ask with.

Written here and not taken from a library: pyroute2 0.9 costs 115 ms and 22 MB at import, asyncio included, which is more
than all of arje in the process that must never be slow; and a child needs its requests as bytes, because it has no
Python. What is here is the part of the interface that has not changed since Linux 4.0.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, GETADDR = 20, 22
NEWROUTE, GETROUTE = 24, 26
UP: Final = 1  # IFF_UP
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
CREATE: Final = 0x600  # NLM_F_CREATE | NLM_F_EXCL
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NODAD: Final = 0x02  # IFA_F_NODAD: an address that is being looked for twice cannot be bound to for a second
_MAIN_TABLE, _STATIC, _LINK_SCOPE, _UNICAST = 254, 4, 253, 1

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(OSError):
    """A no of the kernel, with the words that it has for some of them (NETLINK_EXT_ACK)."""


@dataclass(frozen=True, slots=True)
class Link:
    """One device. ``peer`` is the index of a veth's other end, where that lives; ``master`` that of its bridge, or 0."""

    index: int
    name: str
    up: bool
    kind: str
    mac: str
    mtu: int
    master: int
    peer: int
    alias: str


class Address(NamedTuple):
    """One address. ``device`` is the number of its link."""

    device: int
    address: IPInterface


class Way(NamedTuple):
    """One route of the main table: destination, next hop (None: direct), number of its link, metric."""

    to: IPNetwork
    via: IPAddress | None
    device: int
    metric: int


# -- to bytes ----------------------------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """Return one attribute that is an unsigned 32-bit number."""
    return attribute(kind, struct.pack("=I", value))


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Return one request that is answered by an acknowledgement."""
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body


def link(index: int = 0, *, up: bool = False, name: str = "", mac: str = "", mtu: int = 0, more: bytes = b"") -> bytes:
    """Return the body of a message about a link; ``more``: further attributes."""
    body = _LINK.pack(0, 0, index, int(up), int(up))
    if name:
        body += attribute(3, name.encode() + b"\0")  # IFLA_IFNAME
    if mac:
        body += attribute(1, bytes.fromhex(mac.replace(":", "")))  # IFLA_ADDRESS
    if mtu:
        body += number(4, mtu)  # IFLA_MTU
    return body + more


def kind_of_link(kind: str, data: bytes = b"") -> bytes:
    """Return the attribute that says what kind of device is meant."""
    info = attribute(1, kind.encode()) + (attribute(2, data) if data else b"")
    return attribute(18, info)  # IFLA_LINKINFO


def new_address(address: IPInterface, index: int = 0) -> bytes:
    """Return the request to give a device an address; index 0 is filled in by the child (network.c)."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ADDRESS.pack(family, address.network.prefixlen, _NODAD, 0, index)
    body += attribute(2, address.ip.packed) + attribute(1, address.ip.packed)  # IFA_LOCAL, IFA_ADDRESS
    if address.version == 4 and address.network.prefixlen < 31:
        body += attribute(4, address.network.broadcast_address.packed)
    return message(NEWADDR, body, CREATE)


def new_route(way: Way) -> bytes:
    """Return the request for a route. The device is its last attribute; index 0 is filled in by the child (network.c)."""
    family = socket.AF_INET if way.to.version == 4 else socket.AF_INET6
    scope = _LINK_SCOPE if way.via is None and way.to.version == 4 else 0
    body = _ROUTE.pack(family, way.to.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, 0)
    if way.to.prefixlen:
        body += attribute(1, way.to.network_address.packed)  # RTA_DST
    if way.via is not None:
        body += attribute(5, way.via.packed)  # RTA_GATEWAY
    if way.metric:
        body += number(6, way.metric)  # RTA_PRIORITY
    return message(NEWROUTE, body + number(4, way.device), CREATE)  # RTA_OIF


# -- from bytes --------------------------------------------------------------------------------------------------------


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of the messages in a datagram, or in several one behind the other. Raises ValueError."""
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, place)
        if not _HEADER.size <= length <= len(data) - place:
            raise ValueError(f"a message of {length} bytes in {len(data) - place}")
        yield kind, data[place + _HEADER.size : place + length]
        place += length + -length % 4


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes by kind."""
    found, place = {}, 0
    while place + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, place)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[place + 4 : place + length]
        place += length + -length % 4
    return found


def _int(value: bytes | None) -> int:
    return int.from_bytes(value, "little") if value else 0


def _text(value: bytes | None) -> str:
    return os.fsdecode((value or b"").partition(b"\0")[0])


def links(data: bytes) -> tuple[Link, ...]:
    """Return the links of an answer."""
    found = []
    for kind, body in messages(data):
        if kind == NEWLINK:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            has = attributes(body[_LINK.size :])
            what = _text(attributes(has.get(18, b"")).get(1))
            own = (_text(has.get(3)), bool(flags & UP), what, has.get(1, b"").hex(":"), _int(has.get(4)))
            found.append(Link(index, *own, _int(has.get(10)), _int(has.get(5)), _text(has.get(20))))
    return tuple(found)


def addresses(data: bytes) -> tuple[Address, ...]:
    """Return the addresses of an answer; those the kernel gives each device by itself (fe80::) are left out."""
    found = []
    for kind, body in messages(data):
        if kind == NEWADDR:
            _, prefix, _, scope, index = _ADDRESS.unpack_from(body)
            has = attributes(body[_ADDRESS.size :])
            ip = ipaddress.ip_address(has.get(2) or has[1])
            if not (ip.version == 6 and scope == _LINK_SCOPE):
                found.append(Address(index, ipaddress.ip_interface((ip, prefix))))
    return tuple(found)


def ways(data: bytes) -> tuple[Way, ...]:
    """Return the unicast routes of the main table in an answer."""
    found = []
    for kind, body in messages(data):
        if kind == NEWROUTE:
            family, prefix, _, _, table, _, _, what, _ = _ROUTE.unpack_from(body)
            has = attributes(body[_ROUTE.size :])
            if family not in (socket.AF_INET, socket.AF_INET6) or table != _MAIN_TABLE or what != _UNICAST:
                continue
            to = has.get(1, bytes(4 if family == socket.AF_INET else 16))
            via = ipaddress.ip_address(has[5]) if 5 in has else None
            found.append(Way(ipaddress.ip_network((to, prefix)), via, _int(has.get(4)), _int(has.get(6))))
    return tuple(found)


# -- asking ------------------------------------------------------------------------------------------------------------


class Socket:
    """A socket to the network namespace of the thread that made it. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK: refusals come with words (Linux 4.12)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send one request and return what was answered before the acknowledgement. Raises Refused."""
        self._socket.send(request)
        found = b""
        while True:
            data = self._socket.recv(65536)
            for kind, body in messages(data):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    if refusal := -struct.unpack_from("=i", body)[0]:
                        raise Refused(refusal, _words(body) or os.strerror(refusal))
                    return found
            found += data

    def link(self, *, name: str = "", index: int = 0) -> Link | None:
        """Return one device, None when there is none."""
        try:
            return next(iter(links(self.ask(message(GETLINK, link(index, name=name))))), None)
        except Refused as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def links(self) -> tuple[Link, ...]:
        """Return every device."""
        return links(self.ask(message(GETLINK, link(), _DUMP)))


def _words(body: bytes) -> str:
    """What the kernel says beside an errno: attributes behind the error and the request that it repeats."""
    length = struct.unpack_from("=i I", body)[1]
    return _text(attributes(body[4 + length + -length % 4 :]).get(1))
