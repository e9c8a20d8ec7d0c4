"""The matrix: every feature, preferred and required, in every environment that can be had here.

A feature that is impossible is refused before the payload's first instruction, or it is one degradation with its cause;
the dry run knew which. All others are granted. What follows from what is in ``environments.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arje.card.files import ITEMISED
from arje.card.soma import FEATURES
from tests.conftest import NOBODY, ROOT
from tests.matrix import judge, witness
from tests.matrix.environments import (
    ENVIRONMENTS,
    Environment,
    debian_python,
    name_of,
    path_of_packages,
    request,
    shell,
)
from tests.matrix.rows import furnish, rows

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to make the environments")
PLACE = Path("/matrix")
#: What no environment here takes away, and why.
NEVER_LOST = {
    "dumpable": "every process may lower a limit",
    "no_new_privs": "the kernel grants it to everybody",
    "parent_death_signal": "the kernel grants it to everybody",
    "controlling_tty": "who may open a terminal that nobody has may take it",
}


def run(environment: Environment, place: Path) -> judge.Told:
    """Run the driver in an environment and return what it told."""
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox is not installed: run tools/packages")
    furnish(place)
    if environment.as_nobody:
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    python = debian_python() if environment.as_nobody else [sys.executable]
    paths = os.environ | {"PYTHONPATH": path_of_packages(ROOT)}
    words = [*shell(environment), *python, "-m", "tests.matrix.driver", str(place)]
    told = json.dumps(request(environment))
    done = subprocess.run(words, input=told, capture_output=True, text=True, check=False, env=paths, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    answers: judge.Told = json.loads(done.stdout.splitlines()[-1])
    return {feature: modes for feature, modes in answers.items() if feature not in environment.without}


def expected(environment: Environment, place: Path) -> dict[str, str]:
    """Return feature → cause with the itemised examples, which share the fate of their family."""
    causes = {feature: cause for feature, cause in environment.impossible.items() if cause}
    return {feature: causes[name] for feature in rows(place) if (name := feature.partition("./")[0]) in causes}


@needs_root
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=name_of)
def test_what_is_impossible_is_refused_or_one_degradation_and_all_else_is_granted(
    environment: Environment, place: Path
) -> None:
    told = run(environment, place)
    assert set(told) == set(environment.only or rows(place)) - set(environment.without)
    unforeseen = {row for row in rows(place) if row.partition("./")[0] in environment.unforeseen}
    wrong = list(judge.of(told, expected(environment, place), frozenset(unforeseen)))
    assert wrong == [], "\n".join(wrong)


@needs_root
def test_where_no_child_can_be_made_every_start_fails_as_foretold_and_tells_why(place: Path) -> None:
    told = run(Environment("no clone3", "", {}, deny=("clone3",)), place)
    for feature, modes in told.items():
        for found in modes.values():
            assert (found["outcome"] != "started", found["ran"], found["leaks"]) == (True, False, []), feature
            assert found["foretold"]["refusal"], feature
            if found["outcome"] == "failed" and not feature.startswith("join."):
                assert (found["step"], found["errno"]) == ("clone", 1), (feature, found)
                assert "a seccomp filter is over this process" in found["text"]


def test_no_feature_is_without_its_row() -> None:
    items = {row for row in rows(PLACE) if "./" in row}
    assert set(rows(PLACE)) - items == set(FEATURES)
    assert sorted(row.partition("./")[0] for row in items) == sorted(ITEMISED)


def test_no_feature_is_without_a_witness() -> None:
    assert {*witness.OUTSIDE, *witness.INSIDE} == set(FEATURES)


@needs_root
def test_what_is_reported_is_seen_by_another_reader_feature_by_feature(place: Path) -> None:
    told = run(ENVIRONMENTS[0], place)
    lost = expected(ENVIRONMENTS[0], place)
    blind = {row for row, modes in told.items() if modes["prefer"]["seen"] is not (row not in lost)}
    assert blind == set()


def test_every_feature_is_impossible_somewhere() -> None:
    lost = {name for environment in ENVIRONMENTS for name, cause in environment.impossible.items() if cause}
    assert set(FEATURES) - lost == set(NEVER_LOST)


def test_no_environment_names_a_feature_that_there_is_not() -> None:
    for environment in ENVIRONMENTS:
        assert {*environment.impossible, *environment.unforeseen, *environment.without, *environment.only} <= {
            *FEATURES
        }, environment.name
