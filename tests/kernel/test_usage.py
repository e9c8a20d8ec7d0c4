"""What the kernel's files tell of use: of a cgroup with controllers, of one without, of processes."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from arje.kernel import usage

FILES = {
    "memory.current": "4096",
    "memory.peak": "8192",
    "memory.swap.current": "0",
    "pids.current": "3",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 0",
    "memory.events": "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\noom_group_kill 0",
    "io.stat": "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n253:1 rbytes=1 wbytes=2\n8:16 ",
}


def test_a_cgroup_with_controllers_tells_everything() -> None:
    assert usage.of_cgroup(FILES.get) == {
        "memory": 4096,
        "memory_peak": 8192,
        "swap": 0,
        "tasks": 3,
        "cpu_user": 1.0,
        "cpu_system": 0.5,
        "oom_kills": 1,
        "io_read": 101,
        "io_write": 22,
    }


def test_a_cgroup_without_controllers_tells_of_time_and_threads() -> None:
    bare = {"cpu.stat": FILES["cpu.stat"], "cgroup.threads": "1\n2", "memory.current": "max"}
    assert usage.of_cgroup(bare.get) == {"cpu_user": 1.0, "cpu_system": 0.5, "tasks": 2}
    assert usage.of_cgroup(lambda _: None) == {}


def test_each_figure_is_from_the_first_source_that_has_it() -> None:
    found = usage.usage(("cgroup", {"cpu_user": 1.0}), ("proc", {"cpu_user": 5.0, "memory": 7}))
    assert (found.cpu_user, found.memory, found.swap) == (1.0, 7, None)
    assert found.sources == {"cpu_user": "cgroup", "memory": "proc"}


def test_processes_are_summed_and_those_that_have_gone_are_none() -> None:
    one = usage.of_processes([os.getpid()])
    two = usage.of_processes([os.getpid(), os.getpid(), 2**22 + 1])
    assert one["memory"] > 2**20
    assert two["tasks"] == 2 * one["tasks"]
    assert {"cpu_user", "cpu_system", "swap"} <= one.keys()
    assert usage.of_processes([]) == {}
    assert usage.of_process(2**22 + 1) is None
    share = usage.of_process(os.getpid())
    assert share is not None
    assert (share.uid, share.state) == (os.geteuid(), "R")


def test_a_name_with_brackets_and_spaces_does_not_move_the_fields(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    numbers = " ".join(map(str, range(4, 53)))
    (tmp_path / "7" / "stat").write_text(f"7 (a) b (c) S {numbers}")
    (tmp_path / "7" / "status").write_text("VmSwap:\t  3 kB\n")
    found = usage.of_processes([7], tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    assert found == {
        "cpu_user": (14 + 16) / ticks,
        "cpu_system": (15 + 17) / ticks,
        "tasks": 20,
        "memory": 24 * resource.getpagesize(),
        "swap": 3072,
    }


def test_the_network_is_told_only_of_a_namespace_that_is_another_s(tmp_path: Path) -> None:
    assert usage.of_network(os.getpid()) == {}
    for pid, number in (("self", 1), ("7", 2)):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "net").symlink_to(f"net:[{number}]")
    (tmp_path / "7" / "net").mkdir()
    line = "{}: {} 1 0 0 0 0 0 0 {} 1 0 0 0 0 0 0"
    lines = ["Inter-|", " face |", line.format("  lo", 5, 5), line.format("eth0", 100, 20), line.format("eth1", 1, 2)]
    (tmp_path / "7" / "net" / "dev").write_text("\n".join(lines))
    assert usage.of_network(7, tmp_path) == {"net_received": 101, "net_sent": 22}
    assert usage.of_network(8, tmp_path) == {}
