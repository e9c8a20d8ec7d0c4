"""Namespaces of other services that a service lives in (setns(2)). Their descriptors are opened by neighbours.py."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from arje.card.card import Card
from arje.card.join import Join
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene, lose
from arje.incarnate.setup import ChildSetup
from arje.incarnation import Cause, Degradation
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.native import CLONE_NEW, Op

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final = frozenset(f"join.{kind}" for kind in Join.__slots__)
SHOWN_BY: Final[dict[str, str]] = {}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}
#: Kind → its place among the descriptors that a child keeps for its ``join`` steps.
PLACE: Final = {kind: number for number, kind in enumerate(Join.__slots__)}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the kinds that are entered."""
    for kind, label in soma.join.asked().items():
        yield Wish(f"join.{kind}", f"the {kind} namespace of {label}", f"soma.join.{kind}")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield kinds that are to be the service's own as well."""
    for kind in soma.join.asked():
        if kind in soma.namespaces.asked():
            yield Nonsense(f"soma.join.{kind}", f"namespaces.{kind} asks for one of its own", "take one of the two")


def itself(card: Card) -> Iterator[Nonsense]:
    """Yield what a service would enter before it is there."""
    for kind, label in card.soma.join.asked().items():
        if label == card.label:
            yield Nonsense(f"soma.join.{kind}", "it would join itself", f"ask for namespaces.{kind} instead")


def foresee(soma: Soma, capabilities: CapabilitySet) -> Iterator[Degradation]:
    """Yield what an ordinary user's manager may not enter: a namespace belongs to its service's user namespace."""
    for wish in () if capabilities.privileged else wishes(soma):
        if wish.feature == "join.pid":
            detail, remedy = "only CAP_SYS_ADMIN lets a manager start somebody there", "run the manager as root"
        elif not soma.join.user:
            detail, remedy = "it belongs to the other service's user namespace", "add join.user with the same service"
        else:
            continue
        yield lose(wish, Cause.NO_CAPABILITY, detail, remedy, errno=errno.EPERM, syscall="setns")


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place all but two: children are born in a pid namespace, and a privileged manager's rights end with join.user."""
    kinds = [kind for kind in scene.soma.join.asked() if f"join.{kind}" in scene.have and kind != "pid"]
    if "user" in kinds:
        kinds.remove("user")
        if not scene.capabilities.privileged:
            kinds.insert(0, "user")
    for kind in kinds:
        _join(setup, scene, kind)


def place_user(setup: ChildSetup, scene: Scene) -> None:
    """Place the user namespace where a privileged manager's service would get its own."""
    if "join.user" in scene.have and scene.capabilities.privileged:
        _join(setup, scene, "user")


def _join(setup: ChildSetup, scene: Scene, kind: str) -> None:
    label = scene.soma.join.asked()[kind]
    op = Op("join", a=CLONE_NEW[kind], p=(PLACE[kind],))
    # ids and rights are thought of as those inside: outside, they are the machine's
    feature = "" if kind == "user" else f"join.{kind}"
    setup.add(op, feature, f"soma.join.{kind}", f"the {kind} namespace of {label}")


def _joined(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    kind = wish.feature.removeprefix("join.")
    granted = facts.namespaces.get(kind, "")
    return Answer(granted, granted == dict(plan.joined).get(kind))


READ: Final[dict[str, Reader]] = {"join": _joined}
