"""Conditions and asserts: each word against this machine, and what a service does when one does not hold."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.conditions import WORDS, Conditions
from arje.card.loader import load_text
from arje.kernel import virtualization
from arje.supervisor import conditions
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
VIRT = shutil.which("systemd-detect-virt")


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """One of everything that a path can be."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").write_text("")
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "bare").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("/no/such")
    return tmp_path


PATHS = {
    "path_exists": (("file", "bare", "link", "fi*", "f[iu]*l*"), ("no", "nowhere", "x*")),
    "directory": (("bare", "full"), ("file", "no")),
    "directory_not_empty": (("full",), ("bare", "file", "no")),
    "file_not_empty": (("file", "link"), ("empty", "full", "no")),
    "executable": (("program",), ("file", "full", "no")),
    "symlink": (("link", "nowhere"), ("file", "no")),
    "read_write": (("bare", "file"), ("no",)),
    "mount_point": ((), ("bare", "no")),
}


@pytest.mark.parametrize("word", PATHS)
def test_what_is_at_a_path(things: Path, word: str) -> None:
    good, bad = PATHS[word]
    for name in good:
        assert false(**{word: f"{things}/{name}"}) == "", name
        assert false(**{word: f"!{things}/{name}"}) == f"{word} = !{things}/{name} is false"
    for name in bad:
        assert false(**{word: f"{things}/{name}"}) == f"{word} = {things}/{name} is false"
        assert false(**{word: f"!{things}/{name}"}) == ""


def false(**tests: str) -> str:
    return conditions.first_false(Conditions(**{word: (test,) for word, test in tests.items()}))  # type: ignore[arg-type]


HERE = os.uname()
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
CPUS = len(os.sched_getaffinity(0))
USER = pwd.getpwuid(os.geteuid()).pw_name
WORD = Path("/proc/cmdline").read_text().split()[0]


@pytest.mark.parametrize(
    ("word", "good", "bad"),
    [
        ("mount_point", ["/proc", "/"], ["/etc/passwd"]),
        ("kernel_command_line", [WORD, WORD.partition("=")[0]], ["no.such.word", "no.such=1"]),
        ("capability", [], ["CAP_NO_SUCH"]),
        ("user", [USER, str(os.geteuid())], ["no-such-user", "54321"]),
        ("group", [str(os.getegid())], ["no-such-group", "54321"]),
        (
            "kernel_version",
            [">= 2.6", "> 3", "!= 1.2", HERE.release, "*.*", f"= {HERE.release}"],
            ["< 3", ">= 99", "1.*"],
        ),
        ("architecture", ["native", platform.machine()], ["vax"]),
        ("host", [HERE.nodename, "*", f"{HERE.nodename[:1]}*"], ["no-such-host"]),
        ("environment", ["PATH", f"HOME={os.environ.get('HOME')}"], ["NO_SUCH", "PATH=x"]),
        ("memory", [">= 1M", "1M", f"= {MEMORY}", "< 1000T"], ["< 1M", "1000T"]),
        ("cpus", [f"= {CPUS}", "1", f"<= {CPUS}"], [f"> {CPUS}", "< 1", "100000"]),
    ],
)
def test_what_the_machine_is(word: str, good: list[str], bad: list[str]) -> None:
    assert [false(**{word: test}) for test in good] == [""] * len(good)
    assert [false(**{word: test}) for test in bad] == [f"{word} = {test} is false" for test in bad]


def test_capabilities_are_those_of_the_bounding_set() -> None:
    bits = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd:"))
    has = bool(int(bits.split()[1], 16) >> 21 & 1)
    assert (false(capability="CAP_SYS_ADMIN") == "") == has
    assert (false(capability="!cap_sys_admin") == "") != has


@pytest.mark.parametrize("word", ["ac_power", "first_boot"])
def test_a_truth_is_one_way_or_the_other(word: str) -> None:
    assert (false(**{word: "true"}) == "") != (false(**{word: "false"}) == "")


def test_every_word_of_a_card_can_be_looked_at() -> None:
    assert set(conditions.TESTS) == set(WORDS)


@pytest.mark.skipif(VIRT is None, reason="systemd-detect-virt is the judge")
def test_a_virtual_machine_or_a_container_is_told_as_systemd_tells_it() -> None:
    def judge(*words: str) -> str:
        done = subprocess.run([str(VIRT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    assert virtualization.container() == judge("--container").replace("none", "")
    if judge("--vm") != "none":
        assert virtualization.machine() in (judge("--vm"), "vm-other")
    what = judge()
    assert (false(virtualization="yes") == "") == (what != "none")
    assert (false(virtualization=what) == "") == (what != "none")


def root(place: Path, **files: str) -> str:
    for name, text in files.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(place)


def test_kinds_of_containers_and_machines_are_known_by_what_they_leave(tmp_path: Path) -> None:
    assert virtualization.container(root(tmp_path / "a", proc__1__environ="A=b\0container=lxc\0")) == "lxc"
    assert (
        virtualization.container(root(tmp_path / "b", run__systemd__container="systemd-nspawn\n")) == "systemd-nspawn"
    )
    assert virtualization.container(root(tmp_path / "c")) == ""
    assert virtualization.machine(root(tmp_path / "d", sys__class__dmi__id__sys_vendor="QEMU\n")) == "qemu"
    assert virtualization.machine(root(tmp_path / "e", sys__class__dmi__id__product_name="VirtualBox\n")) == "oracle"
    assert virtualization.machine(root(tmp_path / "f", proc__cpuinfo="flags\t: fpu hypervisor sse\n")) == "vm-other"
    assert virtualization.machine(root(tmp_path / "g", proc__cpuinfo="flags\t: fpu sse\n")) == ""
    metal = {"sys__class__dmi__id__sys_vendor": "Amazon EC2\n", "proc__cpuinfo": "flags\t: fpu\n"}
    assert virtualization.machine(root(tmp_path / "h", **metal)) == ""


def test_one_of_several_tables_is_enough(things: Path) -> None:
    here, gone = Conditions(directory=(str(things),)), Conditions(path_exists=("/no/such",))
    assert conditions.first_false(Conditions(any_of=(gone, here))) == ""
    told = "any_of: path_exists = /no/such is false; path_exists = /no/such is false"
    assert conditions.first_false(Conditions(any_of=(gone, gone))) == told
    assert conditions.first_false(Conditions(directory=("/no",), any_of=(here,))) == "directory = /no is false"


def test_conditions_go_before_asserts() -> None:
    no = Conditions(path_exists=("/no/such",))
    assert conditions.look(Card(label="x", conditions=no, asserts=no)).asserted is False
    assert conditions.look(Card(label="x", asserts=no)) == conditions.Finding("path_exists = /no/such is false", True)


# -- services ----------------------------------------------------------------------------------------------------------


def test_a_service_whose_condition_does_not_hold_is_skipped_in_sight(manage: Manage, place: Path) -> None:
    manager = manage({"a": f'conditions.path_exists = "{place}/x"\n' + SLEEP, "b": 'wants = ["a"]\n' + SLEEP})
    a = manager.settle("a")
    assert (a["state"], a["wanted"], a["failure"]) == ("stopped", False, None)
    assert a["cause"]["detail"] == f"path_exists = {place}/x is false"
    assert f"skipped: path_exists = {place}/x is false" in manager.ctl("status").stdout
    assert manager.settle("b")["state"] == "running"
    assert f"Conditions: path_exists = {place}/x" in manager.ctl("status", "a").stdout
    (place / "x").touch()
    assert manager.call("Start", labels=["a"])["results"][0]["state"] == "running"


def test_a_service_whose_assert_does_not_hold_fails_and_says_which(manage: Manage) -> None:
    text = 'asserts = {kernel_version = ">= 99"}\n' + SLEEP
    manager = manage({"a": text, "b": 'requires = ["a"]\n' + SLEEP})
    a = manager.settle("a")
    assert (a["state"], a["failure"]["reason"]) == ("failed", "condition")
    assert (a["failure"]["field"], a["failure"]["line"]) == ("asserts", 1)
    assert a["failure"]["detail"] == "kernel_version = >= 99 is false"
    assert manager.settle("b")["failure"]["reason"] == "dependency"
    assert "asserted: kernel_version = >= 99 is false" in manager.ctl("why", "b").stdout


def test_conditions_are_looked_at_anew_before_every_start(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    manager = manage({"a": f'conditions.path_exists = "{place}/x"\n' + SLEEP})
    assert manager.settle("a")["state"] == "running"
    (place / "x").unlink()
    assert manager.call("Restart", labels=["a"])["results"][0]["state"] == "stopped"


# -- live conditions ---------------------------------------------------------------------------------------------------


def live(path: Path, rest: str = "") -> str:
    return f'live_conditions = true\nconditions.path_exists = "{path}"\n{rest}' + SLEEP


def test_a_service_with_live_conditions_waits_for_them_and_stops_with_them(manage: Manage, place: Path) -> None:
    manager = manage({"a": live(place / "deep/x"), "b": 'requires = ["a"]\n' + SLEEP})
    a = manager.settle("a")
    told = f"path_exists = {place}/deep/x is false"
    assert (a["state"], a["waiting_for"]) == (
        "waiting",
        [{"kind": "conditions", "name": told, "chain": [], "state": None}],
    )
    assert f"needs {told}" in manager.ctl("status").stdout
    assert f"waits: conditions {told}" in manager.ctl("why", "b").stdout
    (place / "deep").mkdir()
    (place / "deep/x").touch()
    manager.until("b", lambda b: b["state"] == "running")
    first = manager.show("a")
    (place / "deep/x").unlink()
    manager.until("a", lambda a: a["state"] == "waiting")
    manager.until("b", lambda b: b["state"] == "waiting")
    assert ("condition", told) in [(moment["who"], moment["detail"]) for moment in manager.show("a")["history"]]
    (place / "deep/x").touch()
    again = manager.until("a", lambda a: a["state"] == "running")
    assert again["pid"] != first["pid"]
    assert [wish["who"] for wish in again["activation"]] == ["cards.d"]


def test_a_stop_by_hand_ends_the_watch_and_a_start_begins_it_again(manage: Manage, place: Path) -> None:
    manager = manage({"a": live(place / "x")})
    manager.settle("a")
    assert manager.call("Stop", labels=["a"], force=False)["results"][0]["state"] == "stopped"
    (place / "x").touch()
    assert manager.call("Start", labels=["a"])["results"][0]["state"] == "running"
    (place / "x").unlink()
    manager.until("a", lambda a: a["state"] == "waiting")
    assert manager.call("Stop", labels=["a"], force=False)["results"][0]["state"] == "stopped"


def test_a_live_condition_that_changes_in_a_card_is_the_one_in_force(manage: Manage, place: Path) -> None:
    manager = manage({"a": live(place / "x")})
    manager.settle("a")
    (place / "y").touch()
    manager.write("a", live(place / "y"))
    assert manager.call("Apply", token="")["plan"]["applied"]
    assert manager.until("a", lambda a: a["state"] == "running")


def test_a_pattern_is_watched_by_its_directory(manage: Manage, place: Path) -> None:
    manager = manage({"a": live(place / "*.go")})
    assert manager.settle("a")["state"] == "waiting"
    (place / "x.go").touch()
    manager.until("a", lambda a: a["state"] == "running")


TELLS = """
[payload]
exec = "/bin/sh"
argv = ["-c", "trap 'echo again' HUP; echo up; while :; do sleep 1000 & wait $!; done"]
[supervision]
reload = "HUP"
"""


def live_table(path: Path, table: str) -> str:
    return f'conditions.path_exists = "{path}"\nlive_conditions = {table}\n{TELLS}'


def test_what_comes_back_within_its_grace_was_in_flux_and_nothing_else_is_felt(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    manager = manage({"a": live_table(place / "x", '{grace = "1h"}')})
    assert manager.settle("a")["live_conditions"] == "on"
    pid = manager.show("a")["pid"]
    (place / "x").unlink()
    told = f"flux: path_exists = {place}/x is false, and may be so for 3600 s"
    assert manager.until("a", lambda a: a["live_conditions"] == told)["state"] == "running"
    assert f"live: {told}" in manager.ctl("status", "a").stdout
    (place / "x").touch()
    assert manager.until("a", lambda a: a["live_conditions"] == "on")["pid"] == pid
    assert [moment["state"] for moment in manager.show("a")["history"]][-1] == "running"
    assert "again" not in manager.lines("a")


def test_what_does_not_come_back_within_its_grace_is_off(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    manager = manage({"a": live_table(place / "x", '{grace = "200ms"}')})
    manager.settle("a")
    (place / "x").unlink()
    waiting = manager.until("a", lambda a: a["state"] == "waiting" and a["live_conditions"].startswith("off"))
    assert waiting["live_conditions"] == f"off: path_exists = {place}/x is false"
    (place / "x").touch()
    manager.until("a", lambda a: a["state"] == "running" and a["live_conditions"] == "on")


def test_a_service_that_only_reloads_goes_on_when_its_conditions_are_off(manage: Manage, place: Path) -> None:
    (place / "x").touch()
    manager = manage({"a": live_table(place / "x", '{off = "reload", renewed = "restart"}')})
    manager.await_line("a", "up")
    first = manager.show("a")
    (place / "x").unlink()
    manager.await_line("a", "again")
    off = manager.until("a", lambda a: a["live_conditions"].startswith("off") and a["state"] == "running")
    assert off["pid"] == first["pid"]
    (place / "x").touch()
    again = manager.until("a", lambda a: a["state"] == "running" and a["pid"] != first["pid"])
    assert ("condition", "its conditions hold anew") in [(each["who"], each["detail"]) for each in again["history"]]


def test_a_file_that_is_replaced_makes_its_conditions_hold_anew_and_what_lies_beside_it_does_not(
    manage: Manage, place: Path
) -> None:
    (place / "x").write_text("old")
    manager = manage({"a": live_table(place / "x", '{renewed = "reload"}')})
    manager.await_line("a", "up")
    (place / "beside").write_text("nothing to do with it")
    (place / "new").write_text("new")
    (place / "new").rename(place / "x")
    manager.await_line("a", "again")
    manager.until("a", lambda a: a["state"] == "running")
    states = [moment["state"] for moment in manager.show("a")["history"]]
    assert states.count("reloading") == 1


@pytest.mark.parametrize(
    ("table", "field", "message"),
    [
        ('{off = "reload"}', "live_conditions.off", "it has no way to reload"),
        ('{renewed = "reload"}', "live_conditions.renewed", "it has no way to reload"),
        ('{off = "sotp"}', "live_conditions.off", "stop"),
        ('{grace = "soon"}', "live_conditions.grace", "no duration"),
        ('{of = "stop"}', "live_conditions.of", "did you mean 'off'?"),
        ('"yes"', "live_conditions", "neither true, nor false, nor a table"),
    ],
)
def test_a_table_of_live_conditions_that_cannot_be_is_a_problem(table: str, field: str, message: str) -> None:
    text = f'conditions.path_exists = "/x"\nlive_conditions = {table}\n' + SLEEP
    (problem,) = load_text(Path("a.toml"), text).problems
    assert (problem.field, problem.line) == (field, 2)
    assert message in str(problem)


@pytest.mark.parametrize(("word", "watched"), [("true", True), ("false", False), ("{}", True)])
def test_live_conditions_may_be_a_truth(word: str, watched: bool) -> None:
    text = f'conditions.path_exists = "/x"\nlive_conditions = {word}\n' + SLEEP
    (card,) = load_text(Path("a.toml"), text).cards
    assert (card.live_conditions is not None) == watched
