"""Which network a service sees: the host's, none, its own loopback, a leg on a bridge (veth(4)), or pasta(1)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

_FORBID: Final[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}
#: What ``mode`` may say.
MODES: Final = ("", "host", "none", "loopback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route inside. TOML may also write ``"10.1.0.0/16 via 10.0.0.1"``; ``default`` is every address of a family."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    to: str
    """Destination: ``"10.1.0.0/16"``, or ``"default"`` together with ``via``."""
    via: str = ""
    """Next hop; empty means that the destination is reached directly."""
    metric: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A pair of devices: one end inside, the other on a bridge of the manager's network (veth(4))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    bridge: str
    create_bridge: bool = False
    """Make the bridge when it is missing; one that arje made goes with its last service."""
    bridge_address: tuple[str, ...] = ()
    """Addresses that a bridge made here gets, for instance the gateway: ``["10.0.0.1/24"]``."""
    address: tuple[str, ...] = ()
    """Addresses inside, with prefix: ``["10.0.0.2/24", "fd00::2/64"]``."""
    gateway: tuple[str, ...] = ()
    """Next hop of the default route, at most one for each of IPv4 and IPv6."""
    name: str = "eth0"
    """The device's name inside."""
    mac: str = ""
    """Hardware address inside; empty means that the kernel draws one."""
    mtu: int | None = None
    host_name: str = ""
    """The outer end's name; empty means one made of the pid and the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasta:
    """User-level networking by pasta(1), which asks for no privilege: connections out, and the ports that are named.

    A port is written ``"8080"``, ``"8080:80"`` (outside:inside), ``"8000-8010"`` or ``"127.0.0.1/8080:80"``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    tcp: tuple[str, ...] = ()
    """TCP ports of the host that lead inside."""
    udp: tuple[str, ...] = ()
    """UDP ports of the host that lead inside."""
    host_tcp: tuple[str, ...] = ()
    """TCP ports of the host's loopback that the service reaches as its own: ``"5432"``."""
    host_udp: tuple[str, ...] = ()
    """UDP ports of the host's loopback that the service reaches as its own."""
    reach_host: bool = False
    """Whether the gateway's address leads to the host's loopback: all of it."""
    name: str = "eth0"
    """The device's name inside."""
    address: str = ""
    """IPv4 address inside, with prefix; empty means the host's own."""
    gateway: str = ""
    """IPv4 gateway inside; empty means the host's own."""
    mtu: int | None = None
    fallback: str = ""
    """``"host"``: where pasta cannot be had, give the host's network and say so. Empty: the card is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What network there is. TOML may write a word: ``"host"``, ``"none"`` (not even lo is up), ``"loopback"``.

    All but ``host`` imply a net namespace.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    mode: str = ""
    """``"host"``, ``"none"`` or ``"loopback"``; empty beside ``veth`` or ``pasta``."""
    veth: Veth | None = None
    pasta: Pasta | None = None
    routes: tuple[Route, ...] = ()
    """Further routes inside, beside ``veth``."""

    @property
    def own(self) -> bool:
        """Whether it is a network of the service's own."""
        return self.mode != "host"


#: The names of these wishes in ``require``, ``prefer`` and degradations; ``network`` names them all.
FEATURES: Final = ("network.none", "network.veth", "network.routes", "network.pasta")


class Problem(NamedTuple):
    """What is wrong with a field (its path below ``network``), and what to write."""

    field: str
    detail: str
    remedy: str


Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


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
    for route in routes:
        if isinstance(route, dict):
            yield from _route(route)


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
            if interface(text) is None:
                yield Problem(f"veth.{field}", f"{text!r} is no address", 'write it with prefix: "10.0.0.2/24"')
    yield from _gateways([i for i in map(interface, _texts(veth.get("address"))) if i], _texts(veth.get("gateway")))
    yield from _hardware(veth.get("mac"))
    yield from _mtu("veth.mtu", veth.get("mtu"))


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


def _route(route: dict[str, Any]) -> Iterator[Problem]:
    to, via = route.get("to"), route.get("via")
    if isinstance(to, str) and to != "default" and network_of(to) is None:
        yield Problem("routes", f"{to!r} is no network", 'write "10.1.0.0/16" or "default"')
    if isinstance(via, str) and via and _address(via) is None:
        yield Problem("routes", f"{via!r} is no address", 'write the next hop without prefix: "10.0.0.1"')
    elif (
        isinstance(to, str) and via and (there := network_of(to)) and there.version != ipaddress.ip_address(via).version
    ):
        yield Problem("routes", f"{to} via {via}: IPv4 and IPv6 do not mix", "choose a next hop of the same kind")
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


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
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


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return a destination; None when the text is none, or has bits beyond its prefix."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
