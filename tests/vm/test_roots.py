"""A machine that goes from the initramfs to a Debian root on a disk: there arje is pid 1 as well, and of containers too."""

from __future__ import annotations

import pytest

from tests.vm.telling import told
from vm.stories.roots import CHECKS
from vm.story import Told


@pytest.fixture(scope="module")
def story() -> Told:
    return told("roots")


@pytest.mark.parametrize("check", CHECKS)
def test_a_debian_root_with_arje_as_pid_1(story: Told, check: str) -> None:
    assert not story.results[check], "\n".join([story.results[check], *story.consoles])
