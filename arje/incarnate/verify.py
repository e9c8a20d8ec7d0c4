"""Reading back: what a process really has, against what its card asked for.

The witness is the child itself: right before execve it sends the kernel's texts about itself (native/facts.c), so that a
payload can neither change them first nor be gone too early. Cgroup files are read from outside. What no text shows is
asked of the kernel again by the step that did it (``getsid``, ``PR_GET_PDEATHSIG``), which fails when the answer differs.
"""

from __future__ import annotations

import select
from dataclasses import replace
from typing import Final

from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.families import FAMILIES, cgroups, privileges
from arje.incarnate.family import Answer, Reader, drifted
from arje.incarnation import Degradation, Grant
from arje.kernel import process
from arje.kernel.cgroup import Cgroup
from arje.kernel.facts import Facts

UNREAD: Final = "granted; there is no /proc to read it back from"
ASKED_AGAIN: Final = "asked again: yes"
READERS: Final[dict[str, Reader]] = {feature: reader for family in FAMILIES for feature, reader in family.READ.items()}


def read_back(
    plan: Blueprint,
    facts: Facts | None,
    ours: Facts,
    group: Cgroup | None,
    losses: tuple[Degradation, ...],
    only: frozenset[str] | None = None,
) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
    """Return a grant for each wish and one degradation for each that is not ok; ``only``: of these features.

    ``facts`` None: nothing could be read.
    """
    lost = {loss.feature: loss for loss in losses}
    grants = []
    for wish in plan.wishes if only is None else (wish for wish in plan.wishes if wish.feature in only):
        if wish.feature in lost:
            obtained = lost[wish.feature].obtained if lost[wish.feature].partial else ""
            grants.append(Grant(wish.feature, wish.requested, obtained, False))
            continue
        answer = _answer(plan, facts, ours, group, wish)
        grants.append(Grant(wish.feature, wish.requested, *answer))
        if not answer.ok:
            lost[wish.feature] = drifted(wish, answer.granted)
    return tuple(grants), tuple(lost.values())


def _answer(plan: Blueprint, facts: Facts | None, ours: Facts, group: Cgroup | None, wish: Wish) -> Answer:
    family = wish.feature.partition(".")[0]
    if family == "cgroup":
        return cgroups.read(group, plan, wish)
    reader = READERS.get(wish.feature) or READERS.get(family)
    if reader is None:
        return Answer(ASKED_AGAIN, True)
    if facts is None:
        return Answer(UNREAD, True)
    try:
        return reader(facts, ours, plan, wish)
    except (KeyError, OSError) as error:
        return Answer(f"not readable: {error}", False)


def look(
    plan: Blueprint,
    told: Facts | None,
    pid: int,
    pidfd: int,
    grants: tuple[Grant, ...],
    losses: tuple[Degradation, ...],
) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
    """Return the same, corrected by what the running payload has: the file of a program may have rights of its own.

    New losses are at the end. A payload that has ended already is believed.
    """
    if told is None or plan.soma.capabilities is None:
        return grants, losses
    try:
        running = process.status(pid)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        more = {} if ended.poll(0) else privileges.excess(plan, told.status, running)  # its number was nobody else's
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return grants, losses
    lost = {loss.feature for loss in losses}
    wishes = {wish.feature: wish for wish in plan.wishes if wish.feature in more and wish.feature not in lost}
    why, remedy = "the program's file has rights of its own (setuid, setgid or capabilities)", "set no_new_privs"
    found = [drifted(wish, more[name], why, remedy) for name, wish in wishes.items()]
    corrected = tuple(
        replace(grant, granted=more[grant.feature], ok=False) if grant.feature in wishes else grant for grant in grants
    )
    return corrected, (*losses, *found)
