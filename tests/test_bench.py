"""bench/run lists what there is, measures it, and says so in one JSON object. No figure is judged here."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import cgroups

RUN = Path(__file__).parent.parent / "bench" / "run"


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end. It leaves nothing behind: its cgroup and its directory have its pid in their names."""
    with subprocess.Popen([RUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said, complaint = process.communicate(timeout=300)
    assert cgroups(f"arje-bench-{process.pid}") == []
    assert list(Path("/run").glob(f"arje-bench-box.{process.pid}.*")) == []
    return subprocess.CompletedProcess(words, process.returncode, said, complaint)


def numbers(value: Any) -> Iterator[float]:
    """Yield every number in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def test_without_a_name_it_lists_the_benchmarks_with_a_line_each() -> None:
    done = bench()
    assert done.returncode == 0, done.stderr
    names = [line.split(maxsplit=1)[0] for line in done.stdout.splitlines()]
    assert names == ["spawn", "sandbox", "supervise", "boot", "hand"]
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in done.stdout.splitlines())


def test_a_wrong_name_gets_the_nearest_right_one() -> None:
    done = bench("spwan")
    assert done.returncode == 2
    assert "did you mean 'spawn'?" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="the spawn benchmark needs root")
def test_spawn_prints_one_json_object_and_leaves_nothing_behind() -> None:
    done = bench("spawn", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["command"] == ["bench/run", "spawn", "--rounds", "1", "--json"]
    assert {"kernel", "cpus", "python"} <= found["machine"].keys()
    peers = found["peers"]
    assert found["c_loop"].keys() == {"arje", "c", "c_singly", "ratio"}
    sides = [found["ballast"]["small"], found["ballast"]["large"]]
    ratios = [found["ballast"]["ratio"]]
    for part in (found["c_loop"], peers["start"], peers["life"]):
        ratios += part.pop("ratio").values()
        sides += part.values()
    assert len(peers["start"]) + len(peers["left_out"]) == 4  # arje, bwrap, unshare, crun
    for side in sides:
        assert {"samples", "p10_us", "p50_us", "p90_us"} <= side.keys()
    for ratio in ratios:
        assert {"p50", "p10", "rounds_p50"} <= ratio.keys()
    for number in numbers([*sides, *ratios]):
        assert math.isfinite(number)
        assert number > 0
    assert found["ballast"]["large"]["rss_mb"] > found["ballast"]["small"]["rss_mb"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox benchmark needs root")
def test_sandbox_compares_the_whole_sandbox_tells_its_steps_and_leaves_nothing_behind() -> None:
    done = bench("sandbox", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    start, life = found["start"], found["life"]
    own = {"arje", "arje, nothing made ahead", "arje, overlay + landlock"}
    peers = start.keys() - {*own, "ratio", "fastest"}
    assert len(peers) + len(found["left_out"]) == 3, found["left_out"]  # bwrap, firejail, crun
    assert not peers or start["fastest"] in peers
    assert start["ratio"].keys() == life["ratio"].keys() == peers | own - {"arje"}
    assert [*found["steps"]] == ["plan", "cgroup", "clone", "configure", "isolate", "report", "exec"]
    assert {"clone: mount pid net uts ipc cgroup", "unshare: user namespace"} <= set(found["operations"])
    for number in numbers([start, life, found["steps"]]):
        assert math.isfinite(number)
        assert number > 0


def test_hand_prints_one_json_object_and_leaves_nothing_behind() -> None:
    done = bench("hand", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["services"] == 1000
    assert {"help", "status", "ping"} <= found["ratio"].keys()
    assert all(math.isfinite(number) and number > 0 for number in numbers(found["figures"]))
    assert not list(Path("/tmp").glob("arje-bench-hand.*"))
