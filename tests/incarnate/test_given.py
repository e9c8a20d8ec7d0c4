"""What an incarnation gets besides its card: descriptors from 3 on, variables, and its own pid as it sees it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from arje.card.soma import Namespaces
from arje.errors import SetupFailed
from arje.incarnate.given import Given
from arje.incarnate.spawn import Incarnator, StdioFds
from tests.conftest import needs_root
from tests.incarnate.conftest import card_of, said_by

BODIES = [
    pytest.param(Namespaces(), id="bare"),
    pytest.param(Namespaces(pid=True, mount=True), id="below a reaper", marks=needs_root),
    pytest.param(Namespaces(user=True, pid=True, mount=True), id="in a user namespace"),
]
Say = Callable[..., str]


@pytest.fixture
def say(incarnator: Incarnator) -> Say:
    """Run a shell script with something given; return what it said."""

    def say(script: str, given: Given, **soma: object) -> str:
        return said_by(incarnator, card_of("sh", "-c", script, **soma), given)

    return say


@pytest.fixture
def files() -> Iterator[list[int]]:
    """Three descriptors of files that say their number, the lowest numbers last."""
    made = []
    for number in range(3):
        fd = os.memfd_create(f"f{number}")
        os.write(fd, f"file {number}\n".encode())
        os.lseek(fd, 0, os.SEEK_SET)
        made.append(fd)
    yield made[::-1]
    for fd in made:
        os.close(fd)


@pytest.mark.parametrize("kinds", BODIES)
def test_descriptors_arrive_from_3_on_in_their_order(say: Say, files: list[int], kinds: Namespaces) -> None:
    assert say("cat <&3; cat <&4; cat <&5", Given(fds=tuple(files)), namespaces=kinds).splitlines() == [
        "file 2",
        "file 1",
        "file 0",
    ]


@pytest.mark.parametrize("kinds", BODIES)
def test_a_payload_has_no_descriptor_beyond_those_given(say: Say, files: list[int], kinds: Namespaces) -> None:
    seen = say(
        "for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do "
        "[ -e /proc/self/fd/$i ] && echo $i; done; true",
        Given(fds=tuple(files)),
        namespaces=kinds,
    )
    # what the shell test itself opens is gone when it looks
    assert seen.split() == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("kinds", BODIES)
def test_the_same_descriptor_may_be_given_twice_and_a_hundred_fit(
    say: Say, files: list[int], kinds: Namespaces
) -> None:
    given = Given(fds=(files[0], files[0], *[files[1]] * 98))
    assert say(
        "exec python3 -c 'import os; print(os.fstat(3) == os.fstat(4), len(os.listdir(\"/proc/self/fd\")))'",
        given,
        namespaces=kinds,
    ).split() == ["True", "104"]


@needs_root
def test_the_reaper_keeps_no_copy_open(incarnator: Incarnator) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    card = card_of("sh", "-c", "exec 3>&- 4>&-; exec sleep infinity", namespaces=Namespaces(pid=True, mount=True))
    outcome = incarnator.incarnate(card, StdioFds(null, null, null), Given(fds=(write, write)))
    os.close(write)
    os.close(null)
    with os.fdopen(read) as stream:
        assert stream.read() == ""  # the end comes while the service runs
    outcome.kill_tree()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()


@pytest.mark.parametrize("kinds", BODIES)
def test_a_payload_is_told_its_pid_as_it_sees_it(say: Say, kinds: Namespaces) -> None:
    given = Given(env=(("LISTEN_FDS", "0"),), pid_variables=("LISTEN_PID", "WATCHDOG_PID"))
    told = say('echo "$$ $LISTEN_PID $WATCHDOG_PID $LISTEN_FDS"', given, namespaces=kinds).split()
    assert told[1:] == [told[0], told[0], "0"]


def test_the_next_incarnation_of_a_card_is_told_its_own(say: Say) -> None:
    given = Given(pid_variables=("LISTEN_PID",))
    for _ in range(3):
        first, second = say('echo "$$ $LISTEN_PID"', given).split()
        assert first == second


def test_what_is_given_wins_over_the_card_and_changes_between_incarnations(say: Say) -> None:
    assert say('echo "$PATH"', Given(env=(("PATH", "/bin:/usr/bin"),))) == "/bin:/usr/bin\n"
    assert say('echo "$A"', Given(env=(("A", "1"),))) == "1\n"
    assert say('echo "$A"', Given(env=(("A", "2"),))) == "2\n"
    assert say('echo "$A"', Given()) == "\n"


def test_a_descriptor_that_is_none_is_an_error_that_leaves_nothing(incarnator: Incarnator) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    gone = 900
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(gone)
    with pytest.raises(SetupFailed, match="Bad file descriptor"):
        incarnator.incarnate(card_of("/bin/true"), StdioFds(null, null, null), Given(fds=(gone,)))
    os.close(null)
