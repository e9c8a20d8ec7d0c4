"""The README stays true where a test can hold it to the code."""

from __future__ import annotations

import re

import pytest

from arje.ctl.verbs import VERBS
from arje.service.state import diagram
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_states_in_the_readme_are_the_table_s() -> None:
    assert f"```\n{diagram()}\n```" in README


def test_every_room_of_the_house_is_in_the_tour() -> None:
    tour = README[README.index("## The house") :]
    for room in ROOT.glob("arje/*/"):
        if (room / "__init__.py").exists():
            assert f"`{room.name}/`" in tour, room.name


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"^arjectl (\w+)", README, re.MULTILINE))))
def test_every_verb_that_the_readme_names_is_one(verb: str) -> None:
    assert verb in VERBS
