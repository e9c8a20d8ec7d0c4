"""Signals by name and number (signal(7)): the one place that knows what a card may call them."""

from __future__ import annotations

import re
import signal
from typing import Final

from arje.card.nearest import nearest
from arje.card.unreadable import Unreadable, shown

#: Names without ``SIG``; of a number with several names (CHLD and CLD) every name.
NAMES: Final = {name.removeprefix("SIG"): known.value for name, known in signal.Signals.__members__.items()}
LEAST: Final = 1
MOST: Final = 64  # _NSIG of every Linux architecture but mips
_REAL_TIME: Final = re.compile(r"RT(MIN\+|MAX-)([0-9]{1,2})")


def number(name: str | int) -> int:
    """Return the number of a signal: ``"TERM"``, ``"SIGTERM"``, ``"RTMIN+3"``, ``"RTMAX-1"``, or 1 to 64 as it is.

    RTMIN is that of glibc, 34, as for kill(1). Raises Unreadable, with the nearest name.
    """
    if isinstance(name, int) and not isinstance(name, bool):
        return _in_range(name, name)
    if not isinstance(name, str):
        raise Unreadable("", f"{shown(name)} is no signal", 'write a name: "TERM"')
    if name.isascii() and name.isdecimal() and len(name) <= 2:
        return _in_range(int(name), name)
    short = name.upper().removeprefix("SIG")
    if found := _REAL_TIME.fullmatch(short):
        offset = int(found[2])
        value = signal.SIGRTMIN + offset if found[1] == "MIN+" else signal.SIGRTMAX - offset
        if not signal.SIGRTMIN <= value <= signal.SIGRTMAX:
            most = signal.SIGRTMAX - signal.SIGRTMIN
            raise Unreadable("", f"{shown(name)} is no signal", f"there are RTMIN to RTMIN+{most}")
        return int(value)
    if short not in NAMES:
        near = nearest(short, NAMES)
        raise Unreadable(
            "", f"{shown(name)} is no signal", f"did you mean {near!r}?" if near else "signal(7) names them"
        )
    return NAMES[short]


def name_of(number: int) -> str:
    """Return the name of a signal without ``SIG`` (``TERM``, ``RTMIN+3``), or the number when it has none."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        within = signal.SIGRTMIN < number < signal.SIGRTMAX
        return f"RTMIN+{number - signal.SIGRTMIN}" if within else str(number)


def _in_range(value: int, written: str | int) -> int:
    if not LEAST <= value <= MOST:
        raise Unreadable("", f"{shown(written)} is no signal", f"signals are numbered {LEAST} to {MOST}")
    return value
