"""What the tests of the packages share: built once a session, and again only when something of the tree has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ship import CannotShip, alone, deb
from ship import wheel as wheels
from tests.packaging.boxes import Box, root


def built(make: Callable[[], Path]) -> Path:
    """Make it; what cannot be had without a network is left out in one line."""
    try:
        with alone():
            return make()
    except CannotShip as error:
        pytest.skip(f"not shipped here: {str(error).splitlines()[0][:200]}")


def online() -> bool:
    """Return whether Debian's packages can be reached: whether apt can have a small one."""
    with tempfile.TemporaryDirectory() as place:
        wanted = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "hostname"]
        return subprocess.run(wanted, cwd=place, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def sdist() -> Path:
    return built(wheels.sdist)


@pytest.fixture(scope="session")
def wheel() -> Path:
    return built(wheels.wheel)


@pytest.fixture(scope="session")
def package() -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg is not installed: no .deb")
    return built(deb.build)


@pytest.fixture
def box(place: Path) -> Iterator[Callable[[str], Box]]:
    """Open a Debian of one of the kinds of boxes.ROOTS."""
    if os.geteuid() != 0:
        pytest.skip("root is needed to enter a Debian of its own")

    def open_box(name: str) -> Box:
        return Box(built(lambda: root(name)), place / "box")

    yield open_box
    for path in place.glob("box/work/work"):
        path.chmod(0o700)
