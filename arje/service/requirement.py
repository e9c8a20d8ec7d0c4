"""What a service requires, as one shape for every way of writing it: of some names, enough services must be up.

``requires = ["db"]`` is one of one name; a contract is a few of several; ``required_by`` is somebody else's card saying
it. A :class:`View` is what the graph may ask about the services as they are, a :class:`Wait` its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arje.card.edges import Term


@dataclass(frozen=True, slots=True)
class Requirement:
    """At least ``at_least`` services that ``names`` mean must be up; ``field`` of the card ``owner`` says so.

    ``pulls``: they are started with it. ``grace``: seconds for which too few are borne.
    """

    field: str
    owner: str
    names: tuple[str, ...]
    at_least: int = 1
    pulls: bool = True
    grace: float = 0.0
    term: Term | None = None

    def __str__(self) -> str:
        if self.field == "contracts":
            return f"{self.at_least if self.at_least > 1 else 'any'} of {', '.join(self.names)}"
        if self.term is not None and self.term.is_strict:
            granted = f"with {', '.join(self.term.granted)} granted"
            return f"{self.names[0]} {'undegraded' if self.term.undegraded else granted}"
        return self.names[0]

    @property
    def recovers(self) -> bool:
        """Whether who has failed for want of it starts again when it is back."""
        return self.term is None or self.term.recover


def _nobody(_label: str) -> bool:
    return False


def _nothing(_label: str, _term: Term) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class View:
    """What is so with services, by label. ``is_coming``: a start is under way. ``has_been_up``: since it was last started
    by hand. ``runs``: it may have a process. ``lacks``: what isolation of a term it has not, empty when it has all."""

    is_up: Callable[[str], bool] = _nobody
    is_coming: Callable[[str], bool] = _nobody
    has_been_up: Callable[[str], bool] = _nobody
    runs: Callable[[str], bool] = _nobody
    lacks: Callable[[str, Term], str] = _nothing

    def is_good(self, label: str, requirement: Requirement) -> bool:
        """Whether a service is up as a requirement wants it."""
        return self.is_up(label) and not (requirement.term and self.lacks(label, requirement.term))


@dataclass(frozen=True, slots=True)
class Wait:
    """What a service waits for before it starts: ``count`` more of ``providers``, in words ``name``.

    ``kind`` is the field that says so; ``conflicts`` is the one that waits for an end.
    """

    kind: str
    name: str
    providers: tuple[str, ...]
    count: int = 1
