"""What a card wishes of the kernel, what of it is nonsense anywhere, and what of it is foreseen to be lost here. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NoReturn

from arje.card.card import Card
from arje.card.files import ITEMISED
from arje.card.soma import FEATURES, Soma
from arje.errors import SetupFailed
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import FAMILIES, joins
from arje.incarnate.family import Nonsense, loss_of
from arje.incarnation import Cause, Degradation, Step
from arje.kernel.capabilities import Availability, CapabilitySet

#: Features that mean nothing without another: when the right one is lost, so is the left one.
NEEDS: Final = {feature: needed for family in FAMILIES for feature, needed in family.NEEDS.items()}


def wishes_of(soma: Soma) -> Iterator[Wish]:
    """Yield every wish of a soma, family by family."""
    for family in FAMILIES:
        yield from family.wishes(soma)


def refuse(card: Card, problem: Nonsense) -> NoReturn:
    """Raise SetupFailed with step ``plan`` for something that cannot work."""
    field, detail, hint = problem
    raise SetupFailed(card.label, Step.PLAN, 0, field, detail, hint=hint, line=card.source.line_of(field))


def refuse_nonsense(card: Card, soma: Soma) -> None:
    """Raise SetupFailed with step ``plan`` for the first thing that cannot work on any machine."""
    for family in FAMILIES:
        for problem in family.nonsense(soma):
            refuse(card, problem)
    for problem in joins.itself(card):
        refuse(card, problem)
    known = {*FEATURES, *(feature.partition(".")[0] for feature in FEATURES)}
    for name in (*soma.require, *soma.prefer):
        if name not in known and name.partition(".")[0] not in ITEMISED:
            field = "soma.require" if name in soma.require else "soma.prefer"
            refuse(card, Nonsense(field, f"no feature {name!r}", ""))
    for field, value in texts(soma, "soma"):
        if "\0" in value:
            refuse(card, Nonsense(field, f"a NUL byte in {value!r}", "remove it"))


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
        for needed in NEEDS.get(wish.feature) or NEEDS.get(wish.feature.partition(".")[0], ()):
            if needed in lost and wish.feature not in lost:
                because = replace(lost[needed], feature=wish.feature, requested=wish.requested)
                lost[wish.feature] = replace(because, detail=f"needs {needed}: {because.detail}")
    return tuple(lost.values())
