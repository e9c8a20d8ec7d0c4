"""Telling a story of the virtual machine once for all of a file's tests."""

from __future__ import annotations

import platform

import pytest

from vm import story
from vm.kernel import NoMachine


def told(name: str) -> story.Told:
    """Tell a story; where there can be no machine, the tests are left out and say why."""
    if platform.machine() != "x86_64":
        pytest.skip(f"the virtual machine is built for x86-64, not for {platform.machine()}")
    try:
        return story.tell(name)
    except NoMachine as error:
        pytest.skip(str(error))
