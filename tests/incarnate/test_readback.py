"""What status reports against what another reader of /proc sees, on a payload that waits to be looked at."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Bind, Namespaces, Overlay, PivotRoot, RunAs, Soma, TimeOffsets, Tmpfs
from arje.errors import IncarnationRefused
from arje.incarnate import plan
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnate.verify import READERS
from arje.incarnation import Cause, Grant
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from tests.conftest import ROOT, needs_root
from tests.incarnate.conftest import Ran, card_of

ALL = dict.fromkeys(("mount", "pid", "net", "uts", "ipc", "cgroup", "time"), True)


@contextmanager
def waiting(incarnator: Incarnator, **soma: Any) -> Iterator[Outcome]:
    """A payload that has done what a program does to begin, and waits to be ended by the end of its input."""
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    try:
        outcome = incarnator.incarnate(card_of("/bin/cat", **soma), StdioFds(in_r, out_w, out_w))
    finally:
        os.close(in_r)
        os.close(out_w)
    try:
        os.write(in_w, b"up")
        assert os.read(out_r, 10) == b"up"
        yield outcome
    finally:
        os.close(in_w)
        os.close(out_r)
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()


def grants(outcome: Outcome) -> dict[str, Grant]:
    assert outcome.incarnation.degradations == ()
    return {grant.feature: grant for grant in outcome.incarnation.grants}


def status_of(pid: int) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


@needs_root
def test_every_namespace_is_the_one_that_proc_shows(incarnator: Incarnator) -> None:
    with waiting(incarnator, namespaces=Namespaces(**ALL)) as outcome:
        reported, pid = grants(outcome), outcome.incarnation.pid
        for kind in ALL:
            link = os.readlink(f"/proc/{pid}/ns/{'mnt' if kind == 'mount' else kind}")
            assert reported["cgroup-ns" if kind == "cgroup" else kind].granted == link
            assert link != os.readlink(f"/proc/self/ns/{'mnt' if kind == 'mount' else kind}")


@needs_root
def test_maps_ids_and_groups_are_those_that_proc_shows(incarnator: Incarnator) -> None:
    with waiting(incarnator, namespaces=Namespaces(user=True), run_as=RunAs(user=1234, group=1235)) as outcome:
        pid = outcome.incarnation.pid
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "1234", "1"]
        assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "1235", "1"]
        assert grants(outcome)["id-map"].granted == "0→1234+1"
        assert grants(outcome)["run_as"].granted == "uid 0 gid 0"  # as the payload sees it
    with waiting(incarnator, run_as=RunAs(user=1234, group=1235, groups=(7, 8))) as outcome:
        shown = status_of(outcome.incarnation.pid)
        assert [shown[name].split() for name in ("Uid", "Gid", "Groups")] == [["1234"] * 4, ["1235"] * 4, ["7", "8"]]
        assert grants(outcome)["run_as"].granted == "uid 1234 gid 1235"


def test_limits_cpus_umask_and_directory_are_those_that_proc_shows(incarnator: Incarnator) -> None:
    limits = (("nofile", 100, 200), ("core", 0, 0), ("memlock", 4096, 8192))
    with waiting(incarnator, rlimits=limits, umask=0o027, chdir="/usr/lib", cpu_affinity=(0,)) as outcome:
        pid, reported = outcome.incarnation.pid, grants(outcome)
        shown = {
            line[:26].strip(): line[26:].split()[:2] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        }
        assert reported["rlimit.nofile"].granted.split() == shown["Max open files"] == ["100", "200"]
        assert reported["rlimit.core"].granted.split() == shown["Max core file size"] == ["0", "0"]
        assert reported["rlimit.memlock"].granted.split() == shown["Max locked memory"] == ["4096", "8192"]
        assert reported["umask"].granted == status_of(pid)["Umask"] == "0027"
        assert reported["chdir"].granted == os.readlink(f"/proc/{pid}/cwd") == "/usr/lib"
        assert reported["cpu_affinity"].granted == status_of(pid)["Cpus_allowed_list"] == "0"


def test_signals_and_descriptors_are_clean_in_every_incarnation(incarnator: Incarnator) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the manager's own dispositions are nobody else's business
    try:
        for soma in ({}, {"namespaces": Namespaces(**ALL)}, {"namespaces": Namespaces(pid=True, user=True)}):
            with waiting(incarnator, **soma) as outcome:
                pid = outcome.incarnation.pid
                shown = status_of(pid)
                assert {shown[name] for name in ("SigBlk", "SigIgn", "SigCgt")} == {"0" * 16}
                assert {link.name for link in Path(f"/proc/{pid}/fd").iterdir()} == {"0", "1", "2"}
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)


@needs_root
def test_names_clocks_and_mounts_are_those_that_an_own_look_inside_shows(incarnator: Incarnator, place: Path) -> None:
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    merged = str(place / "merged")
    overlay = Overlay(lower=("/",), upper=str(place / "upper"), work=str(place / "work"), merged=merged)
    soma = {
        "namespaces": Namespaces(**ALL),
        "hostname": "inside",
        "time_offsets": TimeOffsets(monotonic=3600, boottime=7200),
        "overlay": overlay,
        "pivot_root": PivotRoot(new_root=merged),
    }
    with waiting(incarnator, **soma) as outcome:
        pid, reported = outcome.incarnation.pid, grants(outcome)
        look = ["nsenter", f"--target={pid}", "--uts", "--net", "sh", "-c", "uname -n; ip -o link show lo 2>/dev/null"]
        seen = subprocess.run(look, capture_output=True, text=True, check=True).stdout
        assert seen.split()[0] == reported["hostname"].granted == "inside"
        mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
        assert [(fields[1], fields[2]) for fields in mounts if fields[1] in ("/", "/proc")] == [
            ("/", "overlay"),
            ("/proc", "proc"),
        ]
        assert reported["overlay"].granted == "overlay on /"
        assert reported["pivot_root"].granted == "overlay /"
        assert reported["proc"].granted.startswith("proc 0:")
        offsets = Path(f"/proc/{pid}/timens_offsets").read_text().split()
        assert offsets == ["monotonic", "3600", "0", "boottime", "7200", "0"]
        assert reported["time_offsets"].granted == "monotonic 3600 boottime 7200"
        # 127.0.0.1 is in the trie of local addresses only when lo is up
        assert "127.0.0.1" in Path(f"/proc/{pid}/net/fib_trie").read_text()


def test_what_a_payload_changes_at_once_does_not_make_a_liar_of_the_report(run: Callable[..., Ran]) -> None:
    script = "umask 0; ulimit -n 10; cd /usr; echo gone"
    ran = run("/bin/sh", "-c", script, umask=0o077, rlimits=(("nofile", 100, 100),), chdir="/etc")
    reported = {grant.feature: grant.granted for grant in ran.incarnation.grants}
    assert (reported["umask"], reported["rlimit.nofile"], reported["chdir"]) == ("0077", "100 100", "/etc")


@needs_root
def test_even_the_shortest_life_is_read_back(run: Callable[..., Ran]) -> None:
    for _ in range(100):
        ran = run("/bin/true", namespaces=Namespaces(mount=True, pid=True, uts=True), hostname="short")
        assert all(grant.ok and grant.granted for grant in ran.incarnation.grants)
        assert not any("read back" in grant.granted for grant in ran.incarnation.grants)


LIE = """
import os, sys
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.errors import IncarnationRefused
from arje.kernel.capabilities import CapabilitySet
from tests.incarnate.conftest import card_of

incarnator = Incarnator(CapabilitySet.detect(None), None)
null = os.open("/dev/null", os.O_RDWR)
try:
    card = card_of("/usr/bin/touch", sys.argv[1], umask=0o077, strict_caps=sys.argv[2] == "strict", prefer=("umask",))
    outcome = incarnator.incarnate(card, StdioFds(null, null, null))
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    lost = outcome.incarnation.degradations
except IncarnationRefused as error:
    lost = error.degradations
    print("refused")
for loss in lost:
    print(loss.feature, loss.requested, loss.obtained, loss.cause)
"""


@pytest.mark.parametrize(("how", "words", "ran"), [("strict", ["refused"], False), ("lenient", [], True)])
def test_a_yes_of_the_kernel_that_was_a_no_is_found_out_before_anything_runs(
    tmp_path: Path, how: str, words: list[str], ran: bool
) -> None:
    """strace answers umask(2) with success and keeps it from happening."""
    canary = tmp_path / "canary"
    strace = ["strace", "-f", "-qq", "-e", "trace=umask", "-e", "inject=umask:retval=0", "-o", str(tmp_path / "trace")]
    command = [*strace, sys.executable, "-c", LIE, str(canary), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    own = os.umask(0)
    os.umask(own)
    assert done.stdout.split() == [*words, "umask", "0077", f"{own:04o}", Cause.DRIFTED], done.stderr
    assert canary.exists() is ran


def test_a_strict_card_with_everything_granted_runs(run: Callable[..., Ran]) -> None:
    ran = run("/bin/echo", "through", umask=0o077, strict_caps=True, no_new_privs=True)
    assert ran.output == "through\n"
    with pytest.raises(IncarnationRefused):
        run("/bin/echo", "never", cpu_affinity=(0, 1023), strict_caps=True)


def calls_of(function: Callable[[], Any]) -> int:
    """How many functions are called meanwhile: time, but the same on every machine."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@needs_root
def test_planning_and_reading_back_take_a_time_that_grows_as_the_card_does(incarnator: Incarnator, place: Path) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    costs = []
    for size in (100, 400):
        binds = []
        for number in range(size):
            for end in ("from", "to"):
                (place / f"{end}{number}").mkdir(exist_ok=True)
            how: dict[str, Any] = {"source": f"{place}/from{number}", "target": f"{place}/to{number}"}
            binds.append(Bind(**how, read_only=number % 2 == 0))
        card = card_of("/bin/true", namespaces=Namespaces(mount=True), binds=tuple(binds), require=("binds",))

        def start(card: Card = card) -> None:
            outcome = incarnator.incarnate(card, StdioFds(null, null, null))
            os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
            assert len(grants(outcome)) > size  # noqa: B023 - called at once
            outcome.close()

        costs.append(calls_of(start))
    os.close(null)
    assert costs[1] < 4.5 * costs[0], costs


def test_a_read_only_bind_on_a_file_system_of_the_cards_own_is_looked_at_too() -> None:
    """Not the real thing: the kernel would have to make it writable behind our back."""
    soma = Soma(
        namespaces=Namespaces(mount=True),
        tmpfs=(Tmpfs(target="/srv"), Tmpfs(target="/srv/data/own")),
        binds=(Bind(source="/usr", target="/srv/data", read_only=True),),
    )
    card = Card(label="test", payload=Native(exec="/bin/true"), soma=soma)
    blueprint = plan.make(replace(card, soma=replace(soma, tmpfs=soma.tmpfs[:1])), CapabilitySet.detect(None))
    blueprint = replace(blueprint, soma=soma)
    usr = Facts.of_now().place_of("/usr")
    line = "{} {} {} {} {} {},relatime - ext4 /dev/x rw\n"
    own = line.format(9, 8, "0:99", "/", "/srv/data/own", "rw")
    for how in ("ro", "rw"):
        text = line.format(8, 1, *usr, "/srv/data", how) + own
        facts = Facts({"mountinfo": text})
        wish = next(wish for wish in blueprint.wishes if wish.feature == "binds./srv/data")
        answer = READERS["binds"](facts, facts, blueprint, wish)
        assert answer.ok is (how == "ro"), answer
