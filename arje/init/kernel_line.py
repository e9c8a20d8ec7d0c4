"""The kernel command line, and the words that the kernel, or a container's maker, gives to its first process.

The kernel hands every word that it does not know to init as well (bootparam(7)); so one that arje does not know is no
error. One that begins with ``arje.`` and means nothing is told: it is a slip of somebody's hand.

==============================  ======================================================================================
``arje.target=NAME``            start this card and what it needs, instead of ``default`` or all that are enabled
``arje.cards=DIR[:DIR…]``       the cards, instead of those of paths.SYSTEM_CARDS
``arje.log=WHERE``              arje's own log: ``kmsg``, ``console``, ``null`` or a file
``arje.log_level=LEVEL``        what of it counts; ``debug`` is all
``single``, ``rescue``, ``S``   a shell before services start (also ``s``, ``1``, ``arje.rescue``)
``emergency``, ``-b``           a shell before there is a manager (also ``arje.emergency``)
``arje.watchdog=SEC``           arm the hardware watchdog, and pet it from the loop
``arje.guard=SEC``              how long the machine's end may stand still (30; 0: for ever)
``arje.hostname=NAME``          the host's name, before /etc/hostname (also ``hostname=``)
``arje.machine_id=ID``          the id of a machine that has none yet
``arje.random_credit=yes``      count the seed of the last run as entropy; ``force``: also one without a mark
``modules_load=A,B``            modules to load (also ``modules-load=``)
``console=TTY``                 where people log in
``quiet``                       say nothing of a boot that went well
``root=``, ``rootfstype=``,     in an initramfs: the root to go on to, and its init (also ``arje.root=``, ``arje.init=``)
``rootflags=``, ``rw``,
``init=``
==============================  ======================================================================================
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

#: How far a boot goes by itself. ``emergency`` stops before the cards are read, ``rescue`` before services start.
EMERGENCY: Final = "emergency"
RESCUE: Final = "rescue"
_SHELLS: Final = {
    **dict.fromkeys(("emergency", "-b", "arje.emergency"), EMERGENCY),
    **dict.fromkeys(("single", "s", "S", "1", "rescue", "arje.rescue"), RESCUE),
}


@dataclass(frozen=True, slots=True)
class Words:
    """What was asked for. ``shell`` is empty, ``rescue`` or ``emergency``; ``target`` and ``cards`` are empty where nothing
    was said; ``watchdog`` and ``guard`` are seconds, 0 for none; ``log`` is where arje's own log goes.

    ``root`` and what belongs to it are what an initramfs goes on to. ``slips`` are words that mean nothing.
    """

    target: str = ""
    cards: tuple[Path, ...] = ()
    log: str = ""
    log_level: str = ""
    shell: str = ""
    watchdog: float = 0.0
    guard: float = 30.0
    hostname: str = ""
    random_credit: str = ""
    quiet: bool = False
    debug: bool = False
    consoles: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    root: str = ""
    root_type: str = ""
    root_flags: str = ""
    root_writable: bool = False
    root_init: str = ""
    machine_id: str = ""
    slips: tuple[str, ...] = field(default=())


def read(path: Path = Path("/proc/cmdline")) -> str:
    """Return the kernel's command line; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def parse(line: str, more: Iterable[str] = ()) -> Words:
    """Return what a kernel command line and the words given to init ask for; the later word counts. Never raises."""
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote
        words = line.split()
    before, _, after = "\0".join(words).partition("\0--\0")  # what follows is init's, and comes to it as words
    found: dict[str, Any] = {}
    slips: list[str] = []
    for word in [*filter(None, before.split("\0")), *filter(None, after.split("\0")), *more]:
        _take(word, found, slips)
    return Words(**found, slips=tuple(dict.fromkeys(slips)))


def _take(word: str, found: dict[str, Any], slips: list[str]) -> None:
    name, equals, value = word.partition("=")
    if not equals and word in _SHELLS:
        found["shell"] = _SHELLS[word]
    elif name in _TEXTS and value:
        found[_TEXTS[name]] = value
    elif name in _SECONDS:
        _number(word, _SECONDS[name], value, found, slips)
    elif name == "arje.cards" and value:
        found["cards"] = tuple(Path(each) for each in value.split(":") if each)
    elif name == "console" and value:
        tty = value.partition(",")[0].removeprefix("/dev/")
        found["consoles"] = (*(each for each in found.get("consoles", ()) if each != tty), tty)
    elif name in ("modules_load", "modules-load") and value:
        found["modules"] = (*found.get("modules", ()), *filter(None, value.split(",")))
    elif word in ("quiet", "debug"):
        found[word] = True
    elif word in ("rw", "ro"):
        found["root_writable"] = word == "rw"
    elif name.startswith("arje."):
        slips.append(word)


def _number(word: str, name: str, value: str, found: dict[str, Any], slips: list[str]) -> None:
    try:
        number = float(value)
    except ValueError:
        slips.append(word)
        return
    if 0 <= number <= 86400:
        found[name] = number
    else:
        slips.append(word)


_TEXTS: Final = {
    "arje.target": "target",
    "arje.log": "log",
    "arje.log_level": "log_level",
    "arje.hostname": "hostname",
    "hostname": "hostname",
    "arje.random_credit": "random_credit",
    "arje.machine_id": "machine_id",
    "arje.root": "root",
    "root": "root",
    "rootfstype": "root_type",
    "rootflags": "root_flags",
    "arje.init": "root_init",
    "init": "root_init",
}
_SECONDS: Final = {"arje.watchdog": "watchdog", "arje.guard": "guard"}
assert {*_TEXTS.values(), *_SECONDS.values()} <= {each.name for each in fields(Words)}
