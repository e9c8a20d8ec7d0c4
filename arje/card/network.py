"""Which network a service sees: the host's, none, its own loopback, a leg on a bridge (veth(4)), or pasta(1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Flag, Text, Texts, whole_rule

#: What ``mode`` may say.
MODES: Final = ("", "host", "none", "loopback")
Mtu = Annotated[int, whole_rule(68, 65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route inside. TOML may also write ``"10.1.0.0/16 via 10.0.0.1"``; ``default`` is every address of a family."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    to: Text
    """Destination: ``"10.1.0.0/16"``, or ``"default"`` together with ``via``."""
    via: Text = ""
    """Next hop; empty means that the destination is reached directly."""
    metric: Annotated[int, whole_rule(0, 2**32 - 1)] = 0
    """Lower ones are preferred; 0 is the kernel's own choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A pair of devices: one end inside, the other on a bridge of the manager's network (veth(4))."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    bridge: Text
    """The bridge's name."""
    create_bridge: Flag = False
    """Make the bridge when it is missing; one that arje made goes with its last service."""
    bridge_address: Texts = ()
    """Addresses that a bridge made here gets, for instance the gateway: ``["10.0.0.1/24"]``."""
    address: Texts = ()
    """Addresses inside, with prefix: ``["10.0.0.2/24", "fd00::2/64"]``."""
    gateway: Texts = ()
    """Next hop of the default route, at most one for each of IPv4 and IPv6."""
    name: Text = "eth0"
    """The device's name inside."""
    mac: Text = ""
    """Hardware address inside; empty means that the kernel draws one."""
    mtu: Mtu | None = None
    """Largest packet in bytes; empty means the driver's own."""
    host_name: Text = ""
    """The outer end's name; empty means one made of the pid and the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasta:
    """User-level networking by pasta(1), which asks for no privilege: connections out, and the ports that are named.

    A port is written ``"8080"``, ``"8080:80"`` (outside:inside), ``"8000-8010"`` or ``"127.0.0.1/8080:80"``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    tcp: Texts = ()
    """TCP ports of the host that lead inside."""
    udp: Texts = ()
    """UDP ports of the host that lead inside."""
    host_tcp: Texts = ()
    """TCP ports of the host's loopback that the service reaches as its own: ``"5432"``."""
    host_udp: Texts = ()
    """UDP ports of the host's loopback that the service reaches as its own."""
    reach_host: Flag = False
    """Whether the gateway's address leads to the host's loopback: all of it."""
    name: Text = "eth0"
    """The device's name inside."""
    address: Text = ""
    """IPv4 address inside, with prefix; empty means the host's own."""
    gateway: Text = ""
    """IPv4 gateway inside; empty means the host's own."""
    mtu: Mtu | None = None
    """Largest packet in bytes; empty means the driver's own."""
    fallback: Text = ""
    """``"host"``: where pasta cannot be had, give the host's network and say so. Empty: the card is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What network there is. TOML may write a word: ``"host"``, ``"none"`` (not even lo is up), ``"loopback"``.

    All but ``host`` imply a net namespace.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    mode: Text = ""
    """``"host"``, ``"none"`` or ``"loopback"``; empty beside ``veth`` or ``pasta``."""
    veth: Veth | None = None
    """A leg on a bridge."""
    pasta: Pasta | None = None
    """User-level networking."""
    routes: tuple[Route, ...] = ()
    """Further routes inside, beside ``veth``."""

    @property
    def own(self) -> bool:
        """Whether it is a network of the service's own."""
        return self.mode != "host"


#: The names of these wishes in ``require``, ``prefer`` and degradations; ``network`` names them all.
FEATURES: Final = ("network.none", "network.veth", "network.routes", "network.pasta")
