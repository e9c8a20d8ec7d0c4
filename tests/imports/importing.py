"""The importers on what stands in ``given``, in a process of their own as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

GIVEN = Path(__file__).parent / "given"
EXPECTED = Path(__file__).parent / "expected"
#: What is imported of each format.
SOURCES = {
    "supervisord": "supervisord/supervisord.conf",
    "runit": "runit",
    "s6": "s6",
    "s6-rc": "s6-rc",
    "dinit": "dinit",
    "openrc": "openrc/init.d",
    "sysv": "sysv",
    "compose": "compose/compose.yaml",
    "compose-wordpress": "compose-wordpress/docker-compose.yml",
    "compose-monitoring": "compose-monitoring/compose.yml",
    "procfile": "procfile/Procfile",
}


def run_import(*words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run ``arje import``."""
    command = [sys.executable, "-m", "arje", "import", *map(str, words)]
    env = os.environ | {"IMPORT_TEST_PORT": "8123", "HOME": "/root"}
    env.pop("TAG", None)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT, env=env)


def report_of(*words: str | Path) -> dict[str, Any]:
    """Return its report in JSON."""
    done = run_import("--json", *words)
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
