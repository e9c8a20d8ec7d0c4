"""Landlock's part of the filters: which rights a card means here, what this kernel lacks of them, and the trial."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from arje.card.filters import Landlock
from arje.card.soma import Soma
from arje.errors import errno_name
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Scene, lose
from arje.incarnate.setup import ChildSetup
from arje.incarnation import Cause, Degradation
from arje.kernel import landlock
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.kernel.landlock import LATER, Ruleset, Trial
from arje.native import Op

_PATHS: Final = {
    "read": landlock.READ,
    "write": landlock.WRITE,
    "execute": landlock.RUN,
    "ioctl_dev": landlock.IOCTL_DEV,
}
_PORTS: Final = {"tcp_bind": landlock.BIND_TCP, "tcp_connect": landlock.CONNECT_TCP}

#: The fact that says what became of the trial: an errno, 0 when it was landlock that refused it.
TOLD: Final = "landlock-trial"
#: Why execve(2) may say EACCES under landlock.
EXEC_HINT: Final = "soma.landlock.execute must allow the program, its interpreter and its loader (/lib64/ld-linux-…)"


def words(asked: Landlock) -> str:
    """Return what a card asks for, for people."""
    fields = [(name, getattr(asked, name)) for name in (*_PATHS, *_PORTS) if getattr(asked, name) is not None]
    parts = [f"{name} {' '.join(map(str, values)) or 'nothing'}" for name, values in fields]
    return "; ".join([*parts, *([f"scopes {' '.join(asked.scopes)}"] if asked.scopes else [])])


def expanded(asked: Landlock, text: Callable[[str], str]) -> Landlock:
    """Replace ``${NAME}`` in the paths."""
    paths: dict[str, Any] = {name: getattr(asked, name) for name in _PATHS}
    changed: dict[str, Any] = {name: tuple(map(text, given)) for name, given in paths.items() if given is not None}
    return replace(asked, **changed)


def _meant(asked: Landlock) -> Iterator[str]:
    """Yield the rights of later ABIs that a card means to have handled."""
    if asked.restricts_files:
        yield from (name for name, right in LATER.items() if right.fs)
    yield from (name for name in _PORTS if getattr(asked, name) is not None)
    yield from asked.scopes


def lacking(asked: Landlock, capabilities: CapabilitySet) -> tuple[str, ...]:
    """Return the rights that this kernel does not know."""
    return tuple(name for name in _meant(asked) if not capabilities[f"landlock.{name}"].available)


def foresee(soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee the rights that are lost here, all in one degradation."""
    asked = soma.landlock
    if asked is None or not capabilities["landlock"].available or not (missing := lacking(asked, capabilities)):
        return ()
    newest = max((LATER[name] for name in missing), key=lambda right: right.abi)
    left = asked.restricts_files or set(_meant(asked)) - set(missing)
    obtained = f"without {', '.join(missing)}" if left else "none"
    detail = f"{capabilities['landlock'].detail} lacks {', '.join(missing)}"
    remedy = f"use Linux {newest.linux} or newer"
    wish = Wish("landlock", words(asked), "soma.landlock")
    return (lose(wish, Cause.KERNEL_TOO_OLD, detail, remedy, obtained=obtained, partial=bool(left)),)


def ruleset(asked: Landlock, lost: tuple[str, ...]) -> Ruleset:
    """Return the ruleset that this kernel takes."""
    handled = landlock.FILES if asked.restricts_files else 0
    for name in lost:
        handled &= ~LATER[name].fs
    paths = [
        (path.removeprefix("-"), rights & handled)
        for name, rights in _PATHS.items()
        for path in getattr(asked, name) or ()
        if rights & handled
    ]
    kinds = {name: bit for name, bit in _PORTS.items() if getattr(asked, name) is not None and name not in lost}
    return Ruleset(
        fs=handled,
        net=sum(kinds.values()),
        scoped=sum(landlock.SCOPES[scope] for scope in dict.fromkeys(asked.scopes) if scope not in lost),
        paths=paths,
        ports=[(port, bit) for name, bit in kinds.items() for port in getattr(asked, name)],
        trial=_trial(asked, lost),
    )


def _trial(asked: Landlock, lost: tuple[str, ...]) -> Trial | None:
    """Return what must be refused afterwards and leaves no trace: reading /, writing /dev/null, binding a port."""
    if asked.restricts_files:
        if not _allows("/", (*(asked.read or ()), *(asked.execute or ()))):
            return Trial("/", os.O_RDONLY | os.O_DIRECTORY)
        if not _allows("/dev/null", asked.write or ()):
            return Trial("/dev/null", os.O_WRONLY)
    if asked.tcp_bind is not None and "tcp_bind" not in lost:
        free = (port for port in range(65535, 1024, -1) if port not in (asked.tcp_bind or ()))
        return next((Trial("", port) for port in free), None)
    return None


def _allows(path: str, paths: tuple[str, ...]) -> bool:
    """Whether a path is below one of the others, by its name or by what it is a link to."""
    names = {os.path.normpath(other.removeprefix("-")) for other in paths}
    names |= {os.path.realpath(name) for name in names}
    return any(name == "/" or f"{path}/".startswith(f"{name}/") for name in (name.replace("//", "/") for name in names))


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place a look at each path that must be there, then the ruleset."""
    asked = scene.soma.landlock
    assert asked is not None
    for name in _PATHS:
        for path in getattr(asked, name) or ():
            if not path.startswith("-"):
                op = Op("landlock-path", p=path.encode("utf-8", "surrogateescape"))
                setup.add(op, "", f"soma.landlock.{name}", path)
    lost = lacking(asked, scene.capabilities)
    rules = ruleset(asked, lost)
    p, q = rules.encode()
    said = words(asked) + (f" (without {', '.join(lost)})" if lost else "")
    setup.add(Op("landlock", p=p, q=q), "landlock", "soma.landlock", said)


def read(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """No file of /proc shows landlock; the op has tried what must be refused, where there was something to try."""
    assert plan.soma.landlock is not None
    trial = _trial(plan.soma.landlock, ())
    if trial is None:
        return Answer("the kernel said yes; there was nothing to try it on without a trace", True)
    if TOLD not in facts.texts:
        return Answer("the kernel said yes", True)
    how = "writing" if trial.value & os.O_WRONLY else "reading"
    what = f"opening {trial.path} for {how}" if trial.path else f"binding TCP port {trial.value}"
    if refused := int(facts.texts[TOLD]):
        return Answer(f"the kernel said yes; {what} shows nothing: it is {errno_name(refused)} without landlock", True)
    return Answer(f"tried: {what} is refused", True)
