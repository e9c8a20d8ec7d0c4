"""Machines and containers for the tests of pid 1."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.init.machine import Booted, may_unshare

PASSWD = "echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd; echo 'root:x:0:' > etc/group\n"


@pytest.fixture
def container(place: Path) -> Iterator[Callable[..., Booted]]:
    """Start arje as pid 1 of a container: cards (label → text), words for init, and what Booted takes."""
    yield from _booting(place, lambda words: {})


@pytest.fixture
def machine(place: Path) -> Iterator[Callable[..., Booted]]:
    """Start arje as pid 1 of what it takes for a machine: cards, words for init; ``line`` is the kernel line."""

    def as_machine(more: dict[str, Any]) -> dict[str, Any]:
        line = more.pop("line", "")
        words = (sys.executable, "-m", "tests.init.as_machine", f"arje.log=/mnt/log console=console {line}")
        return {"command": (*more.pop("inside", ()), *words), "furnish": PASSWD + more.pop("furnish", "")}

    yield from _booting(place, as_machine)


def _booting(place: Path, furnished: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[Callable[..., Booted]]:
    if not may_unshare():
        pytest.skip("no unprivileged user namespaces here")
    started: list[Booted] = []

    def start(cards: dict[str, str], *words: str, **more: Any) -> Booted:
        directory = place / str(len(started))
        directory.mkdir()
        given = furnished(more)
        started.append(booted := Booted(directory, cards, *words, **more, **given))
        return booted

    yield start
    for booted in started:
        booted.close()
        log = booted.shared / "log"
        told = booted.said() + (log.read_text(errors="replace") if log.exists() else "")
        assert booted.may_fail or "Traceback" not in told, told
