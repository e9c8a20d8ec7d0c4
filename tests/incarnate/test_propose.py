"""What was seen becomes the tightest soma: everything that was done stays possible, and each key says why."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arje.card.soma import Soma
from arje.card.syscalls import KNOWN, expand
from arje.incarnate.caller import interpreter
from arje.incarnate.propose import FILES, Proposal, allows, collapse, outside, propose
from arje.incarnate.seen import MOST, Seen

ALL = frozenset({"seccomp", "landlock", "landlock.tcp_bind", "landlock.tcp_connect"})


def proposal(seen: Seen, has: frozenset[str] = ALL, slack: float = 0.0) -> Proposal:
    return propose(seen, Soma(), there=KNOWN, has=has, slack=slack)


def values(found: Proposal) -> dict[str, Any]:
    return {change.key: change.value for change in found.changes}


def test_what_was_not_done_is_forbidden() -> None:
    seen = Seen(calls={"read", "write", "socket"}, read={"/etc/hosts"}, execute={"/bin/sh"}, powerful=True)
    found = values(proposal(seen))
    assert found["no_new_privs"] is True
    assert found["capabilities"] == []
    assert found["landlock"]["read"] == ["/etc/hosts"]
    assert found["landlock"]["write"] == found["landlock"]["tcp_bind"] == found["landlock"]["tcp_connect"] == []
    assert "read" in expand(found["seccomp"]["allow"])
    assert "mount" not in expand(found["seccomp"]["allow"])


@given(st.sets(st.sampled_from(sorted(KNOWN))), st.floats(0, 1))
def test_every_call_that_was_seen_is_allowed(calls: set[str], slack: float) -> None:
    assert calls <= proposal(Seen(calls=calls), slack=slack).calls


def test_a_program_that_gives_privileges_keeps_them() -> None:
    found = proposal(Seen(privileged_programs={"/usr/bin/sudo"}))
    assert not {"no_new_privs", "seccomp", "landlock"} & values(found).keys()
    assert any("/usr/bin/sudo would lose its privileges" in each for each in found.suggestions)


def test_who_mounts_gets_no_landlock_and_is_told_why() -> None:
    found = proposal(Seen(calls={"mount"}))
    assert "landlock" not in values(found)
    assert any("it called mount" in each for each in found.suggestions)


def test_what_this_machine_cannot_forbid_is_not_proposed() -> None:
    found = values(proposal(Seen(tcp_bind={80}), frozenset({"landlock"})))
    assert found.keys() == {"no_new_privs", "landlock"}
    assert "tcp_bind" not in found["landlock"]


def test_many_files_stand_for_their_directory_but_never_for_etc() -> None:
    names = [f"f{number}" for number in range(FILES + 1)]
    assert collapse(f"/srv/data/{name}" for name in names) == ["/srv/data"]
    assert len(collapse(f"/etc/{name}" for name in names)) == len(names)
    assert collapse(["/a/b", "/a/b/c", "/a/bc"]) == ["/a/b", "/a/bc"]
    assert collapse(["/run/x.pid"]) == ["-/run/x.pid"]
    assert collapse(["/usr/lib/python3/x.py"], ["/usr/lib"]) == ["/usr/lib"]


@given(st.sets(st.text("ab/", min_size=1).map(lambda text: os.path.normpath("/" + text.strip("/")))))
def test_what_was_used_is_allowed_by_what_it_is_collapsed_to(paths: set[str]) -> None:
    assert all(allows(collapse(paths), path) for path in paths)


def test_what_is_outside_is_named_with_the_key_that_lacks_it() -> None:
    table = values(proposal(Seen(read={"/srv"}, tcp_bind={80})))["landlock"]
    tried = Seen(read={"/srv/a", "/etc/shadow"}, write={"/srv"}, tcp_bind={80, 81})
    assert outside(tried, table) == ["landlock.read: /etc/shadow", "landlock.write: /srv", "landlock.tcp_bind: 81"]


def test_what_is_kept_is_bounded() -> None:
    seen = Seen()
    for number in range(MOST + 100):
        seen.path("read", f"/data/{number}")
    assert len(seen.read) == MOST + 1
    assert "/data" in seen.read


def test_the_interpreter_of_a_script_and_the_loader_of_a_program_are_found() -> None:
    assert interpreter(b"#! /bin/sh -e\n") == "/bin/sh"
    with open("/bin/sh", "rb") as file:
        assert "ld-linux" in interpreter(file.read(4096))
    assert interpreter(b"") == interpreter(b"#!") == interpreter(b"\x7fELF\x02\x01") == ""


def test_who_changes_nothing_of_the_kernel_is_advised_to_be_kept_from_it() -> None:
    def advised(seen: Seen) -> bool:
        return any(each.startswith("protect_kernel_tunables") for each in proposal(seen).suggestions)

    assert advised(Seen(write={"/proc", "/srv"}))  # /proc: of itself alone
    assert not advised(Seen(write={"/proc/sys/kernel/domainname"}))
