"""What a family of features says about itself. Each module of ``families/`` is one; nobody else knows its features.

A family answers the same questions in the order in which an incarnation asks them: what does the card wish, what of it is
nonsense on every machine, which step does it (:class:`Scene` tells what is left to be placed), what does the parent do
while the child waits, and what do the kernel's own words (:class:`~arje.kernel.facts.Facts`) say it became.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from arje.card.soma import IdMap, Soma
from arje.incarnate.blueprint import Blueprint, Credentials, Wish
from arje.incarnation import Cause, Degradation, Grant
from arje.kernel.capabilities import Availability, CapabilitySet, cause_of_errno
from arje.kernel.facts import Facts

UNTRUE: Final = "the kernel said yes, but reading it back says otherwise"


class Nonsense(NamedTuple):
    """A field that cannot work on any machine, why, and what to write instead."""

    field: str
    detail: str
    hint: str


class Unworkable(Exception):
    """Raised while ops are placed: what a card asks for cannot work together."""

    def __init__(self, problem: Nonsense) -> None:
        super().__init__(f"{problem.field}: {problem.detail}")
        self.problem = problem


class Answer(NamedTuple):
    """What the kernel says about one wish, and whether that is what was meant."""

    granted: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the child's ops are placed for: the wishes that are still ``have``, the ids, and what comes late."""

    soma: Soma
    capabilities: CapabilitySet
    have: frozenset[str]
    credentials: Credentials | None
    late_user: bool
    cgroup_late: bool
    maps: tuple[tuple[IdMap, ...], tuple[IdMap, ...]] = ((), ())
    wishes: tuple[Wish, ...] = ()
    label: str = ""
    runtime_dir: str = ""

    @property
    def outer_ids(self) -> tuple[int, int] | None:
        """The service's user and group as they are where the mounts are made; None: the manager's."""
        if self.credentials is None:
            return None
        return self.outer(self.credentials.uid, 0), self.outer(self.credentials.gid, 1)

    def outer(self, inside: int, which: int) -> int:
        """Return an id as it is where the mounts are made; ``which`` 0: of a user, 1: of a group. Raises LookupError."""
        if not self.late_user:
            return inside
        for line in self.maps[which]:
            if 0 <= inside - line.inside < line.count:
                return line.outside + inside - line.inside
        raise LookupError(f"{inside} is not mapped")


class Narrowed(Exception):
    """The kernel granted less than was asked without saying so; the degradation tells what."""

    def __init__(self, degradation: Degradation) -> None:
        super().__init__(str(degradation))
        self.degradation = degradation


def lose(
    wish: Wish | Grant,
    cause: Cause,
    detail: str,
    remedy: str,
    *,
    obtained: str = "none",
    errno: int = 0,
    syscall: str = "",
    partial: bool = False,
) -> Degradation:
    """Return the loss of a wish, from now on: the one place where an incarnation's degradations are made."""
    return Degradation(
        feature=wish.feature,
        requested=wish.requested,
        obtained=obtained or "none",
        cause=cause,
        errno=errno,
        syscall=syscall if errno else "",
        detail=detail,
        since=time.time(),
        remedy=remedy,
        partial=partial,
    )


def loss_of(wish: Wish, found: Availability) -> Degradation:
    """Return the loss of a wish that the kernel cannot grant."""
    cause, number = found.cause or Cause.NO_CAPABILITY, found.errno
    return lose(wish, cause, found.detail, found.remedy, errno=number, syscall=found.syscall)


def loss_by(wish: Wish, error: OSError, syscall: str) -> Degradation:
    """Return the loss that a system call's refusal means."""
    number = error.errno or 0
    cause, detail, remedy = cause_of_errno(number, wish.feature)
    return lose(wish, cause, detail, remedy, errno=number, syscall=syscall)


def drifted(wish: Wish | Grant, granted: str, detail: str = UNTRUE, remedy: str = "see arjectl doctor") -> Degradation:
    """Return the loss of what the kernel granted and reading back does not show, or does not show any more."""
    return lose(wish, Cause.DRIFTED, detail, remedy, obtained=granted)


#: Reads one wish back: the child's facts, the manager's own, the plan, the wish. Raises KeyError or OSError: not readable.
Reader = Callable[[Facts, Facts, Blueprint, Wish], Answer]
#: Does one wish when the payload has begun, by a descriptor of its /proc/PID, and asks the kernel. Raises OSError.
Finisher = Callable[[Blueprint, Wish, int], Answer]
#: Does one wish from outside for the waiting child with this pid. Raises OSError (refused), ValueError, Narrowed.
Applier = Callable[[Blueprint, Wish, int], None]


class Family(Protocol):
    """The questions. Tables are keyed by feature, or by the family's name before the dot (``rlimit``)."""

    @property
    def NEEDS(self) -> Mapping[str, tuple[str, ...]]:
        """Feature → features without which it means nothing: lost together with them."""

    @property
    def MUST(self) -> frozenset[str]:
        """Features whose loss would show the service another world: by default they may not degrade."""

    @property
    def SHOWN_BY(self) -> Mapping[str, str]:
        """Feature → the fact (``native.FACT``) that shows it; ``status`` is always told."""

    @property
    def APPLY(self) -> Mapping[str, Applier]:
        """Feature → what the parent does for it while the child waits."""

    @property
    def AFTER(self) -> Mapping[str, Finisher]:
        """Feature → what the parent does for it after exec: what a child that shares our memory would do to us."""

    @property
    def READ(self) -> Mapping[str, Reader]:
        """Feature → its reader. One that has none is asked again by its own step (ops.c)."""

    def wishes(self, soma: Soma) -> Iterator[Wish]:
        """Yield what the card asks for."""

    def nonsense(self, soma: Soma) -> Iterator[Nonsense]:
        """Yield what cannot work anywhere."""
