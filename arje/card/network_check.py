"""What is wrong with a card's network on every machine: addresses, names of devices, routes, ports. Pure.

Works on plain tables, so that a file's problems are told with their fields before anything is made of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from arje.card.network import MODES

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Problem(NamedTuple):
    """What is wrong with a field (its path below ``network``), and what to write."""

    field: str
    detail: str
    remedy: str


def problems(network: dict[str, Any]) -> Iterator[Problem]:
    """Yield what no machine can do, of a table in the shape of :class:`Network`; values of a wrong type are left alone."""
    mode, veth, pasta = network.get("mode") or "", network.get("veth"), network.get("pasta")
    if isinstance(mode, str) and mode not in MODES:
        yield Problem(
            "mode", f"no network {mode!r}", 'write "host", "none" or "loopback", or a table with veth or pasta'
        )
    ways = [name for name, value in (("veth", veth), ("pasta", pasta)) if value is not None]
    if len([*ways, *filter(None, [mode])]) != 1:
        yield Problem("", "it is one of mode, veth and pasta", "keep one of them")
    if isinstance(veth, dict):
        yield from _veth(veth)
    if isinstance(pasta, dict):
        yield from _pasta(pasta)
    routes = network.get("routes") or ()
    if routes and not isinstance(veth, dict):
        yield Problem("routes", "there is no veth for them", "say them beside veth")
    there = list(_networks(veth, routes)) if isinstance(veth, dict) else []
    for route in routes:
        if isinstance(route, dict):
            yield from _route(route, there)


def _veth(veth: dict[str, Any]) -> Iterator[Problem]:
    for field in ("bridge", "name", "host_name"):
        if (name := veth.get(field)) or field == "bridge":
            yield from _device(f"veth.{field}", name)
    if veth.get("bridge") and veth.get("bridge") == veth.get("host_name"):
        yield Problem("veth.host_name", "it is the bridge's name", "choose another one")
    if veth.get("bridge_address") and not veth.get("create_bridge"):
        yield Problem("veth.bridge_address", "the bridge is not ours", "add create_bridge = true, or remove it")
    for field in ("address", "bridge_address"):
        for text in _texts(veth.get(field)):
            if (own := interface(text)) is None:
                yield Problem(f"veth.{field}", f"{text!r} is no address", 'write it with prefix: "10.0.0.2/24"')
            elif own.ip.is_multicast or own.ip.is_unspecified or own.ip.is_loopback:
                yield Problem(f"veth.{field}", f"{text} is no address of one device", "choose another one")
    yield from _gateways([i for i in map(interface, _texts(veth.get("address"))) if i], _texts(veth.get("gateway")))
    yield from _hardware(veth.get("mac"))
    yield from _mtu("veth.mtu", veth.get("mtu"))


def _networks(veth: dict[str, Any], routes: Any) -> Iterator[IPNetwork]:
    """Yield what is on the link: the networks of the addresses, and destinations without a next hop."""
    yield from (own.network for own in map(interface, _texts(veth.get("address"))) if own)
    direct = [route.get("to") for route in routes if isinstance(route, dict) and not route.get("via")]
    yield from filter(None, map(network_of, _texts(direct)))


def _gateways(addresses: list[Interface], gateways: list[str]) -> Iterator[Problem]:
    versions = []
    for text in gateways:
        if (hop := _address(text)) is None:
            yield Problem("veth.gateway", f"{text!r} is no address", 'write it without prefix: "10.0.0.1"')
            continue
        versions.append(hop.version)
        if not hop.is_link_local and not any(hop in own.network for own in addresses):
            yield Problem("veth.gateway", f"{text} is in no network of address", "choose one that is on the link")
    if len(versions) > len(set(versions)):
        yield Problem("veth.gateway", "two gateways of one kind", "at most one for each of IPv4 and IPv6")


def _pasta(pasta: dict[str, Any]) -> Iterator[Problem]:
    if pasta.get("name"):
        yield from _device("pasta.name", pasta["name"])
    for field in ("tcp", "udp", "host_tcp", "host_udp"):
        for text in _texts(pasta.get(field)):
            if not _is_port(text, bound=not field.startswith("host_")):
                yield Problem(
                    f"pasta.{field}", f"{text!r} is no port", 'write "8080", "8080:80" or "127.0.0.1/8080:80"'
                )
    for text in filter(None, _texts([pasta.get("address")])):
        if (own := interface(text)) is None or own.version != 4:
            yield Problem("pasta.address", f"{text!r} is no IPv4 address", 'write it with prefix: "10.0.2.15/24"')
    for text in filter(None, _texts([pasta.get("gateway")])):
        if (hop := _address(text)) is None or hop.version != 4:
            yield Problem("pasta.gateway", f"{text!r} is no IPv4 address", 'write it without prefix: "10.0.2.2"')
    if pasta.get("fallback") not in (None, "", "host"):
        yield Problem("pasta.fallback", f"no network {pasta['fallback']!r}", 'write "host", or leave it out')
    yield from _mtu("pasta.mtu", pasta.get("mtu"))


def _route(route: dict[str, Any], there: list[IPNetwork]) -> Iterator[Problem]:
    to, via = route.get("to"), route.get("via")
    if isinstance(to, str) and to != "default" and network_of(to) is None:
        yield Problem("routes", f"{to!r} is no network", 'write "10.1.0.0/16" or "default"')
    hop = _address(via) if isinstance(via, str) and via else None
    if isinstance(via, str) and via and hop is None:
        yield Problem("routes", f"{via!r} is no address", 'write the next hop without prefix: "10.0.0.1"')
    elif hop and isinstance(to, str) and (far := network_of(to)) and far.version != hop.version:
        yield Problem("routes", f"{to} via {via}: IPv4 and IPv6 do not mix", "choose a next hop of the same kind")
    elif hop and not hop.is_link_local and not any(hop in near for near in there):
        yield Problem("routes", f"{via} is in no network of address", "choose a next hop that is on the link")
    if to == "default" and not via:
        yield Problem("routes", "a default route needs a next hop", 'write "default via 10.0.0.1"')
    metric = route.get("metric")
    if isinstance(metric, int) and not 0 <= metric < 2**32:
        yield Problem("routes", f"{metric} is no metric", "a number from 0 to 4294967295")


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, (list, tuple)) else []


def _device(field: str, name: Any) -> Iterator[Problem]:
    """Names of network devices (dev_valid_name() of the kernel's net/core/dev.c)."""
    if not isinstance(name, str):
        return
    if not 0 < len(name.encode()) < 16 or name in (".", "..", "lo") or re.search(r"[\s/:%\0]", name):
        remedy = "1 to 15 bytes without space, slash, colon or percent sign, and not lo"
        yield Problem(field, f"{name!r} is no name of a network device", remedy)


def _hardware(mac: Any) -> Iterator[Problem]:
    if not isinstance(mac, str) or not mac:
        return
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", mac):
        yield Problem("veth.mac", f"{mac!r} is no hardware address", 'write "02:00:00:00:00:01"')
    elif int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16):
        yield Problem("veth.mac", f"{mac} is no address of one device", "its first number is even, and it is not zero")


def _mtu(field: str, mtu: Any) -> Iterator[Problem]:
    if isinstance(mtu, int) and not 68 <= mtu <= 65535:
        yield Problem(field, f"{mtu} is no MTU", "68 to 65535 bytes; 1280 at least for IPv6")


def _is_port(text: str, *, bound: bool) -> bool:
    """Whether pasta(1) takes it: ``[ADDRESS/]FIRST[-LAST][:FIRST[-LAST]]``."""
    before, slash, ports = text.rpartition("/")
    if slash and (not bound or _address(before) is None):
        return False
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?::(\d{1,5})(?:-(\d{1,5}))?)?", ports)
    if match is None or any(not 0 < int(number) < 65536 for number in filter(None, match.groups())):
        return False
    ranges = [(int(a), int(b or a)) for a, b in (match.groups()[:2], match.groups()[2:]) if a]
    return all(a <= b for a, b in ranges) and len({b - a for a, b in ranges}) == 1


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def interface(text: str) -> Interface | None:
    """Return an address with its prefix, None when the text is none or says no prefix."""
    try:
        return ipaddress.ip_interface(text) if "/" in text and "%" not in text else None
    except ValueError:
        return None


def network_of(text: str) -> IPNetwork | None:
    """Return a destination; None when the text is none, or has bits beyond its prefix."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
