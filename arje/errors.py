"""Everything arje raises on purpose, drawn as a tree.

::

    ArjeError
    ├── CardError              one or more card files are wrong; carries every problem
    ├── IncarnationError       a card did not become a process
    │   ├── IncarnationRefused     policy: required isolation is not obtainable, nothing ran
    │   └── SetupFailed            a step of the set-up failed (step, errno, card field)
    ├── OrderingError          the cards' edges contradict each other (a cycle, a missing label)
    ├── InvalidTransition      an event that the state of a service does not know
    ├── NoSuchService          no card has this label
    ├── NotRunning             a service has no process that could be changed
    ├── NotPid1                only pid 1 can do it
    ├── CannotEnd              a machine cannot end in this way now
    ├── ManagerRunning         another manager owns this runtime directory
    └── NativeError            the compiled part is missing or does not fit

Fields, not sentences, carry the facts; ``str()`` makes the sentence.
"""

from __future__ import annotations

import errno as errno_module
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from arje.incarnation import Degradation, Step


class ArjeError(Exception):
    """The root of everything that arje raises on purpose."""


@dataclass(frozen=True, slots=True)
class CardProblem:
    """One thing wrong with one card, in words that let its author mend it.

    ``line`` counts from 1; 0 means that the file as a whole is meant. ``field`` is the dotted path in the card
    (``soma.namespaces.mount``), empty for the whole card. ``remedy`` says what to type instead, where we know it.
    """

    file: str
    line: int
    field: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{where}: {what}" + (f" ({self.remedy})" if self.remedy else "")


class CardError(ArjeError):
    """One or more cards cannot be loaded. ``problems`` holds every one of them, in file order."""

    def __init__(self, problems: Sequence[CardProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class IncarnationError(ArjeError):
    """A card did not become a running process; nothing of it is left behind."""

    def __init__(self, label: str, sentence: str) -> None:
        super().__init__(sentence)
        self.label = label


class IncarnationRefused(IncarnationError):
    """Isolation that the card requires cannot be had here; not one instruction of the payload ran."""

    def __init__(self, label: str, degradations: Sequence[Degradation]) -> None:
        lost = "; ".join(str(degradation) for degradation in degradations)
        super().__init__(label, f"{label}: required isolation is not obtainable: {lost}")
        self.degradations = tuple(degradations)


class SetupFailed(IncarnationError):
    """A step between clone and exec failed.

    ``step`` names the step, ``errno`` is the kernel's answer (0: no system call was involved), ``field`` is the card
    field that asked for the step, ``detail`` is the path or value at hand, ``line`` the line of the field (0: unknown).
    """

    def __init__(
        self, label: str, step: Step, errno: int, field: str, detail: str = "", *, hint: str = "", line: int = 0
    ) -> None:
        why = f"{errno_name(errno)} ({errno_text(errno)})" if errno else ""
        parts = [f"{label}: step {step.value} failed", detail, why, hint]
        sentence = ": ".join(part for part in parts if part)
        super().__init__(label, f"{sentence} [card field {field}]" if field else sentence)
        self.step = step
        self.errno = errno
        self.field = field
        self.detail = detail
        self.hint = hint
        self.line = line


class OrderingError(ArjeError):
    """The edges between cards contradict each other; ``path`` is the cycle or the edge, label by label."""

    def __init__(self, sentence: str, path: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.path = tuple(path)


class InvalidTransition(ArjeError):
    """``event`` is not in the transition table for ``state``."""

    def __init__(self, label: str, state: str, event: str) -> None:
        super().__init__(f"{label}: event {event!r} has no meaning in state {state!r}")
        self.label = label
        self.state = state
        self.event = event


class NoSuchService(ArjeError):
    """No card has one of these labels. ``nearest`` is the closest existing label, or empty."""

    def __init__(self, label: str, nearest: str = "") -> None:
        super().__init__(f"no service {label!r}" + (f"; did you mean {nearest!r}?" if nearest else ""))
        self.label = label
        self.nearest = nearest


class NotRunning(ArjeError):
    """A service has no process that could be changed."""

    def __init__(self, label: str, state: str) -> None:
        super().__init__(f"{label} is {state}: it has no process")
        self.label = label
        self.state = state


class NotPid1(ArjeError):
    """Only the first process of a machine or a container can do it; this manager is none."""

    def __init__(self, what: str, pid: int) -> None:
        super().__init__(f"{what}: this manager is not pid 1 but {pid}: it is no machine's and no container's init")
        self.what = what
        self.pid = pid


class CannotEnd(ArjeError):
    """A machine, or a container, cannot end in this way now; ``why`` says what is missing or what goes on already."""

    def __init__(self, way: str, why: str) -> None:
        super().__init__(f"{way}: {why}")
        self.way = way
        self.why = why


class BadReport(ArjeError):
    """A document is no report of a host, or not of a form that this arje reads."""


class ManagerRunning(ArjeError):
    """Another manager holds the lock of this runtime directory."""

    def __init__(self, runtime_dir: Path, pid: int) -> None:
        super().__init__(
            f"{runtime_dir} already belongs to a running arje (pid {pid}); use arjectl, or another directory"
        )
        self.runtime_dir = runtime_dir
        self.pid = pid


class NativeError(ArjeError):
    """The compiled trampoline is missing or was built for another version of the ABI."""


def errno_name(number: int) -> str:
    """Return the symbol of an errno (``ENOENT``), or the number as text when it has none."""
    return errno_module.errorcode.get(number, str(number))


def errno_text(number: int) -> str:
    """Return the kernel's sentence for an errno."""
    import os

    return os.strerror(number)
