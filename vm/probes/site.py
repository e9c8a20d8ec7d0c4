"""What arje as pid 1 has made of the cards in vm/cards: asked over its socket, and looked at in the kernel's own files."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from arje.ctl.client import Client
from vm.guest.checks import check, expect

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
CARDS = ("client", "landlock", "limits", "own-root", "ranges", "server", "site", "spaces")


def call(method: str, **parameters: Any) -> dict[str, Any]:
    """Call a method of the manager."""
    return Client("/run/arje/io.arje", 60).call(method, **parameters)


def show(label: str) -> dict[str, Any]:
    """Return a service, in full."""
    found: dict[str, Any] = call("List", labels=[label], full=True)["services"][0]
    return found


def lost(label: str) -> list[dict[str, Any]]:
    """Return the degradations of a service."""
    found: list[dict[str, Any]] = show(label)["isolation"]["degradations"]
    return found


def said(label: str) -> list[str]:
    """Return what a service has written last."""
    return [line["text"] for line in show(label)["last_lines"]]


def ctl(*words: str) -> str:
    """Run arjectl and return what it printed."""
    done = subprocess.run(["arjectl", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def cgroup(label: str, file: str) -> str:
    """Return what a file of a service's cgroup says."""
    return Path(show(label)["cgroup"], file).read_text().strip()


@check
def all_cards_run_and_arje_is_the_first_process() -> None:
    call("Wait", labels=list(CARDS))
    states = {
        service["label"]: service["state"] for service in call("List", labels=list(CARDS), full=False)["services"]
    }
    expect(states, dict.fromkeys(CARDS, "running"))
    expect(call("GetManager")["manager"]["pid"], 1)


@check
def every_kind_of_namespace_is_another_than_pid_1s() -> None:
    pid = show("spaces")["pid"]
    mine = {kind: os.readlink(f"/proc/1/ns/{kind}") for kind in KINDS}
    theirs = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}
    expect([kind for kind in KINDS if mine[kind] == theirs[kind]], [], "shared")
    expect(set(theirs.values()) - set(said("spaces")), set(), "what it did not see itself")


@check
def limits_are_granted_and_stand_in_the_cgroup() -> None:
    expect(lost("limits"), [])
    wanted = {"memory.max": "33554432", "memory.high": "25165824", "cpu.max": "50000 100000", "pids.max": "16"}
    expect({file: cgroup("limits", file) for file in wanted}, wanted)
    expect(cgroup("limits", "cgroup.procs") != "", True)


@check
def a_fork_bomb_stops_at_pids_max_and_the_others_do_not_feel_it() -> None:
    call("Start", labels=["bomb"])
    group = Path(show("bomb")["cgroup"])
    end = time.monotonic() + 30
    while (group / "pids.current").read_text().strip() != "20" and time.monotonic() < end:
        time.sleep(0.1)
    expect((group / "pids.current").read_text().strip(), "20")
    stopped = int((group / "pids.events").read_text().split()[1])
    expect(stopped > 0, True, "refused forks")
    expect(subprocess.run(["true"], check=False).returncode, 0, "a fork outside")
    call("Stop", labels=["bomb"])
    expect(group.exists(), False, "its cgroup is left")


@check
def a_hog_is_killed_and_named() -> None:
    call("Start", labels=["hog"])
    end = time.monotonic() + 30
    while (service := show("hog"))["state"] != "failed" and time.monotonic() < end:
        time.sleep(0.1)
    expect((service["state"], service["failure"]["reason"]), ("failed", "oom-kill"))
    expect("oom-kill" in ctl("status", "hog"), True, "status names it")
    expect("oom" in ctl("why", "hog"), True, "why names it")


@check
def landlock_of_abi_2_is_degraded_and_names_the_lost_rights() -> None:
    (only,) = lost("landlock")
    expect((only["feature"], only["partial"]), ("landlock", True))
    for right in ("truncate", "ioctl_dev", "tcp_connect"):
        expect(right in only["obtained"] + only["detail"], True, right)
    expect("no writing" in said("landlock"), True, "what it still forbids")


@check
def an_overlay_over_the_initramfs_is_a_root_by_pivot_root() -> None:
    expect(lost("own-root"), [])
    expect(Path("/run/arje/own-root/upper/written").read_text(), "kept\n")
    expect(Path("/written").exists(), False, "written outside")
    expect(any("/init" in line and "No such file" in line for line in said("own-root")), True, str(said("own-root")))


@check
def two_services_reach_each_other_over_veth() -> None:
    expect("hello from server" in said("client"), True, str(said("client")))
    expect((lost("server"), lost("client")), ([], []))


@check
def a_range_of_ids_is_mapped_into_a_user_namespace() -> None:
    pid = show("ranges")["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    expect(re.search(r"^Uid:\t(\d+)", status, re.MULTILINE)[1], "100033")  # type: ignore[index]
    expect([line.split() for line in said("ranges")][:2], [["33"], ["0", "100000", "65536"]])


#: Leaves a thousand children that end at once, and ends before them.
_LEAVES_ORPHANS = """
import os
reader, writer = os.pipe()
for _ in range(1000):
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
"""


@check
def a_thousand_orphans_that_end_at_once_are_reaped() -> None:
    before = call("GetManager")["manager"]["orphans_reaped"]
    subprocess.run(["/usr/bin/python3", "-ISc", _LEAVES_ORPHANS], check=True)
    end = time.monotonic() + 60
    while (reaped := call("GetManager")["manager"]["orphans_reaped"] - before) < 1000 and time.monotonic() < end:
        time.sleep(0.2)
    expect(reaped >= 1000, True, f"{reaped} orphans reaped")
    expect([pid.name for pid in Path("/proc").iterdir() if pid.name.isdigit() and _state(pid) == "Z"], [], "zombies")


def _state(pid: Path) -> str:
    try:
        return (pid / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@check
def a_disk_limit_is_granted_and_slows() -> None:
    expect(lost("slow-disk"), [])
    call("Wait", labels=["slow-disk"])
    seconds = float(said("slow-disk")[-1])
    expect(seconds > 1.5, True, f"2 MB at 1 MB/s took {seconds} s")


@check
def arjectl_shows_it_all_as_people_see_it() -> None:
    table = ctl("status")
    expect(re.search(r"^arje \S+  pid 1  running", table, re.MULTILINE) is not None, True, table)
    expect(re.search(r"limits +running .* 13/13 ", table) is not None, True, table)
    expect("landlock  asked:" in table, True, table)
    one = ctl("status", "limits")
    expect("limit 16" in one, True, one)
