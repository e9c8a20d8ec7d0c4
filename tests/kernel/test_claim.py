"""Whose a manager's cgroup is, when two managers meet in one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje.kernel import cgroup
from arje.kernel.claim import claim
from tests.conftest import ROOT, needs_cgroup

pytestmark = needs_cgroup
OTHER = """
import os, sys
from pathlib import Path
from arje.kernel.claim import claim
print(claim(Path(sys.argv[1])) or "its own", flush=True)
sys.stdin.read()
"""
APART = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A cgroup of nobody's."""
    own = cgroup.own()
    assert own is not None
    path = own / f"test-claim-{tmp_path.name}"
    path.mkdir()
    yield path
    path.rmdir()


def other(base: Path, *prefix: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    words = [*prefix, sys.executable, "-c", OTHER, str(base)]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


def says(claimant: subprocess.Popen[str]) -> str:
    assert claimant.stdout is not None
    return claimant.stdout.readline().strip()


def end(claimant: subprocess.Popen[str]) -> None:
    claimant.communicate(timeout=30)


def test_a_claim_holds_for_whoever_made_it(base: Path) -> None:
    assert claim(base) == ""
    assert claim(base) == ""


@pytest.mark.parametrize("prefix", [(), APART], ids=["in our pid namespace", "in another"])
def test_a_living_manager_s_cgroup_is_left_alone_and_a_dead_one_s_is_not(base: Path, prefix: tuple[str, ...]) -> None:
    holder = other(base, *prefix)
    assert says(holder) == "its own"
    assert claim(base) == f"the manager with pid {1 if prefix else holder.pid}"
    end(holder)
    assert claim(base) == ""


def test_of_two_that_cannot_see_each_other_the_second_takes_the_first_to_live(base: Path) -> None:
    assert claim(base) == ""
    stranger = other(base, *APART)
    assert says(stranger).startswith("the manager with pid ")
    end(stranger)


def test_processes_that_cannot_be_seen_are_somebody_s(base: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "infinity"])
    (base / "below").mkdir()
    (base / "below/cgroup.procs").write_text(str(sleeper.pid))
    stranger = other(base, *APART)
    assert says(stranger) == "processes of another pid namespace"
    end(stranger)
    assert claim(base) == ""  # we see them: a manager that died has left them
    sleeper.kill()
    sleeper.wait()
    (base / "below").rmdir()
