"""Compiled filters: what is made of a list is what the list says, read by an interpreter of our own."""

from __future__ import annotations

import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.filters import Seccomp
from arje.card.syscalls import KNOWN, SETS
from arje.incarnate.families.filters import program_of, rules
from arje.kernel import bpf, seccomp
from arje.kernel.seccomp import ALLOW, ERRNO, KILL_PROCESS, LOG, decide
from arje.native import filtering

pytestmark = pytest.mark.skipif(not filtering.has_libseccomp(), reason="libseccomp is not installed")

HERE = sorted(seccomp.here(KNOWN))
WORDS = st.lists(st.sampled_from([*sorted(SETS), *HERE]), max_size=5)
I386 = 0x40000003
ENOSYS = ERRNO | 38
EPERM = ERRNO | 1


@given(WORDS, WORDS, WORDS, st.sampled_from(["", "kill", "errno:EACCES", "log", "allow"]))
def test_a_compiled_filter_decides_for_every_call_as_the_card_says(
    allow: list[str], deny: list[str], refuse: list[str], default: str
) -> None:
    pairs = tuple((name, "EROFS") for name in refuse)
    asked = Seccomp(allow=tuple(allow), deny=tuple(deny), errno=pairs, default=default)
    program, say = program_of(asked), rules(asked)
    assert {name: decide(program, seccomp.number_of(name)) for name in HERE} == {name: say(name) for name in HERE}


def test_denied_is_stronger_than_allowed_and_an_errno_is_stronger_than_both() -> None:
    say = rules(Seccomp(allow=("@file-system",), deny=("mkdir", "rmdir"), errno=(("rmdir", "EROFS"),)))
    assert (say("openat"), say("mkdir"), say("rmdir"), say("mount")) == (ALLOW, EPERM, ERRNO | 30, EPERM)


def test_a_list_of_denied_calls_alone_leaves_the_others_allowed() -> None:
    say = rules(Seccomp(deny=("mount",)))
    assert (say("mount"), say("read")) == (EPERM, ALLOW)


@pytest.mark.parametrize(
    ("default", "newer", "foreign"),
    [("errno:EPERM", ENOSYS, KILL_PROCESS), ("kill", KILL_PROCESS, KILL_PROCESS), ("log", LOG, LOG)],
)
def test_calls_that_are_newer_or_of_another_architecture_do_not_slip_through(
    default: str, newer: int, foreign: int
) -> None:
    program = program_of(Seccomp(allow=("@default",), default=default))
    assert decide(program, 9999) == newer
    assert decide(program, seccomp.number_of("execve"), arch=I386) == foreign
    if os.uname().machine == "x86_64":
        assert decide(program, 0x40000000 | seccomp.number_of("execve")) == foreign  # x32


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 goes with x86-64")
def test_an_architecture_that_is_named_is_filtered_by_its_own_numbers() -> None:
    program = program_of(Seccomp(allow=("@default",), architectures=("native", "x86")))
    assert decide(program, 11, arch=I386) == ALLOW  # execve
    assert decide(program, 21, arch=I386) == EPERM  # mount


def test_an_architecture_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        seccomp.compiled({}, default=ALLOW, foreign=KILL_PROCESS, architectures=["native", "vax"])


ACTIONS = st.sampled_from([ALLOW, LOG, EPERM, ENOSYS, KILL_PROCESS])


@given(st.dictionaries(st.sampled_from([seccomp.number_of(name) for name in HERE]), ACTIONS), ACTIONS, ACTIONS)
def test_our_own_short_filter_and_libseccomps_long_one_decide_alike(
    rules: dict[int, int], default: int, foreign: int
) -> None:
    pairs = sorted(rules.items())
    ours = bpf.own(pairs, default=default, foreign=foreign, machine=os.uname().machine)
    theirs = filtering.seccomp_compile(default, foreign, [], pairs)
    edges = {number + step for number in rules for step in (-1, 0, 1)}
    for number in {*edges, 0, 9999, 0x3FFFFFFF, 0x40000000, 0x40000001, 0xFFFFFFFE, 0xFFFFFFFF} - {-1}:
        assert decide(ours, number) == decide(theirs, number), hex(number)
    assert decide(ours, 0, arch=I386) == decide(theirs, 0, arch=I386) == foreign


def test_a_filter_with_more_ranges_than_one_jump_reaches_decides_for_each() -> None:
    pairs = [(number, ALLOW) for number in range(0, 1200, 2)]
    program = bpf.own(pairs, default=EPERM, foreign=KILL_PROCESS, machine=os.uname().machine)
    assert [decide(program, number) for number in range(1200)] == [ALLOW, EPERM] * 600


def test_the_usual_filter_is_short_because_each_start_compiles_it_again() -> None:
    program = program_of(Seccomp(allow=("@system-service",)))
    assert len(seccomp.instructions(program)) < 200


def test_calls_that_are_newer_than_libseccomp_are_numbered_all_the_same() -> None:
    assert (seccomp.number_of("mseal"), seccomp.number_of("file_setattr")) == (462, 469)
    assert seccomp.number_of("set_mempolicy_home_node") == 450
    assert seccomp.number_of("fcntl64") < 0


RETURN_ALLOW = struct.pack("=HBBI", 0x06, 0, 0, ALLOW)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"1234567",
        struct.pack("=HBBI", 0x20, 0, 0, 0),
        struct.pack("=HBBI", 0x05, 0, 0, 7) + RETURN_ALLOW,
        struct.pack("=HBBI", 0x15, 0, 200, 7) + RETURN_ALLOW,
        struct.pack("=HBBI", 0x30, 0, 0, 0) + RETURN_ALLOW,
        struct.pack("=HBBI", 0x20, 0, 0, 64) + RETURN_ALLOW,
        RETURN_ALLOW * 4097,
    ],
)
def test_what_is_no_filter_is_told_before_the_kernel_sees_it(program: bytes) -> None:
    with pytest.raises(OSError, match=r"\[Errno 22\]"):
        seccomp.instructions(program)


def test_a_filter_with_instructions_that_are_not_read_here_is_left_to_the_kernel() -> None:
    assert decide(struct.pack("=HBBI", 0x87, 0, 0, 0) + RETURN_ALLOW, 0) is None


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_an_oserror(junk: bytes) -> None:
    with contextlib.suppress(OSError):
        decide(junk + RETURN_ALLOW, 1)
