"""Limits that can be changed while a service runs: their names, and their values as a command line has them.

The values go through the same shorthand and rules as a card's, so that ``arjectl set X memory_max=256M`` and a card mean
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from arje.card.card import Card
from arje.card.limits import RLIMITS, CgroupLimits
from arje.card.loader import card_of
from arje.card.memory import contradictions
from arje.card.nearest import nearest
from arje.card.soma import Soma
from arje.card.unreadable import Unreadable, shown
from arje.errors import CardError, CardProblem

OF_CGROUP: Final = tuple(name for name in CgroupLimits.__slots__ if name not in ("path", "delegate"))
OF_SOMA: Final = ("cpu_affinity", "nice", "ioprio", "scheduler", "oom_score_adj")
#: Every name that can be set, by itself or below its family; what two have is the soma's (``nice``).
NAMES: Final[dict[str, tuple[str, ...]]] = {
    **{name: ("rlimits", name) for name in RLIMITS},
    **{name: ("cgroup", name) for name in OF_CGROUP},
    **{name: (name,) for name in OF_SOMA},
    **{f"rlimit.{name}": ("rlimits", name) for name in RLIMITS},
    **{f"rlimits.{name}": ("rlimits", name) for name in RLIMITS},
    **{f"cgroup.{name}": ("cgroup", name) for name in OF_CGROUP},
}
#: What else a card says of a body: part of how the service starts.
_FIXED: Final = {*Soma.__slots__, "path", "delegate", "cgroup.path", "cgroup.delegate"} - {"rlimits", "cgroup"}
_FLAGS: Final = {"true": True, "false": False}


def read(changes: Mapping[str, str], origin: str) -> Soma:
    """Return a soma that asks for these changes and nothing else; ``origin`` stands for the file in problems.

    Raises CardError with every problem.
    """
    problems, soma = list[CardProblem](), dict[str, Any]()
    for name, text in changes.items():
        try:
            place = _place(name)
            value = _value(place, text)
        except Unreadable as error:
            problems.append(CardProblem(origin, 0, name, str(error), error.remedy))
            continue
        table = soma if len(place) == 1 else soma.setdefault(place[0], {})
        if place[-1] in table:
            problems.append(CardProblem(origin, 0, name, "is there twice", "write it once"))
        table[place[-1]] = value
    if not changes:
        problems.append(CardProblem(origin, 0, "", "nothing to change", "write NAME=VALUE: memory_max=256M"))
    try:
        card = card_of({"label": "set", "soma": soma}, origin)
    except CardError as error:
        problems += error.problems
    if problems:
        raise CardError(problems)
    _refuse_deadlines(card.soma, origin)
    return card.soma


def refuse_blinding(card: Card, asked: Soma, origin: str) -> None:
    """Raise CardError for a limit under which nobody would be told of the service's ``max_memory``."""
    if asked.cgroup is None or not card.supervision.max_memory:
        return
    wrong = contradictions(replace(card, soma=Soma(cgroup=asked.cgroup)))
    if problems := [CardProblem(origin, 0, each.field, str(each), each.remedy) for each in wrong]:
        raise CardError(problems)


def _refuse_deadlines(soma: Soma, origin: str) -> None:
    if soma.scheduler is not None and soma.scheduler.policy == "deadline":
        remedy = "write it into the card, then: arjectl apply"
        raise CardError([CardProblem(origin, 0, "scheduler", "a deadline is set when the service starts", remedy)])


def _place(name: str) -> tuple[str, ...]:
    if (place := NAMES.get(name)) is not None:
        return place
    if name.partition(".")[0] in _FIXED or name in _FIXED:
        message = "cannot be changed while the service runs: it is part of how it starts"
        raise Unreadable(name, message, "write it into the card, then: arjectl apply")
    near = nearest(name, NAMES)
    raise Unreadable(name, "no such limit", f"did you mean {near!r}?" if near else f"one of {', '.join(_SHORT)}")


_SHORT: Final = tuple(name for name in NAMES if "." not in name)


def _value(place: tuple[str, ...], text: str) -> Any:
    """Return a value as TOML would have it: numbers, truths, lists of CPUs, soft and hard limits."""
    if place == ("cpu_affinity",):
        return _cpus(text)
    if place[0] == "rlimits" and ":" in text:
        return text.split(":", 1)
    if place[-1] not in ("io_max", "cpuset", "cpuset_mems", "cpu_max") and _is_number(text):
        return int(text)
    return _FLAGS.get(text, text)


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 21


def _cpus(text: str) -> list[int]:
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)) or max(len(first), len(last)) > 4:
            raise Unreadable("", f"{shown(text)} is no list of CPUs", "write 0,1 or 0-3")
        cpus.update(range(int(first), int(last or first) + 1))
    return sorted(cpus)
