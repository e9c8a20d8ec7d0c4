"""Network devices of the manager's own namespace: bridges, and the outer ends of veth pairs (veth(4), bridge(8)).

The kernel is the only record: a bridge that arje made says so in its alias, so that even another manager, after a crash of
this one, knows whose it is. Every call takes about a millisecond, but for the removal of a device: the kernel waits
there until nobody looks at it any more (15 ms), so that is for a thread.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from arje.incarnation import Cause
from arje.kernel import rtnetlink
from arje.kernel.rtnetlink import IPInterface, Refused, Socket, attribute, kind_of_link, link, message, number

#: What the alias of a bridge says that arje made.
MADE: Final = "made by arje"
#: Between finding a bridge without ports and removing it, no port may come.
_BRIDGES: Final = threading.Lock()


class NoBridge(OSError):
    """The bridge is not there, or what has its name is no bridge; the text says which."""


class Pair(NamedTuple):
    """The outer end of a pair: its number and name, and the name of the bridge that it is a port of."""

    device: int
    name: str
    bridge: str


def make_pair(
    pid: int,
    *,
    outer: str,
    inner: str,
    bridge: str,
    create: Sequence[IPInterface] | None = None,
    mac: str = "",
    mtu: int = 0,
) -> Pair:
    """Make a pair in one call: the outer end up and a port of the bridge, the inner one in the net namespace of ``pid``.

    The inner one is for the child to set up: veth(4) opens no end while its peer is being made. ``create``: make a
    missing bridge with these addresses. Raises NoBridge, Refused (EEXIST: a name is taken) and OSError.
    """
    with Socket() as kernel, _BRIDGES:
        master = _bridge(kernel, bridge, create)
        peer = link(name=inner, mac=mac, mtu=mtu, more=number(19, pid))  # IFLA_NET_NS_PID
        pair = kind_of_link("veth", attribute(1, peer))  # VETH_INFO_PEER
        body = link(up=True, name=outer, mtu=mtu, more=number(10, master) + pair)  # IFLA_MASTER
        try:
            kernel.ask(message(rtnetlink.NEWLINK, body, rtnetlink.CREATE))
            made = kernel.link(name=outer)
        except BaseException:
            _remove_unused(kernel, bridge)
            raise
    if made is None:  # the namespace it leads to has ended meanwhile, and the pair with it
        raise Refused(errno.ESRCH, "the namespace is gone")
    return Pair(made.index, outer, bridge)


def remove_pair(pair: Pair) -> None:
    """Remove a pair and, when arje made it and it has no port any more, the bridge. What is gone already is well."""
    with contextlib.suppress(OSError), Socket() as kernel, _BRIDGES:
        found = kernel.link(index=pair.device)
        if found is not None and found.name == pair.name and found.kind == "veth":  # numbers are used again
            with contextlib.suppress(Refused):
                kernel.ask(message(rtnetlink.DELLINK, link(pair.device)))
        _remove_unused(kernel, pair.bridge)


def find_bridge(name: str, *, make: bool) -> None:
    """Make sure that there is a bridge of this name, or nothing when it may be made. Raises NoBridge, Refused, OSError."""
    with Socket() as kernel:
        found = _find(kernel, name, make=make)
    if not found and (refusal := probe("bridge")):
        raise refusal


def _find(kernel: Socket, name: str, *, make: bool) -> int:
    found = kernel.link(name=name)
    if found is not None and found.kind == "bridge":
        return found.index
    if found is not None:
        raise NoBridge(errno.EINVAL, f"{name} is no bridge but a {found.kind or 'plain'} device")
    if not make:
        raise NoBridge(errno.ENODEV, f"there is no bridge {name}")
    return 0


def _bridge(kernel: Socket, name: str, create: Sequence[IPInterface] | None) -> int:
    if index := _find(kernel, name, make=create is not None):
        return index
    assert create is not None
    alias = attribute(20, MADE.encode())  # IFLA_IFALIAS
    kernel.ask(message(rtnetlink.NEWLINK, link(up=True, name=name, more=kind_of_link("bridge")), rtnetlink.CREATE))
    made = kernel.link(name=name)
    if made is None:
        raise NoBridge(errno.ENODEV, f"{name} is gone again")
    try:
        kernel.ask(message(rtnetlink.NEWLINK, link(made.index, more=alias)))
        for address in create:
            kernel.ask(rtnetlink.new_address(address, made.index))
    except BaseException:
        kernel.ask(message(rtnetlink.DELLINK, link(made.index)))
        raise
    return made.index


def _remove_unused(kernel: Socket, name: str) -> None:
    with contextlib.suppress(Refused):
        bridge = kernel.link(name=name)
        if bridge is None or bridge.alias != MADE or bridge.kind != "bridge":
            return
        if not any(port.master == bridge.index for port in kernel.links()):
            kernel.ask(message(rtnetlink.DELLINK, link(bridge.index)))


def link_of(index: int) -> rtnetlink.Link | None:
    """Return the device with this number in the manager's namespace. Raises OSError."""
    with Socket() as kernel:
        return kernel.link(index=index)


def name_of(index: int) -> str:
    """Return the name of the device with this number, empty when there is none. Raises OSError."""
    found = link_of(index) if index else None
    return found.name if found else ""


#: What rtnetlink(7) means by its errnos, which is something else than clone(2) means.
_CAUSES: Final = {
    errno.EPERM: (
        Cause.NO_CAPABILITY,
        "CAP_NET_ADMIN over this network is missing",
        "run the manager as root, or use pasta",
    ),
    errno.EACCES: (Cause.SYSCTL, "IPv6 is switched off", "sysctl net.ipv6.conf.all.disable_ipv6=0"),
    errno.EOPNOTSUPP: (Cause.KERNEL_TOO_OLD, "this kernel has no driver for it", "modprobe veth, modprobe bridge"),
    errno.EAFNOSUPPORT: (Cause.KERNEL_TOO_OLD, "this kernel has no IPv6", "use IPv4 alone, or another kernel"),
    errno.EEXIST: (Cause.BUSY, "it is there already", "choose a name or an address that nothing else has"),
    errno.ENODEV: (Cause.HELPER_MISSING, "there is no such device", "make it first"),
    errno.ENETUNREACH: (
        Cause.HELPER_MISSING,
        "the next hop is on no link",
        "choose a next hop in a network of address",
    ),
    errno.EHOSTUNREACH: (
        Cause.HELPER_MISSING,
        "the next hop is on no link",
        "choose a next hop in a network of address",
    ),
    errno.ENOBUFS: (Cause.LIMIT, "the kernel has no room for it", "free some memory"),
    errno.ENOMEM: (Cause.LIMIT, "the kernel has no room for it", "free some memory"),
    errno.EXFULL: (Cause.LIMIT, "the bridge has no port left", "use another bridge"),
    errno.EMFILE: (Cause.LIMIT, "no descriptor is left", "raise the limit of open files"),
    errno.ENFILE: (Cause.LIMIT, "no descriptor is left", "raise fs.file-max"),
}


def cause_of(number: int) -> tuple[Cause, str, str] | None:
    """Return cause, detail and remedy of a refusal; None when it means here what it means everywhere."""
    return _CAUSES.get(number)


def probe(kind: str) -> Refused | None:
    """Ask for a device that no driver can make, too small for a packet: what else is refused first? None: nothing else.

    Nothing is made, but the kernel loads the driver's module as it would then. EPERM: CAP_NET_ADMIN over this
    namespace is missing; EOPNOTSUPP: no driver.
    """
    try:
        with Socket() as kernel:
            kernel.ask(
                message(rtnetlink.NEWLINK, link(name="arje-probe", mtu=1, more=kind_of_link(kind)), rtnetlink.CREATE)
            )
            found = kernel.link(name="arje-probe")
            if found is not None:  # a kernel that does not look at the size
                kernel.ask(message(rtnetlink.DELLINK, link(found.index)))
    except Refused as error:
        return None if error.errno in (errno.EINVAL, errno.ERANGE) else error
    except OSError as error:
        return Refused(error.errno or 0, error.strerror or "")
    return None
