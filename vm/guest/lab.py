"""What a scenario is made of: checks that print ``ok NAME`` or ``FAIL NAME why``, and one call that runs a payload.

A scenario is a file with functions marked ``@check``; the function's name is the check's. ``@check_as(uid)`` runs in a
Python of its own as that user: what an ordinary user may do is not to be learnt as root that gave its rights away.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Soma
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet

Check = Callable[[], None]
_checks: list[tuple[Check, int]] = []


def check(function: Check) -> Check:
    """Mark a function as a check of its scenario; it runs as root."""
    return check_as(0)(function)


def check_as(uid: int) -> Callable[[Check], Check]:
    """Mark a function as a check that runs as another user."""

    def mark(function: Check) -> Check:
        _checks.append((function, uid))
        return function

    return mark


def expect(found: object, wanted: object, what: str = "") -> None:
    """Raise AssertionError that shows both when they differ."""
    if found != wanted:
        raise AssertionError(f"{what + ': ' if what else ''}found {found!r}, wanted {wanted!r}")


class Ran(NamedTuple):
    """What became of one payload."""

    output: str
    exit: Exit
    incarnation: Incarnation

    def granted(self, feature: str) -> str:
        """Return what reading a feature back said. Raises AssertionError when it was not granted."""
        grant = next(grant for grant in self.incarnation.grants if grant.feature == feature)
        assert grant.ok, grant
        return grant.granted


_incarnator: list[Incarnator] = []


def incarnator() -> Incarnator:
    """The one of this process, made at its first use: probing takes a while on an emulated processor."""
    if not _incarnator:
        base = cgroup.find_base("arje") if os.geteuid() == 0 else None
        _incarnator.append(Incarnator(CapabilitySet.detect(base), base))
    return _incarnator[0]


def run(*command: str, **soma: Any) -> Ran:
    """Run a command in a soma to its end. One that reads its standard input has waited until it was read back."""
    card = Card(label="payload", payload=Native(exec=command[0], argv=command[1:]), soma=Soma(**soma))
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    try:
        outcome = incarnator().incarnate(card, StdioFds(in_r, out_w, out_w))
    finally:
        for fd in (in_r, in_w, out_w):
            os.close(fd)
    with os.fdopen(out_r, errors="replace") as stream:
        output = stream.read()
    info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    assert info is not None
    ended = outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))
    outcome.close()
    return Ran(output, ended, outcome.incarnation)


def run_scenario(name: str) -> int:
    """Run the checks of a scenario: root's here, other users' in a Python per user. Returns 0 when all were well."""
    importlib.import_module(f"vm.scenarios.{name}")
    users = list(dict.fromkeys(uid for _, uid in _checks))
    mine = [_passes(function) for function, uid in _checks if uid == os.geteuid()]
    theirs = [_passes_as(uid, name) for uid in users if uid != 0] if os.geteuid() == 0 else []
    return int(not (mine or theirs) or not all(mine + theirs))


def _passes(function: Check) -> bool:
    name = function.__name__
    try:
        function()
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        print(f"FAIL {name} {why}", flush=True)
        traceback.print_exc()
        return False
    print(f"ok {name}", flush=True)
    return True


def _passes_as(uid: int, name: str) -> bool:
    command = [sys.executable, "-E", "-s", "-m", "vm.guest.init", "scenario", name]
    return subprocess.run(command, user=uid, group=uid, extra_groups=[], cwd="/", check=False).returncode == 0
