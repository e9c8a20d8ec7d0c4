"""A real Incarnator over a cgroup of its own, and one call that runs a program in a soma to its end."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Soma
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Incarnation
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet


class Ran(NamedTuple):
    """What became of one run."""

    output: str
    exit: Exit
    incarnation: Incarnation


@pytest.fixture(scope="session")
def base() -> Iterator[Path | None]:
    found = cgroup.find_base(f"arje-test-incarnate-{os.getpid()}")
    yield found
    if found is not None:
        found.rmdir()  # fails when a test left a cgroup behind


@pytest.fixture(scope="session")
def incarnator(base: Path | None) -> Incarnator:
    return Incarnator(CapabilitySet.detect(base), base)


def card_of(*command: str, **soma: Any) -> Card:
    return Card(label="test", payload=Native(exec=command[0], argv=command[1:]), soma=Soma(**soma))


def said_by(incarnator: Incarnator, card: Card, given: Given = NOTHING) -> str:
    """Run a card to its good end; return what it said."""
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        outcome = incarnator.incarnate(card, StdioFds(null, write, write), given)
    finally:
        os.close(write)
        os.close(null)
    with os.fdopen(read) as stream:
        text = stream.read()
    info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    assert info is not None
    assert outcome.exit_of(Exit.from_wait(info.si_code, info.si_status)).ok, text
    outcome.close()
    return text


@pytest.fixture
def run(incarnator: Incarnator) -> Callable[..., Ran]:
    def run(*command: str, **soma: Any) -> Ran:
        before = list(Path("/proc/self/fd").iterdir())
        out_r, out_w = os.pipe2(os.O_CLOEXEC)
        in_r, in_w = os.pipe2(os.O_CLOEXEC)
        try:
            outcome = incarnator.incarnate(card_of(*command, **soma), StdioFds(in_r, out_w, out_w))
        except BaseException:
            os.close(out_r)
            raise
        finally:  # a payload that reads its stdin has waited until it was read back
            for fd in (in_r, in_w, out_w):
                os.close(fd)
        with os.fdopen(out_r, errors="replace") as stream:
            output = stream.read()
        info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        assert info is not None
        ended = outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))
        outcome.close()
        assert len(list(Path("/proc/self/fd").iterdir())) <= len(before) + 1  # the reaper's image, once
        return Ran(output, ended, outcome.incarnation)

    return run


@pytest.fixture
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts, into a new net namespace with an uplink that leads nowhere."""
    libc, net = ctypes.CDLL(None, use_errno=True), 0x40000000
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(net) == 0, os.strerror(ctypes.get_errno())
        for words in (
            "link set lo up",
            "link add up0 type veth peer name up1",
            "addr add 192.0.2.2/24 dev up0",
            "link set up0 up",
            "link set up1 up",
            "route add default via 192.0.2.1",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        yield
    finally:
        assert libc.setns(home, net) == 0, os.strerror(ctypes.get_errno())
        os.close(home)
