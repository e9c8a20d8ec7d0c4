"""What a scenario is made of: checks that print ``ok NAME`` or ``FAIL NAME why``.

A scenario is a module with functions marked ``@check``; the function's name is the check's. ``@check_as(uid)`` runs in a
Python of its own as that user: what an ordinary user may do is not to be learnt as root that gave its rights away.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable

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


def run_scenario(module: str) -> int:
    """Run the checks of a scenario: root's here, other users' in a Python per user. Returns 0 when all were well."""
    importlib.import_module(module)
    users = list(dict.fromkeys(uid for _, uid in _checks))
    mine = [_passes(function) for function, uid in _checks if uid == os.geteuid()]
    theirs = [_passes_as(uid, module) for uid in users if uid != 0] if os.geteuid() == 0 else []
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


def _passes_as(uid: int, module: str) -> bool:
    command = [sys.executable, "-E", "-s", "-m", "vm.guest.init", "scenario", module]
    return subprocess.run(command, user=uid, group=uid, extra_groups=[], cwd="/", check=False).returncode == 0
