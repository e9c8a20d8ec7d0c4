"""When a service counts as ready: the five front ends, what may go wrong with each, and who is believed."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Manager, needs_root, sh
from tests.ports import free_port

Manage = Callable[..., Manager]
NOTIFY = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text):
    s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""


def py(script: str, supervision: str = "", soma: str = "", rest: str = "") -> str:
    """Return a card of a Python program that can speak by sd_notify(3)."""
    words = json.dumps(["-u", "-c", NOTIFY + script])
    return (
        f'{rest}\n[payload]\nexec = "/usr/bin/python3"\nargv = {words}\n[soma]\n{soma}\n[supervision]\n{supervision}\n'
    )


def reload(manager: Manager, *labels: str) -> None:
    """Take the cards on disk without waiting for what becomes of them: only until they are there."""
    manager.process.send_signal(signal.SIGHUP)
    while not set(labels) <= {service["label"] for service in manager.call("List")["services"]}:
        pass


def waiting(manager: Manager, label: str) -> dict[str, Any]:
    """Wait until a service is started and not ready."""
    return manager.until(label, lambda a: a["state"] == "starting" and a["pid"] is not None)


FOREVER = "time.sleep(1e6)"


def test_a_service_is_ready_when_it_says_so(manage: Manage) -> None:
    script = 'sys.stdin.readline(); say("READY=1\\nSTATUS=serving 7"); ' + FOREVER
    card = py(script, 'readiness = "notify"', 'stdio.stdin = "file:{fifo}"')
    manager = manage({})
    fifo = manager.directory / "fifo"
    os.mkfifo(fifo)
    manager.write("a", card.replace("{fifo}", str(fifo)))
    writer = os.open(fifo, os.O_RDWR)
    manager.write("b", sh("exec sleep infinity", rest='requires = ["a"]'))
    reload(manager, "a", "b")
    waiting(manager, "a")
    assert manager.show("b")["state"] == "waiting"
    os.write(writer, b"\n")
    manager.until("b", lambda b: b["state"] == "running")
    ready = manager.show("a")
    assert (ready["state"], ready["status_text"]) == ("running", "serving 7")
    assert ready["cause"]["detail"] == "it says READY=1"
    os.close(writer)


BODIES = [
    "",
    pytest.param('namespaces = ["pid", "mount"]', marks=needs_root),
    pytest.param('namespaces = ["mount", "pid"]\nread_only_root = true\nprivate_tmp = true', marks=needs_root),
    pytest.param('namespaces = "all"\noverlay = {lower = "/", tmpfs_upper = "16M"}', marks=needs_root),
    pytest.param('namespaces = ["mount"]\ntmpfs = ["/run", "/dev/shm"]\nrun_as = "nobody"', marks=needs_root),
    pytest.param('namespaces = ["user", "mount", "pid"]', marks=needs_root),
]


@pytest.mark.parametrize("soma", BODIES)
def test_its_socket_is_seen_in_every_sandbox(manage: Manage, soma: str) -> None:
    manager = manage({"a": py(f'say("READY=1"); {FOREVER}', 'readiness = "notify"\nstart_timeout = "20s"', soma)})
    ready = manager.settle("a")
    assert ready["state"] == "running", ready["failure"]


def test_the_message_of_a_stranger_does_not_count(manage: Manage) -> None:
    manager = manage({"a": py(FOREVER, 'readiness = "notify"')})
    waiting(manager, "a")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"READY=1", str(manager.runtime / "notify/a"))
        stranger.sendto(b"STATUS=x", str(manager.runtime / "notify/a"))
    # the loop answers in the order of what arrives: after this the messages have been heard
    manager.call("Ping")
    assert manager.show("a")["state"] == "starting"
    manager.await_said("its sender is not one of the service's")


@pytest.mark.parametrize(("access", "state"), [("all", "running"), ("main", "failed")])
def test_the_message_of_a_child_counts_unless_only_the_main_process_speaks(
    manage: Manage, access: str, state: str
) -> None:
    script = f'os.fork() or (say("READY=1"), {FOREVER}); {FOREVER}'
    rules = f'readiness = "notify"\nnotify_access = "{access}"\nstart_timeout = "{20 if state == "running" else 1}s"'
    manager = manage({"a": py(script, rules + '\nstop_timeout = "1s"')})
    assert manager.settle("a")["state"] == state


def test_who_is_not_ready_in_time_has_failed_and_says_what_it_waited_for(manage: Manage) -> None:
    manager = manage({"a": py(FOREVER, 'readiness = "notify"\nstart_timeout = "300ms"')})
    failed = manager.settle("a")
    assert (failed["state"], failed["failure"]["reason"]) == ("failed", "timeout")
    assert failed["failure"]["detail"].startswith("it was not ready in 0.3 s: it waits for READY=1")
    assert failed["last_exit"] == "signal TERM"


def test_a_service_may_ask_for_more_time(manage: Manage) -> None:
    script = f'say("EXTEND_TIMEOUT_USEC=60000000"); time.sleep(3); say("READY=1"); {FOREVER}'
    manager = manage({"a": py(script, 'readiness = "notify"\nstart_timeout = "2500ms"')})
    assert manager.settle("a")["state"] == "running"


def test_who_ends_well_before_it_is_ready_has_broken_its_protocol(manage: Manage) -> None:
    manager = manage({"a": sh("exit 0") + '[supervision]\nreadiness = "notify"\n'})
    failed = manager.settle("a")
    assert (failed["state"], failed["failure"]["reason"]) == ("failed", "protocol")
    assert "it ended before it was ready" in failed["failure"]["detail"]


def test_what_it_said_of_its_error_belongs_to_the_failure(manage: Manage) -> None:
    manager = manage({"a": py('say("ERRNO=13\\nBUSERROR=org.x.Denied"); sys.exit(3)', 'readiness = "notify"')})
    failure = manager.settle("a")["failure"]
    assert (failure["reason"], failure["errno_name"]) == ("exit-code", "EACCES")


def test_a_newline_on_a_descriptor_means_ready(manage: Manage) -> None:
    manager = manage(
        {
            "three": sh("echo >&3; exec sleep infinity") + '[supervision]\nreadiness = "fd:3"\n',
            "seven": sh("echo >&7; exec sleep infinity") + '[supervision]\nreadiness = "fd:7"\n',
            "never": sh("exec 3>&-; exec sleep infinity")
            + '[supervision]\nreadiness = "fd:3"\nstart_timeout = "500ms"\n',
        }
    )
    assert manager.settle("three")["cause"]["detail"] == "a newline on descriptor 3"
    assert manager.settle("seven")["state"] == "running"
    assert manager.settle("never")["failure"]["reason"] == "timeout"


def test_a_line_in_the_log_means_ready(manage: Manage) -> None:
    card = sh("echo starting; echo listening on 7; exec sleep infinity")
    manager = manage({"a": card + "[supervision]\nreadiness = 'log:listening on \\d+'\n"})
    assert manager.settle("a")["cause"]["detail"] == "it logs 'listening on 7'"


@pytest.mark.parametrize(
    "soma", ["", pytest.param('namespaces = ["mount", "pid"]\nprivate_tmp = true', marks=needs_root)]
)
def test_a_pid_file_means_ready(manage: Manage, soma: str) -> None:
    manager = manage({})
    place = "/tmp/new/a.pid" if soma else f"{manager.directory}/new/a.pid"
    card = sh(f"mkdir -p $(dirname {place}); echo $$ > {place}; exec sleep infinity", soma)
    manager.write("a", card + f'[supervision]\nreadiness = "pid_file:{place}"\n')
    manager.call("Apply", token="")
    assert manager.settle("a")["cause"]["detail"].startswith(f"{place} holds ")


SERVER = """
import http.server, socketserver, time
class H(http.server.BaseHTTPRequestHandler):
    n = 0
    def do_GET(self):
        H.n += 1
        self.send_response(200 if H.n > 2 else 503); self.end_headers()
    def log_message(self, *a): pass
"""


@pytest.mark.parametrize("kind", ["tcp", "http"])
@pytest.mark.parametrize("soma", ["", pytest.param('namespaces = ["net", "mount", "pid"]', marks=needs_root)])
def test_a_port_or_a_page_that_answers_means_ready(manage: Manage, kind: str, soma: str) -> None:
    port = free_port()
    probe = f"tcp:127.0.0.1:{port}" if kind == "tcp" else f"http://127.0.0.1:{port}/x"
    script = SERVER + f'http.server.HTTPServer(("127.0.0.1", {port}), H).serve_forever()'
    rules = f'[supervision.readiness]\n{kind} = "{probe.removeprefix("tcp:")}"\ninterval = "50ms"\n'
    manager = manage({"a": py(script, "", soma).replace("[supervision]\n", rules)})
    ready = manager.settle("a")
    assert ready["state"] == "running", ready["failure"]
    assert ready["cause"]["detail"].endswith("answers")


def test_a_unix_socket_that_answers_means_ready(manage: Manage) -> None:
    manager = manage({})
    place = manager.directory / "a.sock"
    script = f's=socket.socket(socket.AF_UNIX); s.bind("{place}"); s.listen(); {FOREVER}'
    manager.write("a", py(script, f'readiness = {{unix = "{place}", interval = "20ms"}}'))
    manager.call("Apply", token="")
    assert manager.settle("a")["state"] == "running"


def test_a_command_that_ends_well_means_ready_and_its_failure_is_shown_meanwhile(manage: Manage) -> None:
    manager = manage({})
    flag = manager.directory / "flag"
    rules = f'readiness = {{exec = ["test", "-e", "{flag}"], interval = "20ms"}}'
    manager.write("a", sh("exec sleep infinity") + f"[supervision]\n{rules}\n")
    reload(manager, "a")
    manager.until("a", lambda a: a["state"] == "starting" and "exited 1" in a["doing"])
    flag.touch()
    assert manager.until("a", lambda a: a["state"] == "running")["doing"] == ""


def test_another_process_may_become_the_main_one(manage: Manage) -> None:
    script = (
        f'pid = os.fork()\nif not pid: {FOREVER}\nsay(f"MAINPID={{pid}}\\nREADY=1")\ntime.sleep(0.1)\nsys.exit(3)\n'
    )
    manager = manage({"a": py(script, 'readiness = "notify"')})
    leader = manager.settle("a")
    running = manager.until("a", lambda a: len(a["processes"]) == 1)
    assert running["state"] == "running"
    assert running["pid"] == running["processes"][0]["pid"]
    assert leader["leader_pid"] != running["pid"]
    os.kill(running["pid"], 9)
    assert manager.until("a", lambda a: a["state"] == "failed")["last_exit"] == "signal KILL"


def test_systemd_notify_is_understood(manage: Manage) -> None:
    if not os.path.exists("/usr/bin/systemd-notify"):  # noqa: PTH110 - a guard
        pytest.skip("systemd-notify is not installed")
    card = sh("systemd-notify --ready --status=hello; exec sleep infinity")
    manager = manage({"a": card + '[supervision]\nreadiness = "notify"\n'})
    ready = manager.settle("a")
    assert (ready["state"], ready["status_text"]) == ("running", "hello")
