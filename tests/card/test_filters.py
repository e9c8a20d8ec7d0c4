"""Filters as people write them: named sets, shorthands, and what the author of a wrong one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.filters import Landlock, Seccomp
from arje.card.loader import load_text
from arje.card.schema import card_schema
from arje.card.syscalls import KNOWN, SETS, expand, tighten
from arje.kernel import seccomp

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
DOCUMENTED = set(
    """
    @aio @basic-io @chown @clock @cpu-emulation @debug @default @file-system @io-event @ipc @keyring @known
    @memlock @module @mount @network-io @obsolete @pkey @privileged @process @raw-io @reboot @resources @sandbox @setuid
    @signal @swap @sync @system-service @timer
    """.split()  # noqa: SIM905 - a list of thirty is easier to read so
)


def soma_of(text: str) -> tuple[Seccomp | None, Landlock | None]:
    loaded = load_text(Path("web.toml"), f"[soma]\n{text}\n")
    assert loaded.problems == ()
    (card,) = loaded.cards
    return card.soma.seccomp, card.soma.landlock


def test_every_documented_set_is_there_and_none_is_empty() -> None:
    assert set(SETS) == DOCUMENTED
    assert all(SETS.values())


def test_every_system_call_of_this_kernels_headers_is_known() -> None:
    if not HEADER.exists():
        pytest.skip("no headers of x86-64 here")
    assert set(re.findall(r"#define __NR_(\w+)", HEADER.read_text())) <= KNOWN


def test_a_service_may_do_what_is_usual_and_nothing_that_takes_the_machine() -> None:
    usual = {"read", "openat", "socket", "clone", "execve", "futex", "epoll_wait", "setuid", "chown", "kill"}
    assert usual <= SETS["@system-service"]
    for name in ("@mount", "@module", "@reboot", "@swap", "@raw-io", "@debug", "@clock", "@obsolete", "@cpu-emulation"):
        assert not SETS[name] & SETS["@system-service"], name
    assert {"reboot", "init_module", "swapon", "settimeofday", "setuid", "chroot"} <= SETS["@privileged"]


def test_sets_and_names_expand_together() -> None:
    assert expand(["@swap", "read"]) == {"swapon", "swapoff", "read"}
    with pytest.raises(KeyError):
        expand(["@swapp"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('seccomp = "@system-service"', Seccomp(allow=("@system-service",))),
        ('seccomp = ["@default", "read"]', Seccomp(allow=("@default", "read"))),
        ('seccomp = {deny = "@mount"}', Seccomp(deny=("@mount",))),
        ('seccomp = {raw = "/filter", log = true}', Seccomp(raw="/filter", log=True)),
        (
            'seccomp = {allow = ["@default"], errno = {mount = "EROFS"}, default = "errno:ENOSYS", architectures = "x86"}',
            Seccomp(allow=("@default",), errno=(("mount", "EROFS"),), default="errno:ENOSYS", architectures=("x86",)),
        ),
    ],
)
def test_a_filter_may_be_written_short(text: str, meant: Seccomp) -> None:
    assert soma_of(text)[0] == meant


def test_landlock_tells_a_list_that_is_empty_from_one_that_is_not_there() -> None:
    text = 'landlock = {read = "/usr", write = [], tcp_bind = 80, scopes = "signal"}'
    meant = Landlock(read=("/usr",), write=(), tcp_bind=(80,), scopes=("signal",))
    assert soma_of(text)[1] == meant
    assert meant.tcp_connect is None


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ('seccomp = "@system-servce"', "soma.seccomp.allow.0", "did you mean '@system-service'"),
        ('seccomp = "raed"', "soma.seccomp.allow.0", "did you mean 'read'"),
        ('seccomp = {errno = {mount = "EPREM"}}', "soma.seccomp.errno.mount", "did you mean 'EPERM'"),
        ('seccomp = {errno = {moutn = "EPERM"}}', "soma.seccomp.errno.moutn", "did you mean 'mount'"),
        ('seccomp = {deny = ["read"], default = "nope"}', "soma.seccomp.default", "kill, errno:EPERM, log or allow"),
        ('seccomp = {deny = ["read"], default = "errno:EPREM"}', "soma.seccomp.default", "did you mean 'EPERM'"),
        ('seccomp = {deny = ["read"], architectures = ["vax"]}', "soma.seccomp.architectures.0", "native"),
        ('seccomp = {deny = ["read"], architectures = []}', "soma.seccomp.architectures", "foreign"),
        ('seccomp = {raw = "/f", deny = ["read"]}', "soma.seccomp.raw", "complete"),
        ('seccomp = {alow = ["read"]}', "soma.seccomp.alow", "did you mean 'allow'"),
        ("seccomp = {}", "soma.seccomp", "nothing"),
        ("seccomp = 7", "soma.seccomp", "not a table"),
        ("seccomp = {allow = [7]}", "soma.seccomp.allow.0", "not text"),
        ('landlock = {read = ["usr"]}', "soma.landlock.read.0", "'/usr'"),
        ('landlock = {raed = ["/usr"]}', "soma.landlock.raed", "did you mean 'read'"),
        ("landlock = {tcp_bind = [65536]}", "soma.landlock.tcp_bind.0", "out of range"),
        ('landlock = {tcp_bind = ["http"]}', "soma.landlock.tcp_bind.0", "no whole number"),
        ('landlock = {scopes = ["signals"]}', "soma.landlock.scopes.0", "signal"),
        ("landlock = {}", "soma.landlock", "nothing"),
        ("landlock = true", "soma.landlock", "not a table"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_field_and_the_right_word(text: str, field: str, words: str) -> None:
    (problem,) = load_text(Path("web.toml"), f"[soma]\n{text}\n").problems
    assert (problem.line, problem.field) == (2, field)
    assert words in str(problem)


def test_the_schema_tells_what_the_fields_mean() -> None:
    defs = card_schema()["$defs"]
    assert "SIGSYS" in defs["Seccomp"]["properties"]["default"]["description"]
    assert "truncated" in defs["Landlock"]["properties"]["write"]["description"]


# -- the tightest list for what was observed ---------------------------------------------------------------------------

HERE = seccomp.here(KNOWN)


@given(st.sets(st.sampled_from(sorted(HERE)), max_size=60), st.sampled_from([0.0, 0.3, 0.6]))
def test_what_was_observed_is_allowed(observed: set[str], slack: float) -> None:
    assert observed <= expand(tighten(observed, there=HERE, slack=slack))


@given(st.sets(st.sampled_from(sorted(HERE))))
def test_without_slack_nothing_else_is_allowed(observed: set[str]) -> None:
    assert (expand(tighten(observed, there=HERE)) & HERE) - SETS["@default"] <= observed


def test_sets_that_were_seen_whole_stand_for_their_members() -> None:
    assert tighten({"swapon", "swapoff", "read", "futex"}, there=HERE) == ("@default", "@swap", "read")
    assert tighten(SETS["@system-service"] & HERE, there=HERE) == ("@default", "@system-service")


def test_slack_brings_sets_that_were_seen_in_part_but_never_delicate_ones() -> None:
    seen = SETS["@memlock"] - {"mlock2"} | {"reboot", "kexec_load", "chown", "fchown"}
    chosen = tighten(seen, there=HERE, slack=0.5)
    assert "@memlock" in chosen
    assert not {"@reboot", "@chown", "@privileged"} & set(chosen)
