"""The card: one service as its author wrote it. Frozen data, no I/O.

These are plain dataclasses that pydantic validates (``loader.py``), so that a manager whose cards have not changed can
take them from its cache without importing pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from arje.card.payload import Payload, Virtual
from arje.card.soma import Soma
from arje.card.supervision import Supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The ancestor's coarse wishes. Kept and shown; the soma is what is enforced."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    networking: bool | None = None
    filesystem: bool | str | tuple[str, ...] | None = None
    ipc: bool | str | tuple[str, ...] | None = None
    processes: bool | str | tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a card came from: file, digest of its bytes, and the line of every field (``soma.namespaces`` → 12)."""

    file: str = ""
    digest: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, dotted: str) -> int:
        """Return the line of a field or of its nearest parent that is in the file; 0 when none is."""
        while dotted:
            if dotted in self.lines:
                return self.lines[dotted]
            dotted = dotted.rpartition(".")[0]
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One service: what it is called, what runs, in which body, how it is kept, and what it depends on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    label: str
    """Unique name: letters, digits and ``@ . _ -``, at most 64 characters."""
    description: str = ""
    payload: Payload = field(default_factory=Virtual)
    soma: Soma = field(default_factory=Soma)
    supervision: Supervision = field(default_factory=Supervision)
    requires: tuple[str, ...] = ()
    """Labels or provided names that must be up first; they are pulled in, and their stop stops this."""
    wants: tuple[str, ...] = ()
    """As ``requires``, but nothing happens when they are missing or fail."""
    after: tuple[str, ...] = ()
    """Start order only."""
    before: tuple[str, ...] = ()
    """Start order only, seen from the other side."""
    provides: tuple[str, ...] = ()
    """Capability names that other cards may require."""
    enabled: bool = True
    """Whether the manager starts it by itself."""
    only_if_exists: str = ""
    """Start only when this path is there; else the service is skipped, and says so."""
    id: str = ""
    lineage: str | tuple[str, ...] | None = None
    schema_version: int = 1
    lifecycle: Any = None
    priority: Any = None
    flow: Any = None
    references: Any = None
    extensions: Any = None
    permissions: Permissions | None = None
    source: Source = field(default_factory=Source, compare=False)
