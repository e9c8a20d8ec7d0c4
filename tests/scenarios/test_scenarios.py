"""Every folder beside this file is a scenario (steps.py says how it is told): to an ordinary user, and some to root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import needs_root
from tests.scenarios.rows import NOT_HERE, ROWS
from tests.scenarios.steps import NAMESPACES, Story

HERE = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/steps.toml"))
#: Root has a cgroup, by which the processes of a service are known, counted and killed: these are told to it as well.
WITH_CGROUP = (
    "connections",
    "delegate",
    "end",
    "ends-arje",
    "layers",
    "leftovers",
    "order",
    "orphans",
    "readiness",
    "requires",
    "stop-escalates",
    "stop-schedule",
    "undegraded",
)


def _may_unshare() -> bool:
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_unshare(), reason="no unprivileged user namespaces here")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_of_an_ordinary_user(place: Path, name: str) -> None:
    Story(HERE / name, place, user=os.geteuid() == 0).tell()


@needs_root
@pytest.mark.skipif(not _may_unshare(), reason="no unprivileged user namespaces here")
@pytest.mark.parametrize("name", WITH_CGROUP)
def test_scenario_of_root(place: Path, name: str) -> None:
    Story(HERE / name, place, user=False).tell()


def test_every_scenario_shows_a_row_and_every_row_has_a_scenario() -> None:
    shown = {name for phrases in ROWS.values() for names in phrases.values() for name in names.split()}
    assert shown == set(SCENARIOS)
    assert all(names.split() for phrases in ROWS.values() for names in phrases.values())
    assert all(NOT_HERE.values())
