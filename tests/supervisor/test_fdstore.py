"""The store of descriptors: what is kept, what is not, what goes by itself, and in which order it is given back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from arje.card.sockets import Socket
from arje.supervisor.descriptors import Held
from arje.supervisor.fdstore import Kept, same
from arje.supervisor.supervisor import Supervisor
from tests.supervisor.played import card, playing


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    """Two ends of a socket; the first is for the store, which closes it."""
    one, other = socket.socketpair()
    yield one.detach(), (far := other.detach())
    if is_open(far):
        os.close(far)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def names(found: Supervisor, label: str = "a") -> list[str]:
    return [held.name for held in found.activations.descriptors.stored(label)]


async def test_it_keeps_as_many_as_the_card_says(tmp_path: Path) -> None:
    async with playing(tmp_path, card("a", fd_store_max=2), card("b")) as (found, _):
        store = found.activations.store
        fds = [os.memfd_create(str(number)) for number in range(4)]
        await trio.lowlevel.checkpoint()
        assert [store.add("a", f"n{number}", fds[number]) for number in range(3)] == [
            Kept.STORED,
            Kept.STORED,
            Kept.FULL,
        ]
        assert store.add("b", "x", fds[3]) is Kept.UNWANTED
        assert names(found) == ["n0", "n1"]
        assert [is_open(fd) for fd in fds] == [True, True, False, False]  # what is not kept is closed


async def test_the_same_open_file_is_kept_once(tmp_path: Path, pair: tuple[int, int]) -> None:
    async with playing(tmp_path, card("a", fd_store_max=9)) as (found, _):
        await trio.lowlevel.checkpoint()
        store, copy = found.activations.store, os.dup(pair[0])
        assert store.add("a", "one", pair[0]) is Kept.STORED
        assert store.add("a", "two", copy) is Kept.SAME
        assert not is_open(copy)
        assert store.add("a", "three", os.memfd_create("x")) is Kept.STORED
        assert names(found) == ["one", "three"]


def test_two_files_of_one_kind_are_not_the_same(pair: tuple[int, int]) -> None:
    assert not same(*pair)
    os.close(pair[0])


@pytest.mark.parametrize("name", ["", "a:b", "tab\there", "ä", "x" * 256])
async def test_a_name_that_is_none_is_stored(tmp_path: Path, name: str) -> None:
    async with playing(tmp_path, card("a", fd_store_max=9)) as (found, _):
        await trio.lowlevel.checkpoint()
        found.activations.store.add("a", name, os.memfd_create("x"))
        assert names(found) == ["stored"]


async def test_all_of_a_name_are_removed(tmp_path: Path) -> None:
    async with playing(tmp_path, card("a", fd_store_max=9)) as (found, _):
        await trio.lowlevel.checkpoint()
        store = found.activations.store
        fds = [os.memfd_create(name) for name in "xyx"]
        for fd, name in zip(fds, "xyx", strict=True):
            store.add("a", name, fd)
        assert store.remove("a", "x") == 2
        assert store.remove("a", "x") == 0
        assert names(found) == ["y"]
        assert [is_open(fd) for fd in fds] == [False, True, False]


@pytest.mark.parametrize("poll", [True, False])
async def test_what_has_lost_its_other_end_goes_unless_it_is_not_to_be_looked_at(
    tmp_path: Path, pair: tuple[int, int], *, poll: bool
) -> None:
    async with playing(tmp_path, card("a", fd_store_max=9)) as (found, _):
        await trio.lowlevel.checkpoint()
        os.write(pair[1], b"to be read")  # that is no reason to go
        copy = os.dup(pair[0])  # as the service has one
        found.activations.store.add("a", "x", pair[0], poll=poll)
        other, far = socket.socketpair()
        found.activations.store.add("a", "y", other.detach())
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        assert names(found) == ["x", "y"]
        os.close(pair[1])
        far.close()
        with trio.fail_after(30):
            while "y" in names(found):
                await trio.sleep(0)
        assert names(found) == ([] if poll else ["x"])
        os.close(copy)


async def test_it_is_given_back_after_the_sockets(tmp_path: Path) -> None:
    words = (f"unix:{tmp_path}/b", f"unix:{tmp_path}/a")
    sockets = (Socket(listen=words[0], name="b"), Socket(listen=words[1]))
    async with playing(tmp_path, kept := card("a", sockets=sockets, fd_store_max=9)) as (found, _):
        await trio.lowlevel.checkpoint()
        fds = [os.memfd_create(name) for name in ("mine", "a", "b")]
        found.activations.store.add("a", "mine", fds[0])
        for fd, one in zip(fds[1:], reversed(sockets), strict=True):  # as they may have been opened in another order
            found.activations.descriptors.add("a", Held("", fd, one))
        given = found.activations.given(kept)
        assert dict(given.env) == {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "b:a:mine"}
        assert (given.pid_variables, given.fds) == (("LISTEN_PID",), (fds[2], fds[1], fds[0]))
        found.activations.close("a")
        assert not any(map(is_open, fds))
