"""Drift and ``arjectl heal`` on a real manager: what was changed from outside is told, and mended where it can be."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arje.kernel import cgroup
from arje.kernel.powers import SYS_RESOURCE, Powers
from tests.conftest import Manager, needs_root, sh

Manage = Callable[..., Manager]
SLEEP = "exec sleep infinity"
needs_resource = pytest.mark.skipif(
    not Powers.detect().has(SYS_RESOURCE), reason="raising a limit from outside takes CAP_SYS_RESOURCE"
)
needs_cgroup = pytest.mark.skipif(cgroup.own() is None, reason="no cgroup2 here")


def lost(manager: Manager, label: str = "a") -> dict[str, dict[str, Any]]:
    """What a look at a running service says that it has lost."""
    (service,) = manager.call("List", labels=[label], look=True)["services"]
    return {loss["feature"]: loss for loss in service["isolation"]["degradations"]}


def grants(manager: Manager, label: str = "a") -> dict[str, tuple[str, bool]]:
    return {each["feature"]: (each["granted"], each["ok"]) for each in manager.show(label)["isolation"]["grants"]}


def test_a_service_that_nobody_touches_never_drifts(manage: Manage) -> None:
    soma = """
    namespaces = "all"
    hostname = "h"
    cpu_affinity = [0]
    nice = 5
    ioprio = "best-effort:5"
    oom_score_adj = 300
    no_new_privs = true
    dumpable = false
    seccomp = {deny = ["ptrace"]}
    capabilities = []
    rlimits = {nofile = [64, 128]}
    cgroup = {}
    """
    manager = manage({"a": sh(SLEEP, soma), "root": sh(SLEEP, 'namespaces = ["mount"]\ncapabilities = ["chown"]\n')})
    before = manager.settle("a", "root")["isolation"]
    assert lost(manager) == {loss["feature"]: loss for loss in before["degradations"]}
    assert manager.show("a")["isolation"] == before
    if os.geteuid() == 0:  # an ordinary user's manager has no capability to give
        assert lost(manager, "root") == {}
        assert manager.ctl("heal", "root").stdout.strip() == "There is nothing to mend."


@needs_root
def test_limits_that_were_raised_from_outside_have_drifted_and_are_healed(manage: Manage) -> None:
    soma = "cpu_affinity = [0]\nnice = 5\noom_score_adj = 300\n"
    manager = manage({"a": sh(SLEEP, soma)})
    pid = manager.settle("a")["pid"]
    assert lost(manager) == {}
    os.sched_setaffinity(pid, {0, 1})
    os.setpriority(os.PRIO_PROCESS, pid, 0)
    Path(f"/proc/{pid}/oom_score_adj").write_text("0")
    assert manager.show("a")["isolation"]["degradations"] == [], "nobody has looked yet"
    found = lost(manager)
    assert {name: (loss["cause"], loss["requested"], loss["obtained"]) for name, loss in found.items()} == {
        "cpu_affinity": ("drifted", "0", "0,1"),
        "nice": ("drifted", "5", "0"),
        "oom_score_adj": ("drifted", "300", "0"),
    }
    assert {loss["remedy"] for loss in found.values()} == {"arjectl heal a"}
    assert all(loss["since"] and loss["kind"] for loss in found.values())
    assert lost(manager) == found, "since is when it was first seen"
    assert grants(manager)["nice"] == ("0", False)
    shown = manager.ctl("status", "a").stdout
    assert "changed from outside" in shown
    assert "a: nice is mended: 5" in manager.ctl("heal", "a").stdout
    assert (lost(manager), grants(manager)["nice"]) == ({}, ("5", True))
    assert (os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid)) == ({0}, 5)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "300"


@needs_root
def test_drift_that_somebody_undoes_is_gone_with_the_next_look(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP, "cpu_affinity = [0]")})
    pid = manager.settle("a")["pid"]
    os.sched_setaffinity(pid, {0, 1})
    assert set(lost(manager)) == {"cpu_affinity"}
    os.sched_setaffinity(pid, {0})
    assert lost(manager) == {}
    assert grants(manager)["cpu_affinity"] == ("0", True)


@needs_root
def test_a_service_that_takes_less_than_it_was_granted_has_not_drifted(manage: Manage) -> None:
    script = (
        "ulimit -n 32; renice -n 15 $$ >/dev/null; echo 500 > /proc/self/oom_score_adj; echo up; exec sleep infinity"
    )
    soma = "nice = 5\noom_score_adj = 300\nrlimits = {nofile = [64, 128]}\n"
    manager = manage({"a": sh(script, soma)})
    manager.await_line("a", "up")
    assert lost(manager) == {}


@needs_root
@needs_resource
def test_a_limit_that_was_raised_from_outside_has_drifted_and_is_healed(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP, "rlimits = {nofile = [64, 128]}")})
    pid = manager.settle("a")["pid"]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 4096))
    assert {name: loss["obtained"] for name, loss in lost(manager).items()} == {"rlimit.nofile": "64 4096"}
    assert "rlimit.nofile is mended: 64 128" in manager.ctl("heal").stdout
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (64, 128)


@needs_root
def test_a_changed_limit_is_what_a_look_measures_against(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP, "cpu_affinity = [0]")})
    pid = manager.settle("a")["pid"]
    assert manager.ctl("set", "a", "cpu_affinity=0-1", "nice=7").returncode == 0
    assert lost(manager) == {}
    os.setpriority(os.PRIO_PROCESS, pid, 3)
    assert {name: loss["requested"] for name, loss in lost(manager).items()} == {"nice": "7"}
    manager.ctl("heal")
    assert (os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid)) == ({0, 1}, 7)


@needs_root
@needs_cgroup
def test_a_process_that_was_moved_out_of_its_cgroup_is_told_and_brought_back(manage: Manage) -> None:
    manager = manage({"a": sh("sleep infinity & echo up; wait", "cgroup = {}")})
    pid = manager.settle("a")["pid"]
    manager.await_line("a", "up")
    place = Path(manager.show("a")["cgroup"])
    (other,) = [entry["pid"] for entry in manager.show("a")["processes"] if entry["pid"] != pid]
    outside = cgroup.own()
    assert outside is not None
    (outside / "cgroup.procs").write_text(str(other))
    found = lost(manager)["cgroup"]
    assert found["obtained"] == f"process {other} is in {cgroup.place_of(outside)}"
    assert found["detail"] == "a process of it was moved out of its cgroup"
    assert found["remedy"] == "arjectl heal a"
    assert "cgroup is mended" in manager.ctl("heal", "a").stdout
    assert str(other) in (place / "cgroup.procs").read_text().split()
    assert lost(manager) == {}


@needs_root
@pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
def test_a_service_whose_pasta_has_died_has_lost_its_network(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP, "[soma.network]\npasta = {}\n")})
    service = manager.settle("a")
    if service["state"] != "running" or service["isolation"]["degradations"]:
        pytest.skip(f"pasta does not run here: {service['failure'] or service['isolation']['degradations']}")
    for entry in service["processes"]:
        if entry["command"].startswith("pasta") or "/pasta" in entry["command"].split()[0]:
            os.kill(entry["pid"], signal.SIGKILL)
    found = manager.until("a", lambda service: bool(service["isolation"]["degradations"]))
    (loss,) = found["isolation"]["degradations"]
    assert (loss["feature"], loss["cause"]) == ("network.pasta", "drifted")
    assert loss["detail"] == "the helper that was its network has ended"
    assert loss["remedy"] == "restart would mend: arjectl restart a"
    manager.ctl("heal", "a")
    assert set(lost(manager)) == {"network.pasta"}
    manager.ctl("restart", "a")
    manager.settle("a")
    assert lost(manager) == {}


def restricted(place: Path) -> tuple[str, ...]:
    """A PATH that holds nothing yet."""
    (place / "bin").mkdir(exist_ok=True)
    return ("env", f"PATH={place}/bin")


@pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
def test_a_helper_that_is_found_by_now_is_told_as_what_a_restart_would_mend(manage: Manage, place: Path) -> None:
    card = sh(SLEEP, 'prefer = ["network"]\n[soma.network]\npasta = {fallback = "host"}\n')
    refused = sh(SLEEP, 'require = ["network"]\n[soma.network]\npasta = {}\n')
    env = shutil.which("env")
    assert env is not None
    prefix = (env, *restricted(place)[1:])
    manager = manage({"a": card, "b": refused}, prefix=prefix)
    assert manager.settle("a")["state"] == "running"
    (loss,) = manager.show("a")["isolation"]["degradations"]
    assert (loss["cause"], "restart" in loss["remedy"]) == ("helper-missing", False)
    failed = manager.until("b", lambda found: found["state"] == "failed")
    assert failed["failure"]["reason"] == "isolation-refused"
    assert "1 degradation left" in manager.ctl("heal", "a").stdout
    assert lost(manager)["network.pasta"] == loss
    (place / "bin" / "pasta").symlink_to(str(shutil.which("pasta")))
    healed = manager.ctl("heal").stdout
    if "This machine has network.pasta now." not in healed:
        pytest.skip("pasta cannot work here: /dev/net/tun")
    assert lost(manager)["network.pasta"]["remedy"] == "restart would mend: arjectl restart a"
    assert lost(manager)["network.pasta"]["since"] == loss["since"]
    (of_refused,) = manager.show("b")["isolation"]["degradations"]
    assert of_refused["remedy"] == "start would grant it now: arjectl start b"
    (place / "bin" / "pasta").unlink()
    assert manager.ctl("apply").returncode == 0
    assert lost(manager)["network.pasta"]["remedy"] == loss["remedy"], "an apply looks at the machine again as well"


@needs_root
@needs_resource
def test_what_could_not_be_had_at_first_is_mended_in_place_when_its_cause_has_gone(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP, "nice = -5\nrlimits = {nofile = 3000000}\n")}, user=True)
    pid = manager.settle("a")["pid"]
    before = lost(manager)
    assert set(before) == {"nice", "rlimit.nofile"}
    assert "2 degradations left" in manager.ctl("heal").stdout
    assert {name: loss["since"] for name, loss in lost(manager).items()} == {
        name: loss["since"] for name, loss in before.items()
    }
    for number in (pid, manager.process.pid):
        resource.prlimit(number, resource.RLIMIT_NICE, (40, 40))
    assert "a: nice is mended: -5" in manager.ctl("heal").stdout
    assert os.getpriority(os.PRIO_PROCESS, pid) == -5
    assert set(lost(manager)) == {"rlimit.nofile"}


def test_only_the_managers_own_user_may_heal_and_everybody_may_look() -> None:
    from arje.control.handlers import METHODS

    assert METHODS["Heal"].changes
    assert not METHODS["List"].changes


def test_a_service_that_does_not_run_has_nothing_to_heal(manage: Manage) -> None:
    manager = manage({"down": "enabled = false\n" + sh(SLEEP), "group": 'payload = "virtual"'})
    manager.settle("group")
    assert manager.ctl("heal").stdout.strip() == "There is nothing to mend."
    assert manager.ctl("heal", "nobody").returncode == 5
