"""Changes of a running service's limits: a card's own names and values, or every problem at once."""

from __future__ import annotations

from typing import Any

import pytest

from arje.card import live
from arje.card.devices import IoMax
from arje.card.limits import RLIMITS
from arje.card.priority import IoPriority, Scheduler
from arje.errors import CardError


def value_of(name: str, text: str) -> Any:
    place = live.NAMES[name]
    soma = live.read({name: text}, "here")
    if place[0] == "rlimits":
        return soma.rlimits
    found: Any = soma
    for part in place:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("memory_max", "256M", 256 << 20),
        ("memory_max", "max", "max"),
        ("cgroup.memory_max", "4096", 4096),
        ("memory_oom_group", "true", True),
        ("pids_max", "100", 100),
        ("cpu_max", "50%", "50%"),
        ("cpu_max", "20000 100000", "20000 100000"),
        ("cpu_weight", "7", 7),
        ("cpuset", "0", "0"),
        ("io_max", "8:0 rbps=1M wiops=max", (IoMax(device="8:0", rbps=1 << 20, wiops="max"),)),
        ("cpu_affinity", "3,0-1", (0, 1, 3)),
        ("nice", "-5", -5),
        ("rlimit.nice", "30", (("nice", 30, 30),)),
        ("nofile", "64:1K", (("nofile", 64, 1024),)),
        ("core", "infinity", (("core", 2**64 - 1, 2**64 - 1),)),
        ("ioprio", "best-effort:7", IoPriority(kind="best-effort", level=7)),
        ("scheduler", "fifo:5", Scheduler(policy="fifo", priority=5)),
        ("oom_score_adj", "-1000", -1000),
    ],
)
def test_a_value_is_what_the_same_words_in_a_card_are(name: str, text: str, value: Any) -> None:
    assert value_of(name, text) == value


def test_every_limit_can_be_set_by_its_name() -> None:
    assert {name for name in RLIMITS} <= live.NAMES.keys()
    assert live.NAMES["nice"] == ("nice",)
    assert live.NAMES["rlimit.nice"] == ("rlimits", "nice")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"memory_maks": "1"}, "memory_maks", "'memory_max'"),
        ({"colour": "red"}, "colour", "no such limit"),
        ({"": "1"}, "", "no such limit"),
        ({"hostname": "x"}, "hostname", "cannot be changed while the service runs"),
        ({"namespaces.pid": "true"}, "namespaces.pid", "cannot be changed while the service runs"),
        ({"delegate": "true"}, "delegate", "arjectl apply"),
        ({"scheduler": "deadline"}, "soma.scheduler", "runtime"),
        ({"nofile": "many"}, "soma.rlimits.nofile", "'many'"),
        ({"nofile": "9:3"}, "soma.rlimits.nofile", "over the hard limit"),
        ({"memory_max": "lots"}, "soma.cgroup.memory_max", "'lots'"),
        ({"memory_max": "-1"}, "soma.cgroup.memory_max", ""),
        ({"pids_max": "0"}, "soma.cgroup.pids_max", ""),
        ({"cpu_affinity": "0-99999999"}, "cpu_affinity", "list of CPUs"),
        ({"cpu_affinity": "all"}, "cpu_affinity", "list of CPUs"),
        ({"cpu_affinity": ""}, "cpu_affinity", "list of CPUs"),
        ({"nice": "20"}, "soma.nice", "-20 to 19"),
        ({"nice": ""}, "soma.nice", ""),
        ({"nice": "5.5"}, "soma.nice", ""),
        ({"ioprio": "realtime:9"}, "soma.ioprio.level", "0 to 7"),
        ({"io_max": "/dev/vda"}, "soma.cgroup.io_max", "no limit"),
        ({"io_max": "/dev/vda speed=1"}, "soma.cgroup.io_max./dev/vda", "speed"),
        ({"io_max": ""}, "soma.cgroup.io_max", ""),
        ({"nofile": "1", "rlimit.nofile": "2"}, "rlimit.nofile", "twice"),
        ({}, "", "nothing to change"),
    ],
)
def test_what_cannot_be_set_is_told_by_name(changes: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(CardError) as wrong:
        live.read(changes, "here")
    (problem,) = [problem for problem in wrong.value.problems if problem.field == field]
    assert words in str(problem)
    assert problem.file == "here"


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(CardError) as wrong:
        live.read({"memory_maks": "1", "nice": "77", "nofile": "x", "pids_max": "5"}, "here")
    assert [problem.field for problem in wrong.value.problems] == ["memory_maks", "soma.rlimits.nofile", "soma.nice"]


def test_a_deadline_needs_a_start() -> None:
    with pytest.raises(CardError, match="deadline"):
        live.read({"scheduler": "deadline"}, "here")
