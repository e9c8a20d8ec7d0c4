"""A machine in which arje is pid 1: boot, login, every kind of isolation, and off with everything written."""

from __future__ import annotations

import pytest

from tests.vm.telling import told
from vm.stories.site import CHECKS
from vm.story import Told


@pytest.fixture(scope="module")
def story() -> Told:
    return told("site")


@pytest.mark.parametrize("check", CHECKS)
def test_a_machine_with_arje_as_pid_1(story: Told, check: str) -> None:
    assert not story.results[check], "\n".join([story.results[check], *story.consoles])
