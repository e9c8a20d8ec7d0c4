"""What a start of a card would do, told without starting anything: here, or on a host that a report describes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from arje.card.card import Card
from arje.card.soma import Soma
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate import layers, plan
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import limits
from arje.incarnate.family import lose
from arje.incarnate.held import foresee_bridge
from arje.incarnate.policy import refusals
from arje.incarnation import Cause, Degradation, Step
from arje.kernel.capabilities import CapabilitySet


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a start would do: the ops in order, what is asked, what it would lose, why it would be refused (or empty)."""

    operations: tuple[str, ...]
    degradations: tuple[Degradation, ...]
    refusal: str
    wishes: tuple[Wish, ...] = ()


def forecast(card: Card, capabilities: CapabilitySet, variables: dict[str, str], *, here: bool = True) -> Forecast:
    """Return what a start of a card would do on a host with these capabilities.

    ``here``: it is this host, so what comes and goes (bridges, mounts) is looked for. Raises SetupFailed for what
    cannot work anywhere.
    """
    now = foresee_bridge(card.soma, capabilities) if here else ()
    now += tuple(_cpus(card.soma, capabilities))
    blueprint = plan.make(card, capabilities, variables=variables, losses=now)
    if here and (locked := layers.foresee(blueprint)) is not None:
        blueprint = plan.make(card, capabilities, variables=variables, losses=(*now, locked))
    refused = refusals(card.soma, blueprint.losses)
    refusal = str(IncarnationRefused(card.label, refused)) if refused else ""
    if not capabilities["clone"].available:
        refusal = refusal or str(childless(card.label, capabilities["clone"].errno, capabilities))
    return Forecast(tuple(blueprint.describe()), blueprint.losses, refusal, blueprint.wishes)


def childless(label: str, number: int, capabilities: CapabilitySet) -> SetupFailed:
    """Return the error of a clone that is refused whatever the card asks for, and the cause when it is always so."""
    found = capabilities["clone"]
    return SetupFailed(label, Step.CLONE, number, "", found.detail, hint=found.remedy)


def told(error: SetupFailed) -> Forecast:
    """Return the forecast of a card that cannot be planned anywhere."""
    return Forecast((), (), str(error))


def _cpus(soma: Soma, capabilities: CapabilitySet) -> Iterator[Degradation]:
    """CPUs come and go, so no start relies on this: it asks the kernel, which keeps what is there."""
    wish = next((wish for wish in limits.wishes(soma) if wish.feature == "cpu_affinity"), None)
    if wish is None or not (missing := set(soma.cpu_affinity) - set(capabilities.powers.cpus)):
        return
    if there := frozenset(soma.cpu_affinity) - missing:
        yield limits.narrowed(wish, there)
    else:
        detail, remedy = "the machine or an outer cpuset has none of these CPUs", "ask for CPUs that are there"
        yield lose(wish, Cause.LIMIT, detail, remedy, errno=errno.EINVAL, syscall="sched_setaffinity")
