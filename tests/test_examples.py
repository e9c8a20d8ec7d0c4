"""The cards that ship as examples, each one seen doing what the comment at its top says."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOBODY, ROOT, Manager
from tests.ports import free_port

Manage = Callable[..., Manager]
#: The ports of web, redis and echo, and those that they have here: other runs of the tests have theirs.
PORTS = {8017: free_port(), 8018: free_port(), 8019: free_port()}
CARDS = {
    path.stem: re.sub(r"\b80\d\d\b", lambda found: str(PORTS[int(found[0])]), path.read_text())
    for path in sorted((ROOT / "cards.d").glob("*.toml"))
}
REDIS = Path("/usr/bin/redis-server")


@pytest.fixture(autouse=True)
def removable(place: Path) -> Iterator[None]:
    """overlayfs leaves a directory that its owner may not enter: whoever is not root must open it to remove it."""
    yield
    for directory in place.glob("*/run/sandbox/work/work"):
        directory.chmod(0o700)


def space(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def fields(pid: int, file: str, separator: str | None = ":") -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return {key: rest.split() for key, _, rest in (line.partition(separator or " ") for line in lines)}


def inside(pid: int, *command: str) -> str:
    """What a command sees in the hostname namespace of a process."""
    return subprocess.run(["nsenter", "-t", str(pid), "--uts", *command], capture_output=True, text=True).stdout.strip()


def cannot(manager: Manager, *features: str) -> set[str]:
    """Those of the features that the doctor says this machine has not."""
    told = {found["feature"]: found for found in manager.call("Doctor")["features"]}
    return {feature for feature in features if not told[feature]["available"]}


def lost(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {loss["feature"]: loss for loss in service["isolation"]["degradations"]}


def test_every_example_is_a_card_without_a_problem() -> None:
    command = [sys.executable, "-m", "arje", "check", "cards.d"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(CARDS) >= 8


@pytest.mark.parametrize("user", [False, True], ids=["as we are", "as an ordinary user"])
def test_the_whole_set_settles_and_every_loss_has_its_cause_and_its_remedy(manage: Manage, user: bool) -> None:
    manager = manage(CARDS, user=user)
    for label in CARDS:
        manager.settle(label)
    services = {service["label"]: service for service in manager.call("List", labels=[], full=True)["services"]}
    up = {label for label, service in services.items() if service["up"]}
    assert up >= {"hello", "limits", "sandbox", "site"}
    assert services["worker"]["restarts"] or services["worker"]["state"] == "backoff"
    status = manager.ctl("status").stdout
    for service in services.values():
        for feature, loss in lost(service).items():
            assert loss["cause"], feature
            assert loss["remedy"], feature
            assert f"! {feature}" in status
            assert f"remedy: {loss['remedy']}" in status
        asked = service["isolation"]["requested"]
        refused = service["failure"] and service["failure"]["reason"] == "isolation-refused"
        if not refused:
            assert asked - service["isolation"]["granted"] == len(lost(service)), service["label"]


def test_the_web_server_answers_and_is_nobody_in_namespaces_of_its_own(manage: Manage) -> None:
    manager = manage({"web": CARDS["web"]})
    web = manager.settle("web")
    assert web["cause"]["detail"] == f"127.0.0.1:{PORTS[8017]} answers"
    with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[8017]}/", timeout=20) as answer:
        assert "GPL-3" in answer.read().decode()
    web = manager.show("web")
    pid = web["pid"]
    own = {kind for kind in ("mnt", "pid", "uts", "ipc", "cgroup", "net") if space(pid, kind) != space("self", kind)}
    assert own == {"mnt", "pid", "uts", "ipc", "cgroup"}
    status = fields(pid, "status")
    if "run_as" not in lost(web):
        assert (status["Uid"], status["Gid"]) == ([str(NOBODY)] * 4, [str(NOBODY)] * 4)
    assert status["NoNewPrivs"] == ["1"]
    assert status["NSpid"][1:] == ["2"], "1 is arje's reaper"
    assert "Max open files            256                  256" in Path(f"/proc/{pid}/limits").read_text()
    if os.geteuid() == 0:
        assert inside(pid, "uname", "-n") == "web"
    grants = {grant["feature"]: grant["granted"] for grant in web["isolation"]["grants"]}
    for feature, kind in {"mount": "mnt", "pid": "pid", "uts": "uts", "ipc": "ipc", "cgroup-ns": "cgroup"}.items():
        assert space(pid, kind).partition(":[")[2].rstrip("]") in grants[feature], "what status says is what /proc says"


def test_a_taken_port_is_named_in_the_log_of_the_web_server(manage: Manage) -> None:
    with socket.create_server(("127.0.0.1", PORTS[8017])):
        manager = manage({"web": CARDS["web"]})
        manager.await_line("web", "Address already in use")
        failed = manager.until("web", lambda web: web["state"] == "backoff")
        assert failed["last_exit"] == "exited 1"


def test_redis_answers_in_namespaces_of_its_own(manage: Manage) -> None:
    if not REDIS.exists():
        pytest.skip("redis-server is not installed: apt install redis-server")
    manager = manage({"redis": CARDS["redis"]})
    pid = manager.settle("redis")["pid"]
    manager.await_line("redis", "Ready to accept connections")
    with socket.create_connection(("127.0.0.1", PORTS[8018]), 20) as redis:
        redis.sendall(b"PING\r\n")
        assert redis.recv(100) == b"+PONG\r\n"
    assert space(pid, "ipc") != space("self", "ipc")
    assert fields(pid, "status")["Umask"] == ["0077"]


def test_redis_is_skipped_where_it_is_not_installed_and_says_so(manage: Manage) -> None:
    manager = manage({"redis": CARDS["redis"].replace(f'"{REDIS}"', '"/no/such/redis-server"')})
    assert manager.settle("redis")["state"] == "stopped"
    assert "skipped: only_if_exists = /no/such/redis-server: there is no such path" in manager.ctl("status").stdout


def test_the_worker_crashes_and_waits_longer_each_time(manage: Manage) -> None:
    manager = manage({"worker": CARDS["worker"]})
    worker = manager.until("worker", lambda worker: worker["restarts"] >= 3 and worker["state"] == "backoff")
    assert worker["last_exit"] == "exited 3"
    assert manager.lines("worker")[:4] == ["about to crash"] * 4
    times = [(step["state"], step["wall"]) for step in worker["history"]]
    waits = [then[1] - now[1] for now, then in itertools.pairwise(times) if now[0] == "backoff"]
    assert waits[0] >= 0.15
    assert waits[1] > 1.5 * waits[0]
    assert waits[2] > 1.5 * waits[1]
    assert "exited 3" in manager.ctl("why", "worker").stdout


def test_hello_runs_once_under_its_own_name(manage: Manage) -> None:
    manager = manage({"hello": CARDS["hello"]})
    assert manager.settle("hello")["state"] == "done"
    assert manager.lines("hello") == ["hello from greeter, pid 2 of my own namespace"]
    assert manager.show("hello")["restarts"] == 0


def test_tidy_waits_for_the_night_and_runs_when_it_is_asked_to(manage: Manage) -> None:
    manager = manage({"tidy": CARDS["tidy"]})
    armed = manager.settle("tidy")
    assert (armed["state"], armed["timer"]["armed"], armed["timer"]["runs"]) == ("stopped", True, 0)
    assert "*-*-* 03:10:00" in manager.ctl("timers").stdout
    assert manager.ctl("trigger", "tidy").returncode == 0
    assert manager.settle("tidy")["state"] == "done"
    assert manager.lines("tidy") == ["tidied 0 files"]


def test_echo_runs_for_who_connects_and_for_nobody_else(manage: Manage) -> None:
    manager = manage({"echo": CARDS["echo"]})
    waiting = manager.settle("echo")
    assert (waiting["up"], waiting["pid"], waiting["connections"]) == (True, None, [])
    with (
        socket.create_connection(("127.0.0.1", PORTS[8019]), 20) as one,
        socket.create_connection(("127.0.0.1", PORTS[8019]), 20) as two,
    ):
        for client in (two, one):
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
        assert len(manager.show("echo")["connections"]) == 2
    manager.until("echo", lambda echo: not echo["connections"])


def test_limits_runs_with_those_that_the_machine_gives(manage: Manage) -> None:
    manager = manage({"limits": CARDS["limits"]})
    limits = manager.settle("limits")
    assert limits["state"] == "running"
    asked = {"cgroup.memory_max": "67108864", "cgroup.pids_max": "32", "cgroup.cpu_weight": "50"}
    assert set(lost(limits)) & set(asked) == cannot(manager, *asked)
    told = {found["feature"]: found for found in manager.call("Doctor")["features"]}
    for feature, loss in lost(limits).items():
        assert (loss["cause"], loss["remedy"]) == (told[feature]["cause"], told[feature]["remedy"])
        assert loss["remedy"]
    for feature in set(asked) - set(lost(limits)):
        assert Path(limits["cgroup"], feature.partition(".")[2].replace("_", ".")).read_text().strip() == asked[feature]
    text = Path(f"/proc/{limits['pid']}/limits").read_text()
    assert "Max open files            64                   64" in text
    assert "Max processes             100                  100" in text


def test_the_vault_runs_whole_or_not_one_instruction_of_it(manage: Manage, place: Path) -> None:
    canary = place / "canary"
    text = CARDS["vault"].replace('"exec /bin/sleep infinity"', f'": > {canary}; exec /bin/sleep infinity"')
    assert text != CARDS["vault"]
    manager = manage({"limits": CARDS["limits"], "vault": text})
    vault = manager.settle("vault")
    missing = cannot(manager, "cgroup.memory_max", "cgroup.memory_swap_max")
    if not missing:
        manager.until("vault", lambda vault: canary.exists())
        assert (vault["state"], lost(vault)) == ("running", {})
        return
    assert vault["state"] == "failed"
    assert vault["failure"]["reason"] == "isolation-refused"
    assert missing <= set(lost(vault))
    assert all(loss["required"] and loss["remedy"] for loss in lost(vault).values())
    assert vault["pid"] is None
    assert not canary.exists()
    assert "vault: refused, nothing of it ran" in manager.ctl("status").stdout


@pytest.mark.parametrize("user", [False, True], ids=["as we are", "as an ordinary user"])
def test_the_sandbox_sees_a_root_of_its_own_and_writes_into_the_managers_directory(manage: Manage, user: bool) -> None:
    manager = manage({"sandbox": CARDS["sandbox"]}, user=user)
    sandbox = manager.settle("sandbox")
    assert sandbox["state"] == "running", manager.said()
    manager.await_line("sandbox", "my root holds:")
    said = manager.lines("sandbox")[0].split()
    assert {"/bin", "/lib", "/note", "/proc"} <= set(said)
    assert not {"/home", "/root", "/usr", "/var", "/sys"} & set(said), "those of the machine"
    assert (manager.runtime / "sandbox/upper/note").read_text() == "written inside\n"
    assert not Path("/note").exists()
    assert not Path("/usr/note").exists()
    if os.geteuid() == 0:
        root = Path(f"/proc/{sandbox['pid']}/root")
        assert {f"/{path.name}" for path in root.iterdir()} == set(said[3:])
        assert inside(sandbox["pid"], "uname", "-n") == "sandbox"
    assert space(sandbox["pid"], "user") != space("self", "user")
    assert str(manager.directory) not in Path("/proc/self/mounts").read_text()


def test_the_site_is_up_when_the_web_server_and_hello_are(manage: Manage) -> None:
    manager = manage({label: CARDS[label] for label in ("site", "web", "hello")})
    site = manager.settle("site")
    assert (site["state"], site["pid"], site["payload"]) == ("running", None, "virtual")
    assert manager.show("web")["state"] == "running"
    assert manager.show("hello")["state"] == "done"


def test_the_site_is_not_up_without_hello(manage: Manage) -> None:
    hello = CARDS["hello"].replace('"echo', '"exit 1; echo')
    manager = manage({"site": CARDS["site"], "web": CARDS["web"], "hello": hello})
    assert manager.settle("hello")["state"] == "failed"
    site = manager.settle("site")
    assert not site["up"]
    assert "hello" in manager.ctl("why", "site").stdout


@pytest.mark.parametrize("user", [False, True], ids=["as we are", "as an ordinary user"])
def test_the_fortress_sees_what_it_was_given_and_may_do_next_to_nothing(manage: Manage, user: bool) -> None:
    manager = manage({"fortress": CARDS["fortress"]}, user=user)
    fortress = manager.settle("fortress")
    assert fortress["state"] == "running", manager.said()
    manager.await_line("fortress", "write to /tmp alone")
    assert manager.lines("fortress")[0] == "I see: /bin /dev /lib /lib64 /proc /tmp /usr"
    if user and os.geteuid() == 0:
        return  # what another user's process has is not ours to read without its capabilities; it told us itself
    status = fields(fortress["pid"], "status")
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert {status[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    devices = {
        line.split()[0].rstrip(":")
        for line in Path(f"/proc/{fortress['pid']}/net/dev").read_text().splitlines()
        if ":" in line
    }
    assert devices == {"lo"}
