"""How urgent a service is: nice, io priority, scheduling policy and OOM score, as a card says them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Flag, Rule, Seconds, text, whole_rule
from arje.card.unreadable import Unreadable, shown

IO_KINDS: Final = ("realtime", "best-effort", "idle")
POLICIES: Final = ("other", "batch", "idle", "fifo", "rr", "deadline")
_WITH_PRIORITY: Final = ("fifo", "rr")
_LEAST: Final = 1024  # nanoseconds; the least runtime of a deadline (sched(7))

Nice = Annotated[int, whole_rule(-20, 19)]
OomScoreAdj = Annotated[int, whole_rule(-1000, 1000)]


def _one_of(names: tuple[str, ...], what: str) -> Rule:
    def check(value: Any) -> str:
        name = text(value)
        if name not in names:
            near = nearest(name, names)
            remedy = f"did you mean {near!r}?" if near else f"one of {', '.join(names)}"
            raise Unreadable("", f"no {what} {shown(name)}", remedy)
        return name

    return Rule(check, {"enum": list(names)})


@dataclass(frozen=True, slots=True, kw_only=True)
class IoPriority:
    """Whose I/O goes first (ioprio_set(2)); ``"best-effort:4"`` in one word. Only some I/O schedulers heed it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    kind: Annotated[str, _one_of(IO_KINDS, "class")]
    """``realtime``, ``best-effort`` or ``idle``."""
    level: Annotated[int, whole_rule(0, 7)] = 4
    """0 to 7, 0 goes first; ``idle`` has none."""

    def __str__(self) -> str:
        return "idle" if self.kind == "idle" else f"{self.kind}:{self.level}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Policy of the CPU scheduler (sched(7)); ``"fifo:50"``, ``"batch"`` in one word."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    policy: Annotated[str, _one_of(POLICIES, "policy")]
    """``other``, ``batch``, ``idle``, ``fifo``, ``rr`` or ``deadline``."""
    priority: Annotated[int, whole_rule(0, 99)] = 0
    """1 to 99 for ``fifo`` and ``rr``, 99 goes first; none for the others."""
    reset_on_fork: Flag = False
    """Whether what the service starts falls back to ``other``."""
    runtime: Seconds = 0.0
    """For ``deadline``: seconds of CPU time in each period."""
    deadline: Seconds = 0.0
    """For ``deadline``: seconds from the begin of a period until it has had them; 0 means the period."""
    period: Seconds = 0.0
    """For ``deadline``: seconds."""

    def __str__(self) -> str:
        text = f"{self.policy}:{self.priority}" if self.policy in _WITH_PRIORITY else self.policy
        return text + (" reset-on-fork" if self.reset_on_fork else "")


def contradiction(asked: Scheduler) -> tuple[str, str] | None:
    """Return what of a policy contradicts itself, and the remedy."""
    if asked.policy in _WITH_PRIORITY and not 1 <= asked.priority <= 99:
        return f"{asked.policy} with priority {asked.priority}", f'1 to 99: "{asked.policy}:50"'
    if asked.policy not in _WITH_PRIORITY and asked.priority:
        return f"{asked.policy} has no priority", "use nice"
    if asked.policy == "deadline":
        runtime, deadline, period = nanoseconds(asked)
        if not _LEAST <= runtime <= deadline <= period < 2**63:
            return "not 1.024 µs <= runtime <= deadline <= period", 'write {runtime = "5ms", period = "20ms"}'
    elif asked.runtime or asked.deadline or asked.period:
        return f"{asked.policy} has no runtime, deadline and period", 'write policy = "deadline"'
    return None


def nanoseconds(asked: Scheduler) -> tuple[int, int, int]:
    """Return runtime, deadline and period as the kernel has them."""
    deadline = asked.deadline or asked.period
    return round(asked.runtime * 1e9), round(deadline * 1e9), round((asked.period or deadline) * 1e9)


def sound(asked: Scheduler) -> Scheduler:
    """Return a policy that does not contradict itself. Raises Unreadable."""
    if wrong := contradiction(asked):
        raise Unreadable("", *wrong)
    return asked


def io_priority(value: Any, field: str) -> Any:
    """Return the table of ``"best-effort:4"``; a table stays as it is. Raises Unreadable (shorthand: normalise.py)."""
    if not isinstance(value, str):
        return value
    kind, level = _pair(value)
    if kind not in IO_KINDS or level is None or (kind == "idle" and ":" in value):
        raise Unreadable(field, f"{shown(value)} is no io priority", 'write "best-effort:4", "realtime:0" or "idle"')
    return {"kind": kind, "level": level} if ":" in value else {"kind": kind}


def scheduler(value: Any, field: str) -> Any:
    """Return the table of ``"fifo:50"``, ``"batch"``; a table stays as it is. Raises Unreadable."""
    if not isinstance(value, str):
        return value
    policy, priority = _pair(value)
    if policy not in POLICIES or priority is None or (policy in _WITH_PRIORITY) != (":" in value):
        raise Unreadable(field, f"{shown(value)} is no policy", 'write "batch", "idle", "other", "fifo:50" or "rr:50"')
    return {"policy": policy, "priority": priority}


def _pair(text: str) -> tuple[str, int | None]:
    """Split ``NAME`` or ``NAME:NUMBER``; None for what is no number."""
    name, colon, number = text.partition(":")
    if not colon:
        return name, 0
    return name, int(number) if number.isascii() and number.isdigit() and len(number) < 4 else None
