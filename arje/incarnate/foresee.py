"""Losses that hang on the value that a card asks for, told before anything is started. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from arje.card.soma import RLIMITS, Soma
from arje.incarnate.blueprint import Wish
from arje.incarnate.families import limits, priority
from arje.incarnate.family import loss_of
from arje.incarnation import Cause, Degradation
from arje.kernel import raises
from arje.kernel.capabilities import Availability, CapabilitySet
from arje.kernel.powers import Powers


def raised(soma: Soma, capabilities: CapabilitySet) -> Iterator[Degradation]:
    """Yield the wishes for more than this process may give away."""
    for wish in (*limits.wishes(soma), *priority.wishes(soma)):
        family = wish.feature.partition(".")[0]
        found: Availability | None = None
        if family == "rlimit":
            found = _rlimit(soma, wish, capabilities)
        elif family in _BEYOND and _BEYOND[family][1](soma, capabilities.powers):
            found = capabilities[_BEYOND[family][0]]
        if found is not None and not found.available:
            yield loss_of(wish, found)


def _rlimit(soma: Soma, wish: Wish, capabilities: CapabilitySet) -> Availability | None:
    name = wish.feature.removeprefix("rlimit.")
    hard = next(hard for found, _, hard in soma.rlimits if found == name)
    if name == "nofile" and hard > (most := capabilities.powers.nr_open):
        detail, remedy = f"fs.nr_open is {most}", f"sysctl fs.nr_open={hard}, or ask for less"
        return Availability(wish.feature, False, False, Cause.SYSCTL, 1, "prlimit", detail, remedy)
    own = capabilities.powers.limits[RLIMITS[name]][1]
    if hard <= own:
        return None
    found = capabilities[raises.RLIMIT]
    return replace(found, detail=f"the manager's own hard limit is {own}: {found.detail}")


def _nice(soma: Soma, mine: Powers) -> bool:
    """Lower than ours, and lower than the limit nice lets (setrlimit(2): 20 minus it)."""
    allowed = next((soft for name, soft, _ in soma.rlimits if name == "nice"), _soft(mine, "nice"))
    return soma.nice is not None and soma.nice < min(mine.nice, 20 - allowed)


def _ioprio(soma: Soma, mine: Powers) -> bool:
    return soma.ioprio is not None and soma.ioprio.kind == "realtime"


def _scheduler(soma: Soma, mine: Powers) -> bool:
    """A deadline cannot be had by any limit."""
    allowed = next((soft for name, soft, _ in soma.rlimits if name == "rtprio"), _soft(mine, "rtprio"))
    asked = soma.scheduler
    return asked is not None and (asked.policy == "deadline" or asked.priority > allowed)


def _oom_score_adj(soma: Soma, mine: Powers) -> bool:
    return soma.oom_score_adj is not None and soma.oom_score_adj < mine.oom_score_adj


def _soft(mine: Powers, name: str) -> int:
    return mine.limits[RLIMITS[name]][0]


#: Feature → the probe that must have said yes, when what is asked goes beyond what everybody has.
_BEYOND = {
    "nice": (raises.NICE, _nice),
    "ioprio": (raises.IOPRIO, _ioprio),
    "scheduler": (raises.SCHEDULER, _scheduler),
    "oom_score_adj": (raises.OOM, _oom_score_adj),
}
