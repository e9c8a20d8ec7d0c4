"""The incarnator and ``run`` of tests/incarnate, over a cgroup of this folder's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from arje.incarnate.spawn import Incarnator
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet
from tests.incarnate.conftest import run

__all__ = ["run"]


@pytest.fixture(scope="session")
def base() -> Iterator[Path | None]:
    found = cgroup.find_base(f"arje-test-escape-{os.getpid()}")
    yield found
    if found is not None:
        found.rmdir()


@pytest.fixture(scope="session")
def incarnator(base: Path | None) -> Incarnator:
    return Incarnator(CapabilitySet.detect(base), base)
