"""What an incarnation holds outside of itself: a pair of devices, and the pasta(1) that is its network.

Both are made while the child waits at its gate, and go with it. Making a pair takes 2 ms. Pasta needs 20 ms to start, so
it is not waited for here: it tells that it is ready by writing its pid to its standard output (its pid file), and the
gate stays shut until then. It lives in the service's cgroup: whatever ends the service ends it.
"""

from __future__ import annotations

import ipaddress
import os
import select
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

from arje import native
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.families.network import NEEDS, falls_back, outer_name, wishes
from arje.incarnate.family import lose, loss_of
from arje.incarnation import Cause, Degradation
from arje.kernel import network
from arje.kernel.capabilities import CapabilitySet, cause_of_errno
from arje.kernel.cgroup import Cgroup


class Site(NamedTuple):
    """Where it is made for: the waiting child, the owner of the stacks, the service's cgroup."""

    pid: int
    spawner: native.Spawner
    group: Cgroup | None


class Held(Protocol):
    """One thing that is held."""

    ready_fd: int
    """Readable when it is ready or has failed; -1 when there is nothing to wait for."""
    helper_pid: int
    """The process that it is, a child of ours; 0 when it is none."""
    feature: str

    def ready(self) -> str | None:
        """Return why it did not become ready, None when it did. Call it once, when ``ready_fd`` is readable."""

    def release(self) -> None:
        """Undo it; may take some milliseconds, may be called twice."""


def hold(plan: Blueprint, site: Site, held: list[Held]) -> tuple[Degradation, ...]:
    """Make what the plan has of it for the waiting child, add it to ``held``, and return what was refused."""
    losses = []
    for wish in plan.wishes:
        if wish.feature not in plan.has:
            continue
        try:
            if wish.feature == "network.veth":
                held.append(_pair(plan, site))
            elif wish.feature == "network.pasta":
                held.append(_pasta(plan, site))
        except OSError as error:
            losses.append(refused(wish, error))
    return (*losses, *_with_it(plan, losses))


def _with_it(plan: Blueprint, losses: list[Degradation]) -> Iterable[Degradation]:
    """Yield what means nothing without what was refused here: routes without their device."""
    lost = {loss.feature: loss for loss in losses}
    for wish in plan.wishes:
        for needed in NEEDS.get(wish.feature, ()) if wish.feature in plan.has else ():
            if needed in lost:
                because = replace(lost[needed], feature=wish.feature, requested=wish.requested)
                yield replace(because, detail=f"needs {needed}: {because.detail}")


def unready(held: Iterable[Held]) -> Held | None:
    """Return the first that is to be waited for."""
    return next((thing for thing in held if thing.ready_fd >= 0), None)


def look(thing: Held, plan: Blueprint) -> tuple[Degradation, ...] | None:
    """Return what became of something unready: nothing lost, its loss, or None when it is not known yet."""
    poll = select.poll()
    poll.register(thing.ready_fd, select.POLLIN)
    if not poll.poll(0):
        return None
    said = thing.ready()
    if said is None:
        return ()
    wish = next(wish for wish in plan.wishes if wish.feature == thing.feature)
    return (lose(wish, Cause.HELPER_MISSING, said, "run pasta by hand to see what it lacks"),)


# -- what is lost ------------------------------------------------------------------------------------------------------


def foresee_fallback(soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee the host's network in place of pasta's, for a card that takes it."""
    if not falls_back(soma, capabilities):
        return ()
    found = capabilities["network.pasta"]
    return tuple(replace(loss_of(wish, found), obtained="the host's network") for wish in wishes(soma))


def foresee_bridge(soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee that a bridge is missing now; it may come and go, so each start looks for it again."""
    veth = soma.network.veth if soma.network else None
    try:
        if veth is not None and capabilities["network.veth"].available:
            network.find_bridge(veth.bridge, make=veth.create_bridge)
    except OSError as error:
        return tuple(refused(wish, error) for wish in wishes(soma) if wish.feature == "network.veth")
    return ()


def refused(wish: Wish, error: OSError) -> Degradation:
    """Say what a refusal means; the errnos of rtnetlink(7) mean something else than those of clone(2)."""
    number = error.errno or 0
    cause, detail, remedy = cause_of_errno(number, wish.feature)
    if isinstance(error, network.NoBridge):
        cause, remedy = Cause.HELPER_MISSING, "make the bridge, or write create_bridge = true"
    own = isinstance(error, (network.NoBridge, FileNotFoundError))
    words = error.strerror if own and error.strerror else f"{detail} ({error.strerror})"
    syscall = "rtnetlink RTM_NEWLINK" if wish.feature == "network.veth" else "clone3"
    return lose(wish, cause, words, remedy, errno=number, syscall=syscall)


# -- a pair of devices -------------------------------------------------------------------------------------------------


class _Devices:
    feature = "network.veth"
    ready_fd = -1
    helper_pid = 0

    def __init__(self, pair: network.Pair) -> None:
        self._pair: network.Pair | None = pair

    def ready(self) -> None:
        """It is."""

    def release(self) -> None:
        """Remove it at once: by itself it goes some time after the last process of the namespace."""
        pair, self._pair = self._pair, None
        if pair is not None:
            network.remove_pair(pair)


def _pair(plan: Blueprint, site: Site) -> Held:
    asked = plan.soma.network.veth if plan.soma.network else None
    assert asked is not None
    made = network.make_pair(
        site.pid,
        outer=outer_name(plan, site.pid),
        inner=asked.name,
        bridge=asked.bridge,
        create=[*map(ipaddress.ip_interface, asked.bridge_address)] if asked.create_bridge else None,
        mac=asked.mac,
        mtu=asked.mtu or 0,
    )
    return _Devices(made)


def _pasta(plan: Blueprint, site: Site) -> Held:
    from arje.incarnate import pasta  # few services have one

    asked = plan.soma.network.pasta if plan.soma.network else None
    assert asked is not None
    userns = f"/proc/{site.pid}/ns/user" if "user" in plan.kinds else ""
    space = os.open(f"/proc/{site.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return pasta.start(asked, space, userns, site.spawner, site.group.fd if site.group is not None else -1)
    finally:
        os.close(space)
