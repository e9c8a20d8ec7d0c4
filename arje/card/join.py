"""Which namespaces of other services a service enters instead of having its own (setns(2))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.rules import FORBID, matching

Label = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}", "is no label", "name a service", empty=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Labels of running services whose namespaces are entered; the card should start after them and require them.

    An ordinary user's manager needs ``user`` of the same service as well: a namespace belongs to its user namespace.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    mount: Label = ""
    """The service whose mounts it sees; its root is then that service's."""
    pid: Label = ""
    """The service among whose processes it lives, and with whose end it ends. Wants a manager that is root."""
    net: Label = ""
    """The service whose network it uses."""
    uts: Label = ""
    """The service whose hostname it sees."""
    ipc: Label = ""
    """The service whose System V IPC and POSIX queues it uses."""
    user: Label = ""
    """The service whose ids and capabilities it has; ``run_as`` means ids inside, without it 0."""
    cgroup: Label = ""
    """The service whose view of the cgroup tree it has."""
    time: Label = ""
    """The service whose clocks it sees."""

    def asked(self) -> dict[str, str]:
        """Return the labels by kind of namespace, in the order of this class."""
        return {kind: getattr(self, kind) for kind in self.__slots__ if getattr(self, kind)}


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = tuple(f"join.{kind}" for kind in Join.__slots__)
