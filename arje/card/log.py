"""What a card says about its log: how long a line may be, how much of it is kept on disk, and who reads it instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, Rule, Seconds, text, whole, whole_rule
from arje.card.sizes import size

_LARGEST: Final = 2**40
_LINE: Final = (64, 2**20)


def _bytes(least: int, most: int) -> Rule:
    return Rule(whole(least, most), {"type": "integer", "minimum": least, "maximum": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRate:
    """At most so many lines in a time; what is over it is dropped, counted, and told at its place in the log."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    lines: Annotated[int, whole_rule(0, 10**9)] = 0
    """Number of lines; 0 means no limit."""
    interval: Seconds = 10.0
    """In this many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """The log of a service: what it writes to ``stdout`` and ``stderr`` where those say ``log``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    rotate_size: Annotated[int, _bytes(4096, _LARGEST)] = 4 * 2**20
    """The file is put aside, and a new one begun, once it is larger: bytes, or ``"4M"``."""
    rotate_every: Seconds = 0.0
    """It is also put aside at the first line that is this much younger than its first one, in seconds; 0: by size alone."""
    rotate_keep: Annotated[int, whole_rule(0, 100)] = 3
    """How many files that were put aside are kept (``LABEL.log.1`` is the youngest)."""
    max_line: Annotated[int, _bytes(*_LINE)] = 16 * 1024
    """A longer line is kept in pieces of at most this many bytes, each but the last marked as going on."""
    rate_limit: LineRate = field(default_factory=LineRate)
    """How much it may say before lines are dropped."""
    to: Annotated[str, Rule(text, {"type": "string"})] = ""
    """Label of the service that reads its stdout on stdin, through a pipe that outlives restarts of both: no byte is lost
    between two lives, and while nobody reads, who writes waits. That service is started before it, as with ``wants``."""


#: How a file may write the fields (``normalise.py``); durations are converted there.
SIZES: Final[dict[str, Callable[[Any, str], Any]]] = {"rotate_size": size, "max_line": size}
