"""What a scenario without a manager runs its payloads with: one call from the card to the end."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Soma
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet


class Ran(NamedTuple):
    """What became of one payload."""

    output: str
    exit: Exit
    incarnation: Incarnation

    def granted(self, feature: str) -> str:
        """Return what reading a feature back said. Raises AssertionError when it was not granted."""
        grant = next(grant for grant in self.incarnation.grants if grant.feature == feature)
        assert grant.ok, grant
        return grant.granted


_incarnator: list[Incarnator] = []


def incarnator() -> Incarnator:
    """The one of this process, made at its first use: probing takes a while on an emulated processor."""
    if not _incarnator:
        base = cgroup.find_base("arje") if os.geteuid() == 0 else None
        _incarnator.append(Incarnator(CapabilitySet.detect(base), base))
    return _incarnator[0]


def run(*command: str, **soma: Any) -> Ran:
    """Run a command in a soma to its end. One that reads its standard input has waited until it was read back."""
    card = Card(label="payload", payload=Native(exec=command[0], argv=command[1:]), soma=Soma(**soma))
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    try:
        outcome = incarnator().incarnate(card, StdioFds(in_r, out_w, out_w))
    finally:
        for fd in (in_r, in_w, out_w):
            os.close(fd)
    with os.fdopen(out_r, errors="replace") as stream:
        output = stream.read()
    info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    assert info is not None
    ended = outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))
    outcome.close()
    return Ran(output, ended, outcome.incarnation)
