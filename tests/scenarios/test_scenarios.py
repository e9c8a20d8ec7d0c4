"""Every folder beside this file is a scenario (steps.py says how it is told), for root and for an ordinary user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.rows import NOT_HERE, ROWS
from tests.scenarios.steps import NAMESPACES, Story

HERE = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/steps.toml"))


def _may_unshare() -> bool:
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_unshare(), reason="no unprivileged user namespaces here")
@pytest.mark.parametrize("who", ["us", "nobody"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(place: Path, name: str, who: str) -> None:
    if who == "nobody" and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    Story(HERE / name, place, user=who == "nobody").tell()


def test_every_scenario_shows_a_row_and_every_row_has_a_scenario() -> None:
    shown = {name for phrases in ROWS.values() for names in phrases.values() for name in names.split()}
    assert shown == set(SCENARIOS)
    assert all(names.split() for phrases in ROWS.values() for names in phrases.values())
    assert all(NOT_HERE.values())
