"""``arje doctor``: the host without a manager, in the words of ``arjectl doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.conftest import ROOT, Manager, cgroups

Manage = Callable[..., Manager]


def arje(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arje", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_it_says_what_a_manager_of_the_same_user_says(manage: Manage) -> None:
    theirs = manage({}).json("doctor")
    doctor = arje("doctor", "--json")
    said, complaint = doctor.communicate()
    assert (doctor.returncode, complaint) == (0, "")
    ours = json.loads(said)
    assert ours["host"]["powers"] == theirs["host"]["powers"]
    told = [
        [(each["feature"], each["available"], each["cause"]) for each in report["features"]]
        for report in (ours, theirs)
    ]
    assert told[0] == told[1]


def test_it_is_readable_and_leaves_nothing_behind() -> None:
    doctor = arje("doctor")
    said, _ = doctor.communicate()
    assert doctor.returncode == 0
    assert "Namespaces: " in said
    assert "\x1b" not in said
    assert cgroups(f"arje-doctor-{doctor.pid}") == []
