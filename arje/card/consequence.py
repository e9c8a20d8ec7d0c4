"""What follows when a service has used up its starts: one word of a card, such as ``"start:rescue"``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from arje.card.nearest import nearest
from arje.card.rules import Rule, text
from arje.card.unreadable import Unreadable, shown


class What(StrEnum):
    """What is done. ``reboot`` and ``poweroff`` are of the machine."""

    NONE = "none"
    START = "start"
    TARGET = "target"
    EXIT = "exit"
    REBOOT = "reboot"
    POWEROFF = "poweroff"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What is done, and to whom: ``label`` of whom to start or of the target, ``status`` that arje exits with."""

    what: What
    label: str = ""
    status: int = 0

    @property
    def told(self) -> str:
        """What is done, in words that end a sentence; empty for nothing."""
        return {
            What.NONE: "",
            What.START: f"{self.label} is started",
            What.TARGET: f"the target {self.label} takes over",
            What.EXIT: f"arje exits with {self.status}",
            What.REBOOT: "the machine is to reboot",
            What.POWEROFF: "the machine is to power off",
        }[self.what]


_REMEDY: Final = 'write "none", "start:LABEL", "target:LABEL", "exit:STATUS", "reboot" or "poweroff"'
_PATTERN: Final = "(none|reboot|poweroff|(start|target):[A-Za-z0-9][A-Za-z0-9@._-]{0,63}|exit:[0-9]{1,3})"
_KNOWN: Final = re.compile(_PATTERN)


def _consequence(value: Any) -> str:
    word = text(value)
    if not _KNOWN.fullmatch(word):
        kind = word.partition(":")[0]
        near = nearest(kind, [what.value for what in What])
        remedy = f"did you mean {near!r}?" if near and near != kind else _REMEDY
        raise Unreadable("", f"{shown(word)} is nothing that could follow", remedy)
    if word.startswith("exit:") and int(word[5:]) > 255:
        raise Unreadable("", f"{word[5:]} is no exit status", "write 0 to 255")
    return word


Word = Annotated[str, Rule(_consequence, {"type": "string", "pattern": f"^{_PATTERN}$"})]


def read(word: str) -> Consequence:
    """Return what a word that a card may have means."""
    kind, _, rest = word.partition(":")
    what = What(kind)
    return Consequence(what, status=int(rest)) if what is What.EXIT else Consequence(what, label=rest)
