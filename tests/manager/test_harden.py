"""``arjectl harden`` on a real manager: what a service did becomes its card, is tried, and taken back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arje.ctl.client import CallError, Client
from arje.kernel.landlock import abi
from tests.conftest import ROOT, Manager, needs_root, open_links, sh
from tests.ports import free_port

Manage = Callable[..., Manager]
SERVER = """
import http.server, socketserver
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            text = open(self.path).read()
        except OSError as error:
            text = f"refused {error.errno}"
        self.send_response(200); self.end_headers(); self.wfile.write(text.encode())
    def log_message(self, *words): pass
socketserver.TCPServer.allow_reuse_address = True
with socketserver.TCPServer(("127.0.0.1", PORT), Page) as server:
    print("up", flush=True)
    server.serve_forever()
"""


def get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 20) as one:
        one.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        found = b""
        while data := one.recv(4096):
            found += data
    return found.partition(b"\r\n\r\n")[2].decode()


def server(place: Path, port: int) -> str:
    (place / "server.py").write_text(SERVER.replace("PORT", str(port)))
    return f'[payload]\nexec = "/usr/bin/python3"\nargv = ["-IS", "{place}/server.py"]\n'


def watched(manager: Manager, label: str) -> None:
    assert manager.call("Observe", label=label)["result"]["result"] == "done"


def harden(manager: Manager, label: str, **more: Any) -> dict[str, Any]:
    return manager.call("Harden", label=label, **more)


@needs_root
def test_what_a_server_did_is_allowed_in_its_card_and_nothing_else(manage: Manage, place: Path) -> None:
    port = free_port()
    (place / "page").write_text("hello")
    (place / "secret").write_text("secret")
    manager = manage({"web": server(place, port)})
    manager.settle("web")
    watched(manager, "web")
    manager.await_line("web", "up")
    manager.until("web", lambda _: _answers(port))
    assert get(port, f"{place}/page") == "hello"
    found = harden(manager, "web", attempt=True, stay_ms=500, write=True)
    assert (found["broke"], found["tried"], found["kept"]) == ([], True, True), found
    assert {"accept4", "socket", "openat"} <= set(found["seen"]["calls"])
    card = tomllib.loads((manager.cards / "web.toml").read_text())
    soma = card["soma"]
    assert (soma["no_new_privs"], soma["capabilities"]) == (True, [])
    assert f"-{place}/page" in soma["landlock"]["read"]
    assert "/usr/bin/python3.11" in soma["landlock"]["execute"]
    assert soma["landlock"]["write"] == []
    if abi() >= 4:
        assert (soma["landlock"]["tcp_bind"], soma["landlock"]["tcp_connect"]) == ([port], [])
    assert "@default" in soma["seccomp"]["allow"]
    assert "+no_new_privs = true" in found["diff"]
    manager.until("web", lambda _: _answers(port))
    assert get(port, f"{place}/page") == "hello"
    assert get(port, f"{place}/secret") == "refused 13"
    assert not manager.show("web")["isolation"]["degradations"]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@needs_root
def test_a_watch_that_was_too_short_is_named_and_the_old_card_runs_again(manage: Manage, place: Path) -> None:
    more = f"if test -e {place}/more; then umask 0; mkdir -p {place}/made || exit 3; fi"
    manager = manage({"web": sh(f"cat /etc/hostname; {more}; exec sleep 1000")})
    before = manager.settle("web")["isolation"]
    text = (manager.cards / "web.toml").read_text()
    watched(manager, "web")
    manager.until("web", lambda shown: runs(shown, "sleep"))
    (place / "more").touch()
    found = harden(manager, "web", attempt=True, stay_ms=3000, write=True)
    assert not found["kept"]
    assert "seccomp: umask" in found["broke"], found
    assert "landlock.execute: /usr/bin/mkdir" in found["broke"], found
    assert "exit-code" in found["detail"]
    shown = manager.settle("web")
    assert shown["state"] == "running"
    assert {grant["feature"] for grant in shown["isolation"]["grants"]} == {g["feature"] for g in before["grants"]}
    assert (manager.cards / "web.toml").read_text() == text


@needs_root
def test_a_proposal_alone_changes_nothing(manage: Manage) -> None:
    manager = manage({"once": sh("cat /etc/hostname", rest='supervision.kind = "one-shot"')})
    manager.settle("once")
    text = (manager.cards / "once.toml").read_text()
    done = manager.ctl("harden", "once")
    assert done.returncode == 0, done
    assert "/etc/hostname" in done.stdout
    assert "+++ " in done.stdout
    assert "arjectl harden once --try" in done.stdout
    assert (manager.cards / "once.toml").read_text() == text


def test_what_cannot_be_hardened_is_refused(manage: Manage) -> None:
    manager = manage({"web": sh("exec sleep 1000"), "group": 'payload = "virtual"'})
    manager.settle("web", "group")
    done = manager.ctl("harden", "group")
    assert (done.returncode, "a virtual card has no process" in done.stderr) == (2, True), done
    assert manager.ctl("harden", "nobody").returncode == 5


# -- the end of a watch ------------------------------------------------------------------------------------------------


def test_who_waits_for_the_end_of_a_service_is_told_of_it_or_that_time_is_over(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    manager = manage({"once": sh(f"read word < {place}/go; exit 3"), "long": sh("exec sleep 1000")})
    manager.settle("once", "long")
    assert manager.call("AwaitEnd", label="long", for_ms=1)["result"]["state"] == "running"
    other = Client(manager.socket, 30)
    waits = threading.Thread(target=lambda: told.append(other.call("AwaitEnd", label="once")))
    told: list[dict[str, Any]] = []
    waits.start()
    (place / "go").write_text("go\n")
    waits.join()
    other.close()
    assert told[0]["result"]["state"] == "failed"
    assert "exit" in told[0]["result"]["detail"]
    with pytest.raises(CallError, match="NoSuchService"):
        manager.call("AwaitEnd", label="nobody")


def test_who_hangs_up_waits_no_more_and_who_asks_on_is_answered_in_turn(manage: Manage) -> None:
    manager = manage({"long": sh("exec sleep 1000")})
    manager.settle("long")
    before = sockets_of(manager)
    for _ in range(100):  # more than one uid may have connections
        waiting = Client(manager.socket, 30)
        waiting._send({"method": "io.arje.Manager.AwaitEnd", "parameters": {"label": "long"}})
        waiting.close()
    end = time.monotonic() + 30
    while sockets_of(manager) > before:
        assert time.monotonic() < end
        manager.call("Ping")
    asking = Client(manager.socket, 30)
    asking._send({"method": "io.arje.Manager.AwaitEnd", "parameters": {"label": "long"}})
    asking._send({"method": "io.arje.Manager.Ping"})
    manager.call("Stop", labels=["long"])
    assert asking._receive()[0]["result"]["state"] == "stopped"
    assert asking._receive()[0]["pid"] == manager.process.pid
    asking.close()


def sockets_of(manager: Manager) -> int:
    return sum(link.startswith("socket:") for link in open_links(manager.process.pid))


@needs_root
def test_ctrl_c_ends_the_watch_and_not_the_proposal(manage: Manage) -> None:
    manager = manage({"web": sh("cat /etc/hostname; exec sleep 1000")})
    first = manager.settle("web")["main"]["pid"]
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "harden", "web"]
    heeds = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a shell's background job would not
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **heeds) as person:
        manager.until("web", lambda shown: runs(shown, "sleep") and shown["main"]["pid"] != first)
        await_call(person.pid)
        person.send_signal(signal.SIGINT)
        said, _ = person.communicate(timeout=60)
    assert person.returncode == 0, said
    assert "/etc/hostname" in said
    assert manager.settle("web")["state"] == "running"


def runs(shown: dict[str, Any], name: str) -> bool:
    return shown["main"] is not None and shown["main"]["name"] == name


def await_call(pid: int) -> None:
    """Wait until a client has asked for the end: it sleeps in recvfrom(2) on its second connection."""
    end = time.monotonic() + 30
    while True:
        assert time.monotonic() < end
        links = open_links(pid)
        asleep = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        if asleep and sum(link.startswith("socket:") for link in links) == 2:
            return


# -- other managers, other bodies --------------------------------------------------------------------------------------

BODIES = {
    "plain": "",
    "user namespace": 'namespaces = ["user", "mount", "pid"]',
    "every namespace": 'namespaces = ["user", "mount", "pid", "net", "uts", "ipc"]\nread_only_root = true',
    "a filter of its own": 'no_new_privs = true\nseccomp = {allow = ["@system-service"]}',
}


@pytest.mark.parametrize("soma", BODIES.values(), ids=list(BODIES))
def test_an_ordinary_users_manager_watches_proposes_and_tries(manage: Manage, soma: str) -> None:
    hardened(manage, soma, user=True)


@needs_root
@pytest.mark.parametrize("soma", BODIES.values(), ids=list(BODIES))
def test_so_does_roots(manage: Manage, soma: str) -> None:
    hardened(manage, soma, user=False)


def hardened(manage: Manage, soma: str, *, user: bool) -> None:
    manager = manage({"web": sh("cat /etc/hostname; exec sleep 1000", soma)}, user=user)
    manager.settle("web")
    watched(manager, "web")
    manager.until("web", lambda shown: runs(shown, "sleep"))
    found = harden(manager, "web", attempt=True, stay_ms=300, write=True)
    assert (found["broke"], found["tried"], found["kept"]) == ([], True, True), (found, manager.said())
    assert "/etc/hostname" in found["seen"]["read"]
    shown = manager.settle("web")
    assert shown["state"] == "running"
    assert {"seccomp", "landlock"} <= {grant["feature"] for grant in shown["isolation"]["grants"] if grant["ok"]}
    manager.call("Restart", labels=["web"])
    assert manager.settle("web")["state"] == "running"


# -- what may go wrong -------------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("fault", ["pidfd_getfd:error=EPERM", "pidfd_getfd:error=EMFILE"])
def test_a_watch_that_cannot_be_had_fails_with_its_reason_and_the_next_start_is_as_ever(
    manage: Manage, fault: str
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    prefix = (strace, "-D", "-f", "-qq", "-o/dev/null", "-etrace=pidfd_getfd", f"-einject={fault}")
    manager = manage({"web": sh("exec sleep 1000")}, prefix=prefix)
    manager.settle("web")
    before = manager.show("web")["isolation"]["grants"]
    told = manager.call("Observe", label="web")["result"]
    assert told["result"] == "failed"
    shown = manager.settle("web")
    assert (shown["failure"]["step"], shown["failure"]["errno_name"]) == ("observe", fault.rpartition("=")[2])
    with pytest.raises(CallError, match="not being watched"):
        harden(manager, "web")
    manager.call("Start", labels=["web"])
    shown = manager.settle("web")
    assert (shown["state"], len(shown["isolation"]["grants"])) == ("running", len(before))


@needs_root
def test_a_card_that_cannot_be_written_is_told_and_stays_what_it_was_on_disk(manage: Manage) -> None:
    manager = manage({"web": sh("exec sleep 1000")})
    manager.settle("web")
    watched(manager, "web")
    manager.until("web", lambda shown: runs(shown, "sleep"))
    text = (manager.cards / "web.toml").read_text()
    mount = ["mount", "--bind", str(manager.cards), str(manager.cards)]
    subprocess.run(mount, check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(manager.cards)], check=True)
        found = harden(manager, "web", attempt=True, stay_ms=100, write=True)
    finally:
        subprocess.run(["umount", str(manager.cards)], check=True)
    assert (found["tried"], found["kept"], found["broke"]) == (True, False, []), found
    assert "Read-only file system" in found["detail"]
    assert (manager.cards / "web.toml").read_text() == text
    assert manager.settle("web")["state"] == "running"


@needs_root
def test_a_service_that_is_killed_while_it_is_watched_can_still_be_proposed_for(manage: Manage) -> None:
    manager = manage({"web": sh("cat /etc/hostname; exec sleep 1000", rest='supervision.restart = "never"')})
    manager.settle("web")
    watched(manager, "web")
    shown = manager.until("web", lambda shown: runs(shown, "sleep"))
    os.kill(shown["main"]["pid"], signal.SIGKILL)
    assert manager.call("AwaitEnd", label="web")["result"]["state"] == "failed"
    found = harden(manager, "web")
    assert "/etc/hostname" in found["seen"]["read"]
    assert not found["tried"]
