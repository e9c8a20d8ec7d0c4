"""Every folder beside this file is a scenario (steps.py says how it is told), for root and for an ordinary user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.steps import NAMESPACES, Story

HERE = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/steps.toml"))


def _may_unshare() -> bool:
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _may_unshare(), reason="no unprivileged user namespaces here")


@pytest.mark.parametrize("who", ["us", "nobody"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(place: Path, name: str, who: str) -> None:
    if who == "nobody" and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    Story(HERE / name, place, user=who == "nobody").tell()
