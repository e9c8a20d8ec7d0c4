"""``arjectl harden`` on a real manager: what a service did becomes its card, is tried, and taken back."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arje.kernel.landlock import abi
from tests.conftest import Manager, needs_root, sh

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


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


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
    more = f"if test -e {place}/more; then umask 0; mkdir {place}/made || exit 3; fi"
    manager = manage({"web": sh(f"cat /etc/hostname; {more}; exec sleep 1000")})
    before = manager.settle("web")["isolation"]
    text = (manager.cards / "web.toml").read_text()
    watched(manager, "web")
    manager.until("web", lambda shown: shown["main"]["name"] == "sleep")
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
