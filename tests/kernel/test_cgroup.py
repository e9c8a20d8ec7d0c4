"""The real cgroup v2 tree of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje.kernel import cgroup


@pytest.fixture
def base() -> Iterator[Path]:
    found = cgroup.find_base(f"arje-test-{os.getpid()}")
    if found is None:
        pytest.skip("no writable cgroup2 here")
    yield found
    found.rmdir()


def test_a_cgroup_is_made_populated_killed_and_removed(base: Path) -> None:
    group = cgroup.Cgroup.create(base, "one/two")
    assert not group.populated()
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        group.write("cgroup.procs", str(sleeper.pid))
        assert group.populated()
        assert group.pids() == [sleeper.pid]
        with pytest.raises(OSError, match="busy"):
            group.remove()
        with pytest.raises(OSError, match="processes live in"):
            cgroup.Cgroup.create(base, "one/two")
        group.kill()
        assert sleeper.wait() == -9
    cgroup.Cgroup.create(base, "one/two").remove()
    group.close()
    assert not (base / "one").exists()
    assert not group.populated()


def test_a_missing_controller_is_a_missing_file(base: Path) -> None:
    group = cgroup.Cgroup.create(base, "limits")
    try:
        with pytest.raises(FileNotFoundError):
            group.write("no.such_file", "1")
    finally:
        group.remove()


def test_a_frozen_cgroup_says_so(base: Path) -> None:
    group = cgroup.Cgroup.create(base, "frozen")
    group.freeze(frozen=True)
    assert group.read("cgroup.freeze") == "1"
    group.freeze(frozen=False)
    assert group.read("cgroup.freeze") == "0"
    group.remove()


@pytest.mark.parametrize("path", ["../out", "/tmp/out", ".", "", "a/../../out", "a//b"])
def test_no_path_leads_out_of_the_base(base: Path, path: str) -> None:
    with pytest.raises(OSError, match="is no path below"):
        cgroup.Cgroup.create(base, path)
    assert not Path("/tmp/out").exists()
