"""What a card wishes of the kernel, what of it is nonsense anywhere, and what of it is foreseen to be lost here. Pure."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from arje.card.card import Card
from arje.card.soma import FEATURES, Soma
from arje.errors import SetupFailed
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import FAMILIES
from arje.incarnation import Cause, Degradation, Step
from arje.kernel import identity
from arje.kernel.capabilities import Availability, CapabilitySet

#: Features that mean nothing without another: when the right one is lost, so is the left one.
NEEDS: Final = {feature: needed for family in FAMILIES for feature, needed in family.NEEDS.items()}


def loss_of(wish: Wish, found: Availability) -> Degradation:
    """Return the degradation of a wish that the kernel cannot grant."""
    return Degradation(
        feature=wish.feature,
        requested=wish.requested,
        obtained="none",
        cause=found.cause or Cause.NO_CAPABILITY,
        errno=found.errno,
        syscall=found.syscall,
        detail=found.detail,
        since=time.time(),
        remedy=found.remedy,
    )


def wishes_of(soma: Soma) -> Iterator[Wish]:
    """Yield every wish of a soma, family by family."""
    for family in FAMILIES:
        yield from family.wishes(soma)


def refuse_nonsense(card: Card, soma: Soma) -> None:
    """Raise SetupFailed with step ``plan`` for the first thing that cannot work on any machine."""

    def refuse(field: str, detail: str, hint: str) -> None:
        line = card.source.line_of(field)
        raise SetupFailed(card.label, Step.PLAN, 0, field, detail, hint=hint, line=line)

    for family in FAMILIES:
        for problem in family.nonsense(soma):
            refuse(*problem)
    for name in (*soma.require, *soma.prefer):
        if name not in FEATURES and name not in ("cgroup", "rlimit", "network"):
            refuse("soma.require" if name in soma.require else "soma.prefer", f"no feature {name!r}", "")
    for field, value in texts(soma, "soma"):
        if "\0" in value:
            refuse(field, f"a NUL byte in {value!r}", "remove it")


def texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """Yield every string in a value with the field that it stands in; items of lists have their list's."""
    if isinstance(value, str):
        yield field, value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield from texts(getattr(value, part.name), f"{field}.{part.name}")
    elif isinstance(value, tuple):
        for item in value:
            yield from texts(item, field)


def foresee(
    wishes: tuple[Wish, ...], soma: Soma, capabilities: CapabilitySet, losses: tuple[Degradation, ...]
) -> tuple[Degradation, ...]:
    """Add to the losses what the probing foresees, and what falls with another feature."""
    lost = {loss.feature: loss for loss in losses}
    for wish in wishes:
        found = capabilities[wish.feature]
        if wish.feature in lost:
            continue
        if not found.available:
            lost[wish.feature] = loss_of(wish, found)
        elif found.needs_user and (not soma.namespaces.user or "user" in lost):
            detail = "this user gets it together with a user namespace only"
            no = Availability(
                wish.feature, False, True, Cause.NO_CAPABILITY, 1, "clone3", detail, "add namespaces.user"
            )
            lost[wish.feature] = loss_of(wish, no)
    for wish in wishes:
        for needed in NEEDS.get(wish.feature, ()):
            if needed in lost and wish.feature not in lost:
                because = replace(lost[needed], feature=wish.feature, requested=wish.requested)
                lost[wish.feature] = replace(because, detail=f"needs {needed}: {because.detail}")
    return tuple(lost.values())


def foresee_identity(who: identity.Identity | None, soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee that an ordinary user cannot become another one."""
    mapped = any(line.inside == who.uid and line.outside != os.geteuid() for line in soma.uid_map) if who else False
    if who is None or capabilities.privileged or mapped or who.uid == os.geteuid():
        return ()
    detail = f"user {os.geteuid()} may not become user {who.uid}"
    no = Availability("run_as", False, False, Cause.NO_CAPABILITY, 1, "setresuid", detail, "run the manager as root")
    return (loss_of(Wish("run_as", who.name, "soma.run_as"), no),)
