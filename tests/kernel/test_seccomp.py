"""Compiled filters: what is made of a list is what the list says, read by an interpreter of our own."""

from __future__ import annotations

import contextlib
import errno
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


X32 = 0x40000000
#: Every number that means something, the first ones beyond, the edges of what x32 has, and a tracer's -1.
NUMBERS = [*range(512), 0x3FFFFFFF, X32, *(X32 | number for number in range(0, 512, 7)), 0xFFFFFFFE, 0xFFFFFFFF]
MODES = {
    "allowed": lambda name: Seccomp(allow=(name,)),
    "allowed, killed else": lambda name: Seccomp(allow=(name,), default="kill"),
    "allowed, logged else": lambda name: Seccomp(allow=(name,), default="log"),
    "allowed with an errno else": lambda name: Seccomp(allow=(name,), default="errno:EACCES"),
    "denied": lambda name: Seccomp(deny=(name,)),
    "denied in a log": lambda name: Seccomp(deny=(name,), default="log"),
    "an errno of its own": lambda name: Seccomp(errno=((name, "EROFS"),)),
    "logged": lambda name: Seccomp(errno=((name, "log"),)),
    "killed": lambda name: Seccomp(errno=((name, "kill"),)),
    "an errno among what is allowed": lambda name: Seccomp(allow=(name,), errno=(("mount", "ENOSYS"),)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(SETS))
def test_every_named_set_is_compiled_as_libseccomp_does_in_every_mode_and_for_every_entry(name: str, mode: str) -> None:
    """By the numbers of this architecture, by x32's beside them, and through the 32-bit entry."""
    asked = MODES[mode](name)
    ours, say, default = program_of(asked), rules(asked), _default(asked)
    pairs = sorted((seccomp.number_of(known), say(known)) for known in HERE)
    newer = ENOSYS if default & ~0xFFFF == ERRNO else default
    foreign = LOG if default == LOG else KILL_PROCESS
    theirs = filtering.seccomp_compile(newer, foreign, [], pairs)
    numbers = NUMBERS if os.uname().machine == "x86_64" else [number for number in NUMBERS if number < X32]
    assert [decide(ours, number) for number in numbers] == [decide(theirs, number) for number in numbers]
    entry = [decide(ours, number, arch=I386) for number in NUMBERS]
    assert entry == [decide(theirs, number, arch=I386) for number in NUMBERS] == [foreign] * len(NUMBERS)


def _default(asked: Seccomp) -> int:
    word = asked.default or ("errno:EPERM" if asked.allow else "allow")
    return {"kill": KILL_PROCESS, "log": LOG, "allow": ALLOW, "errno:EPERM": EPERM, "errno:EACCES": ERRNO | 13}[word]


@given(st.lists(st.tuples(st.sampled_from([*sorted(SETS), *HERE]), st.integers(1, 133)), max_size=8))
def test_every_errno_of_a_card_is_the_one_that_both_give(pairs: list[tuple[str, int]]) -> None:
    asked = Seccomp(errno=tuple((name, errno.errorcode[number]) for name, number in pairs if number in errno.errorcode))
    ours, say = program_of(asked), rules(asked)
    theirs = filtering.seccomp_compile(ALLOW, KILL_PROCESS, [], sorted((seccomp.number_of(n), say(n)) for n in HERE))
    for name in HERE:
        number = seccomp.number_of(name)
        assert decide(ours, number) == decide(theirs, number) == say(name), name


def test_libseccomp_is_still_there_to_compile_for_other_architectures_and_agrees_about_ours() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("i386 goes with x86-64")
    alone = program_of(Seccomp(allow=("@system-service",)))
    both = program_of(Seccomp(allow=("@system-service",), architectures=("native", "x86")))
    known = [number for name in HERE if (number := filtering.syscall_number(name)) >= 0]
    assert [decide(alone, number) for number in known] == [decide(both, number) for number in known]
    assert decide(both, 11, arch=I386) == ALLOW
    assert decide(alone, 11, arch=I386) == KILL_PROCESS


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
