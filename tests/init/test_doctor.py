"""``arje doctor``: the host without a manager, in the words of ``arjectl doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Manager

Manage = Callable[..., Manager]


def arje(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "arje", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def cgroups() -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob("**/arje-doctor-*"))


def test_it_says_what_a_manager_of_the_same_user_says(manage: Manage) -> None:
    theirs = manage({}).json("doctor")
    done = arje("doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    ours = json.loads(done.stdout)
    assert ours["host"]["powers"] == theirs["host"]["powers"]
    told = [
        [(each["feature"], each["available"], each["cause"]) for each in report["features"]]
        for report in (ours, theirs)
    ]
    assert told[0] == told[1]


def test_it_is_readable_and_leaves_nothing_behind() -> None:
    before = cgroups()
    done = arje("doctor")
    assert done.returncode == 0
    assert "Namespaces: " in done.stdout
    assert "\x1b" not in done.stdout
    assert cgroups() <= before
