"""What services use: now, and in the life that has ended; from the cgroup where it counts, else told as a sum."""

from __future__ import annotations

from collections.abc import Callable

from arje.kernel.cgroup import own
from tests.conftest import HAS_CGROUP, Manager, sh

Manage = Callable[..., Manager]
BURN = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"


def test_a_running_service_tells_what_it_uses_and_from_where(manage: Manage) -> None:
    manager = manage({"a": sh(f"sleep infinity & {BURN}; echo burnt; wait")})
    manager.await_line("a", "burnt")
    usage = manager.show("a")["usage"]
    assert usage["tasks"] == 2
    assert usage["memory"] > 2**17
    assert usage["cpu_user"] > 0.05
    assert usage["sources"]["cpu_user"] == ("cgroup" if HAS_CGROUP else "proc")
    place = own() if HAS_CGROUP else None
    controllers = (place / "cgroup.controllers").read_text().split() if place else []
    assert usage["sources"]["memory"] == ("cgroup" if "memory" in controllers else "proc")
    status = manager.ctl("status", "a").stdout
    assert "Usage: tasks 2  mem" in status
    if "memory" not in controllers:
        assert "summed over processes)" in status


def test_what_the_last_life_had_used_is_kept_when_it_has_ended(manage: Manage) -> None:
    for user in (False, True):
        manager = manage({"a": sh(f"({BURN}); exit 0")}, user=user)
        manager.until("a", lambda a: a["state"] == "done")
        service = manager.show("a")
        assert service["usage"] is None
        assert service["last_usage"]["cpu_user"] > 0.05
        assert service["last_usage"]["memory_peak"] > 2**19
        assert service["last_usage"]["tasks"] is None
        assert "Last life: mem peak" in manager.ctl("status", "a").stdout


def test_a_pid_namespace_s_reaper_tells_of_the_payload(manage: Manage) -> None:
    manager = manage({"a": sh(f"{BURN}; exit 0", 'namespaces = ["pid", "mount"]')})
    manager.until("a", lambda a: a["state"] in ("done", "failed"))
    assert manager.show("a")["last_usage"]["cpu_user"] > 0.05


def test_ps_shows_the_processes_of_services_as_trees(manage: Manage) -> None:
    manager = manage({"a": sh("sh -c 'sleep 1234 & wait' & wait"), "b": "enabled = false\n" + sh("true")})
    manager.until("a", lambda a: any(process["command"] == "sleep 1234" for process in a["processes"]))
    (service,) = [found for found in manager.json("ps") if found["label"] == "a"]
    by_command = {process["command"]: process for process in service["processes"]}
    sleep = by_command["sleep 1234"]
    assert sleep["state"] == "S"
    assert sleep["threads"] == 1
    assert sleep["memory"] > 0
    assert service["usage"]["tasks"] == len(service["processes"]) == 3
    lines = manager.ctl("ps").stdout.splitlines()
    assert lines[0].split() == ["PID", "USER", "S", "THR", "MEM", "CPU", "COMMAND"]
    assert lines[1].startswith("a: running  tasks 3  mem")
    assert lines[-1].endswith("      sleep 1234")
    assert not any(line.startswith("b:") for line in lines)
    assert "b: stopped" in manager.ctl("ps", "b").stdout
    assert manager.ctl("ps", "nobody").returncode == 4


def test_a_network_namespace_of_its_own_is_counted(manage: Manage) -> None:
    manager = manage({"own": sh("exec sleep 1000", 'namespaces = ["net", "user"]'), "host": sh("exec sleep 1000")})
    manager.settle("own", "host")
    own_net = manager.show("own")["namespaces"]["net"] != manager.show("host")["namespaces"]["net"]
    assert manager.show("own")["usage"]["net_sent"] == (0 if own_net else None)
    assert manager.show("host")["usage"]["net_sent"] is None
