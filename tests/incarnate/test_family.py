"""Losses are made in one place, and say the same things whoever tells of them."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from arje.incarnate.blueprint import Wish
from arje.incarnate.family import drifted, lose, loss_by
from arje.incarnation import Cause, Grant
from tests.conftest import ROOT

WISH = Wish("nice", "-5", "soma.nice")


def test_only_one_function_makes_degradations() -> None:
    makers = [
        str(path.relative_to(ROOT))
        for path in Path(ROOT / "arje").rglob("*.py")
        for line in path.read_text().splitlines()
        if "Degradation(" in line and not line.startswith("class ")
    ]
    assert makers == ["arje/incarnate/family.py"]


def test_a_loss_has_its_beginning_and_names_no_system_call_that_did_not_refuse() -> None:
    before = time.time()
    loss = lose(WISH, Cause.LIMIT, "why", "what to do", syscall="setpriority")
    assert before <= loss.since <= time.time()
    assert (loss.feature, loss.requested, loss.obtained) == ("nice", "-5", "none")
    assert (loss.errno, loss.syscall, loss.partial) == (0, "", False)
    assert lose(WISH, Cause.LIMIT, "why", "", errno=1, syscall="setpriority").syscall == "setpriority"


def test_an_errno_becomes_a_cause_with_a_remedy() -> None:
    loss = loss_by(WISH, OSError(errno.EPERM, "no"), "setpriority")
    assert (loss.errno, loss.syscall) == (errno.EPERM, "setpriority")
    assert loss.cause in (Cause.NO_CAPABILITY, Cause.SECCOMP, Cause.LSM)
    assert loss.remedy


def test_what_was_granted_and_is_not_there_is_drift() -> None:
    assert drifted(WISH, "").obtained == "none"
    loss = drifted(Grant("nice", "-5", "-5", True), "0", "somebody changed it", "arjectl heal")
    assert (loss.cause, loss.obtained, loss.detail) == (Cause.DRIFTED, "0", "somebody changed it")
