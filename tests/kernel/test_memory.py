"""How much memory processes and cgroups use; what the kernel tells of a threshold is in tests/vm/test_limits.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arje.kernel import memory
from arje.kernel.cgroup import Cgroup
from tests.conftest import HAS_CGROUP, open_links

MIB = 1 << 20
HOG = f"import sys; x = bytearray({48 * MIB}); print(flush=True); sys.stdin.read()"


def test_a_cgroup_uses_what_is_no_cache_and_what_is_swapped() -> None:
    files = {
        "memory.current": "1000",
        "memory.stat": "anon 300\nfile 700\nactive_file 100\ninactive_file 500\nshmem 100",
        "memory.swap.current": "50",
    }
    assert memory.of_cgroup(files.get) == 450
    assert memory.of_cgroup({**files, "memory.swap.current": None}.get) == 400
    assert memory.of_cgroup({}.get) is None


def test_processes_use_their_shares_and_one_that_has_gone_none() -> None:
    with subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hog:
        assert hog.stdout
        hog.stdout.readline()
        used = memory.of_processes([hog.pid])
        assert 48 * MIB <= used < 100 * MIB
        hog.kill()
    assert memory.of_processes([hog.pid]) == 0


def test_what_forks_have_in_common_counts_once() -> None:
    script = (
        f"import os, sys; x = bytearray(b'x') * {32 * MIB}; child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        used = memory.of_processes([parent.pid, child])
        assert 32 * MIB <= used < 60 * MIB
        assert parent.stdin
        parent.stdin.close()


def test_whose_share_may_not_be_known_uses_what_is_resident(tmp_path: Path) -> None:
    place = tmp_path / "7"
    place.mkdir()
    (place / "smaps_rollup").symlink_to("smaps_rollup")  # ELOOP: neither there nor gone
    (place / "stat").write_text("7 (a b) S " + " ".join(["0"] * 19 + ["12345", "3"] + ["0"] * 20))
    (place / "status").write_text("")
    assert memory.of_processes([7], tmp_path) == 3 * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not HAS_CGROUP, reason="no writable cgroup2 here")
def test_without_the_controller_nothing_is_told_and_nothing_left_open(tmp_path: Path) -> None:
    from arje.kernel import cgroup

    base = cgroup.own()
    assert base is not None
    group = Cgroup.create(base, "arje-test-memory")
    before = len(open_links(os.getpid()))
    try:
        if "memory" in (base / "cgroup.subtree_control").read_text():
            pytest.skip("the memory controller is here")
        with pytest.raises(FileNotFoundError):
            memory.MemoryEvents(group, MIB)
        assert len(open_links(os.getpid())) == before
    finally:
        group.remove()
