"""The network that the payload sees. The net namespace itself and lo belong to the family of namespaces.

A pair of devices is made by the parent while the child waits (held.py), because it needs both namespaces; addresses and
routes are the child's own requests, made as bytes here: a daemon cannot enter the namespace without a thread for it.
What became of it is in the kernel's answers to the child's own questions, right before execve.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Final

from arje.card.network import Network, Route
from arje.card.network_check import problems
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup
from arje.kernel import network, rtnetlink
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.kernel.rtnetlink import Link, Way

NEEDS: Final = {
    "network.none": ("net",),
    "network.veth": ("net",),
    "network.routes": ("net", "network.veth"),
    "network.pasta": ("net",),
}
MUST: Final = frozenset({"network.veth", "network.routes", "network.pasta"})
SHOWN_BY: Final = {"network": "network"}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}
_DEFAULT: Final = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}


def implied(soma: Soma, capabilities: CapabilitySet) -> Soma:
    """Return the soma with the net namespace that its network is in; without one where it falls back to the host's."""
    if soma.network is None or not soma.network.own or soma.namespaces.net or falls_back(soma, capabilities):
        return soma
    return replace(soma, namespaces=replace(soma.namespaces, net=True))


def falls_back(soma: Soma, capabilities: CapabilitySet) -> bool:
    """Whether the card takes the host's network because pasta cannot be had here."""
    pasta = soma.network.pasta if soma.network else None
    return pasta is not None and pasta.fallback == "host" and not capabilities["network.pasta"].available


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the device, with its addresses, and the routes."""
    asked = soma.network
    if asked is None:
        return
    if asked.mode == "none":
        yield Wish("network.none", "no device is up", "soma.network")
    if veth := asked.veth:
        words = " ".join((veth.name, *veth.address, "on", veth.bridge))
        yield Wish("network.veth", words, "soma.network.veth")
    if routes := ways_of(asked):
        field = "soma.network.routes" if asked.routes else "soma.network.veth.gateway"
        yield Wish("network.routes", ", ".join(map(_words, routes)), field)
    if pasta := asked.pasta:
        ports = [*(f"tcp {port}" for port in pasta.tcp), *(f"udp {port}" for port in pasta.udp)]
        yield Wish("network.pasta", " ".join(("pasta", pasta.name, *ports)), "soma.network.pasta")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield what is wrong with the values, and a namespace that the host's network cannot be in."""
    if soma.network is None:
        return
    for problem in problems(asdict(soma.network)):
        field = f"soma.network.{problem.field}" if problem.field else "soma.network"
        yield Nonsense(field, problem.detail, problem.remedy)
    if not soma.network.own and soma.namespaces.net:
        yield Nonsense(
            "soma.network", "the host's network is not in a net namespace of its own", "remove one of the two"
        )


def ways_of(asked: Network) -> tuple[Way, ...]:
    """Return the routes that a card asks for, those of the gateways first."""
    hops = asked.veth.gateway if asked.veth else ()
    return tuple(map(_way, (*(Route(to="default", via=hop) for hop in hops), *asked.routes)))


def _way(route: Route) -> Way:
    via = ipaddress.ip_address(route.via) if route.via else None
    if route.to == "default":
        assert via is not None
        return Way(_DEFAULT[via.version], via, 0, route.metric)
    return Way(ipaddress.ip_network(route.to), via, 0, route.metric)


def _words(way: Way) -> str:
    to = "default" if way.to.prefixlen == 0 else str(way.to)
    return to + (f" via {way.via}" if way.via else "") + (f" metric {way.metric}" if way.metric else "")


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the requests of the child: addresses first, for then the device comes up with them; routes last."""
    asked = scene.soma.network
    if asked is None or (veth := asked.veth) is None or "network.veth" not in scene.have:
        return
    for text in veth.address:
        request = rtnetlink.new_address(ipaddress.ip_interface(text))
        setup.with_network(request, veth.name, "network.veth", "soma.network.veth.address", text)
    up = rtnetlink.message(rtnetlink.NEWLINK, rtnetlink.link(up=True))
    setup.with_network(up, veth.name, "network.veth", "soma.network.veth", "up")
    if "network.routes" in scene.have:
        for number, way in enumerate(ways_of(asked)):
            field = "soma.network.veth.gateway" if number < len(veth.gateway) else "soma.network.routes"
            setup.with_network(rtnetlink.new_route(way), veth.name, "network.routes", field, _words(way))


def outer_name(plan: Blueprint, pid: int) -> str:
    """Return the name of the outer end: no two children have one pid, and a person sees whose it is."""
    veth = plan.soma.network.veth if plan.soma.network else None
    if veth is not None and veth.host_name:
        return veth.host_name
    return f"a{pid}-{re.sub('[^A-Za-z0-9._-]', '-', plan.card.label)}"[:15].rstrip("-.")


# -- reading back ------------------------------------------------------------------------------------------------------


def _device(facts: Facts, name: str) -> Link | None:
    return next((link for link in facts.links if link.name == name), None)


def _describe(facts: Facts, device: Link) -> str:
    own = [str(found.address) for found in facts.addresses if found.device == device.index]
    return " ".join((device.name, "up" if device.up else "down", *own, f"mac {device.mac} mtu {device.mtu}"))


def _none(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    up = [link.name for link in facts.links if link.up]
    return Answer(f"{', '.join(up)} up" if up else "no device is up", not up)


def _veth(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """The inner end as the child sees it, and the outer one as we do: it says whose port it is."""
    assert plan.soma.network is not None
    assert plan.soma.network.veth is not None
    asked = plan.soma.network.veth
    device = _device(facts, asked.name)
    if device is None or device.kind != "veth":
        return Answer(device.kind if device else "", False)
    outer = network.link_of(device.peer)
    bridge = network.name_of(outer.master) if outer else ""
    granted = f"{_describe(facts, device)}, {outer.name if outer else 'nothing'} on {bridge or 'no bridge'}"
    own = {found.address for found in facts.addresses if found.device == device.index}
    ok = device.up and outer is not None and outer.up and bridge == asked.bridge
    ok = ok and {ipaddress.ip_interface(text) for text in asked.address} <= own
    ok = ok and asked.mtu in (None, device.mtu) and asked.mac.lower() in ("", device.mac)
    return Answer(granted, ok)


def _routes(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    asked = plan.soma.network
    assert asked is not None
    assert asked.veth is not None
    device = _device(facts, asked.veth.name)
    there = [way for way in facts.ways if device and way.device == device.index]
    granted = [
        way
        for way in ways_of(asked)
        if any((way.to, way.via) == found[:2] and way.metric in (0, found.metric) for found in there)
    ]
    return Answer(", ".join(map(_words, granted)), len(granted) == len(ways_of(asked)))


def _pasta(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """Its device, and a way out through it."""
    assert plan.soma.network is not None
    assert plan.soma.network.pasta is not None
    asked = plan.soma.network.pasta
    device = _device(facts, asked.name)
    if device is None:
        return Answer("", False)
    ways = [_words(way) for way in facts.ways if way.device == device.index and way.to.prefixlen == 0]
    granted = f"{_describe(facts, device)}, {', '.join(ways) or 'no way out'}"
    return Answer(granted, device.up and device.kind == "tun" and bool(ways))


READ: Final[dict[str, Reader]] = {
    "network.none": _none,
    "network.veth": _veth,
    "network.routes": _routes,
    "network.pasta": _pasta,
}
