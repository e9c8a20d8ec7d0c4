"""What a card says of urgency, devices and delegation: in one word or a table, and refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.devices import IoMax
from arje.card.loader import load_text
from arje.card.priority import IoPriority, Scheduler
from tests.card.test_schema import SCHEMA, fits

P = "[payload]\nexec = '/bin/true'\n"
S = P + "[soma]\n"
G = P + "[soma.cgroup]\n"


def one(text: str) -> Card:
    import tomllib

    loaded = load_text(Path("web.toml"), text)
    assert loaded.problems == ()
    assert fits(tomllib.loads(text), SCHEMA), "the schema refuses what the loader takes"
    (card,) = loaded.cards
    return card


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("'best-effort:7'", IoPriority(kind="best-effort", level=7)),
        ("'realtime'", IoPriority(kind="realtime", level=4)),
        ("'idle'", IoPriority(kind="idle")),
        ("{kind = 'realtime', level = 0}", IoPriority(kind="realtime", level=0)),
    ],
)
def test_an_io_priority_is_a_word_or_a_table(text: str, meant: IoPriority) -> None:
    assert one(S + f"ioprio = {text}\n").soma.ioprio == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("'batch'", Scheduler(policy="batch")),
        ("'fifo:99'", Scheduler(policy="fifo", priority=99)),
        (
            "{policy = 'rr', priority = 1, reset_on_fork = true}",
            Scheduler(policy="rr", priority=1, reset_on_fork=True),
        ),
        (
            "{policy = 'deadline', runtime = '5ms', period = 0.02}",
            Scheduler(policy="deadline", runtime=0.005, period=0.02),
        ),
    ],
)
def test_a_scheduler_is_a_word_or_a_table(text: str, meant: Scheduler) -> None:
    assert one(S + f"scheduler = {text}\n").soma.scheduler == meant


@pytest.mark.parametrize(
    "text",
    [
        "{'/dev/vda' = {rbps = '1M', wiops = 100}, '8:0' = {riops = 'max'}}",
        "['/dev/vda rbps=1M wiops=100', '8:0 riops=max']",
        "[{device = '/dev/vda', rbps = 1048576, wiops = 100}, {device = '8:0', riops = 'max'}]",
    ],
)
def test_limits_of_devices_are_a_table_or_lines(text: str) -> None:
    cgroup = one(G + f"io_max = {text}\n").soma.cgroup
    assert cgroup is not None
    assert cgroup.io_max == (IoMax(device="/dev/vda", rbps=1 << 20, wiops=100), IoMax(device="8:0", riops="max"))


def test_the_rest_of_a_cgroup_is_plain() -> None:
    cgroup = one(G + "delegate = true\nmemory_min = 'max'\nmemory_oom_group = true\ncpuset_mems = '0-1'\n").soma.cgroup
    assert cgroup is not None
    assert (cgroup.delegate, cgroup.memory_min, cgroup.memory_oom_group, cgroup.cpuset_mems) == (
        True,
        "max",
        True,
        "0-1",
    )


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (S + "nice = 20\n", "soma.nice", "-20 to 19"),
        (S + "nice = true\n", "soma.nice", "true is no whole number"),
        (S + "oom_score_adj = -1001\n", "soma.oom_score_adj", "-1000 to 1000"),
        (S + "ioprio = 'urgent'\n", "soma.ioprio", 'write "best-effort:4"'),
        (S + "ioprio = 'idle:3'\n", "soma.ioprio", 'or "idle"'),
        (S + "ioprio = 'realtime:8'\n", "soma.ioprio.level", "0 to 7"),
        (S + "ioprio = {kind = 'real-time'}\n", "soma.ioprio.kind", "did you mean 'realtime'?"),
        (S + "ioprio = 3\n", "soma.ioprio", "is not a table"),
        (S + "scheduler = 'fifo'\n", "soma.scheduler", '"fifo:50"'),
        (S + "scheduler = 'batch:3'\n", "soma.scheduler", "is no policy"),
        (S + "scheduler = 'fifo:0'\n", "soma.scheduler", "1 to 99"),
        (S + "scheduler = {policy = 'fifo'}\n", "soma.scheduler", "fifo with priority 0"),
        (S + "scheduler = {policy = 'fif', priority = 4}\n", "soma.scheduler.policy", "did you mean 'fifo'?"),
        (S + "scheduler = {policy = 'other', runtime = '5ms'}\n", "soma.scheduler", 'write policy = "deadline"'),
        (S + "scheduler = {policy = 'deadline', runtime = '5ms'}\n", "soma.scheduler", "runtime <= deadline <= period"),
        (S + "scheduler = {policy = 'deadline', runtime = 'x'}\n", "soma.scheduler.runtime", "is no duration"),
        (G + "io_max = '/dev/vda'\n", "soma.cgroup.io_max", "'/dev/vda' has no limit"),
        (G + "io_max = {'/dev/vda' = 5}\n", "soma.cgroup.io_max./dev/vda", "5 is not a table"),
        (G + "io_max = {'/dev/vda' = {rbpss = 5}}\n", "soma.cgroup.io_max./dev/vda", "did you mean 'rbps'?"),
        (G + "io_max = {'vda' = {rbps = 5}}\n", "soma.cgroup.io_max.0.device", "'vda' is no device"),
        (G + "io_max = {'/dev/vda' = {rbps = 0}}\n", "soma.cgroup.io_max.0.rbps", "0 is out of range"),
        (G + "io_max = ['/dev/vda rbps=fast']\n", "soma.cgroup.io_max.rbps", "'fast' is no size"),
        (G + "io_max = 7\n", "soma.cgroup.io_max", "7 names no devices"),
        (G + "delegate = 1\n", "soma.cgroup.delegate", "1 is neither true nor false"),
        (G + "cpuset_mems = 'all'\n", "soma.cgroup.cpuset_mems", "'all' is no list"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_line(text: str, field: str, words: str) -> None:
    (problem,) = load_text(Path("web.toml"), text).problems
    assert (problem.field, problem.line) == (field, 4)
    assert words in str(problem)
