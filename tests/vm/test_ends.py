"""How machines end in which arje is pid 1, and what they do when they are not to end."""

from __future__ import annotations

import pytest

from tests.vm.telling import told
from vm.stories.ends import CHECKS
from vm.story import Told


@pytest.fixture(scope="module")
def story() -> Told:
    return told("ends")


@pytest.mark.parametrize("check", CHECKS)
def test_how_a_machine_ends(story: Told, check: str) -> None:
    assert not story.results[check], "\n".join([story.results[check], *story.consoles])
