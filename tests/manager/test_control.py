"""The control socket: introspection, wrong calls, hostile clients, who may change what."""

from __future__ import annotations

import grp
import json
import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from arje.control.handlers import METHODS, STREAMS, Door
from arje.control.server import Connection
from arje.ctl.client import CallError, Client
from tests.conftest import NOBODY, ROOT, Manager, needs_root, sh
from tests.ctl import until_state
from tests.ctl.idl import Interface

Manage = Callable[..., Manager]
DESCRIPTION = ROOT / "arje/control/io.arje.Manager.varlink"


@pytest.fixture
def manager(manage: Manage) -> Iterator[Manager]:
    made = manage({"a": sh("exec sleep infinity")})
    made.settle("a")
    yield made
    assert made.show("a")["state"] == "running", "whatever a client does hurts nobody"


def connect(manager: Manager, timeout: float | None = 30) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(str(manager.socket))
    return sock


def ask(manager: Manager, request: Any) -> dict[str, Any]:
    """Send one message and return the reply; empty when the manager hangs up instead."""
    with connect(manager) as sock:
        sock.sendall((json.dumps(request) if not isinstance(request, str) else request).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            more = sock.recv(65536)
            if not more:
                return {}
            data += more
    reply: dict[str, Any] = json.loads(data[:-1])
    return reply


def test_the_service_describes_itself(manager: Manager) -> None:
    info = ask(manager, {"method": "org.varlink.service.GetInfo"})["parameters"]
    assert info["interfaces"] == ["org.varlink.service", "io.arje.Manager"]
    asked = {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "io.arje.Manager"}}
    assert ask(manager, asked)["parameters"]["description"] == DESCRIPTION.read_text()


@pytest.mark.parametrize("name", ["io.arje.Manager", "org.varlink.service"])
def test_every_interface_that_is_named_is_described(manager: Manager, name: str) -> None:
    asked = {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": name}}
    assert Interface(ask(manager, asked)["parameters"]["description"]).name == name


def test_the_description_and_the_methods_agree() -> None:
    described = Interface(DESCRIPTION.read_text()).methods
    assert set(described) == {*METHODS, *STREAMS}
    for name, method in (METHODS | STREAMS).items():
        assert tuple(described[name][0]) == method.parameters, name


#: A service in every state that lasts, with every kind of trouble.
EVERYTHING = {
    "running": 'description = "d"\nrequires = ["group"]\nwants = ["nothing"]\nprovides = ["p"]\n'
    + sh("echo said; exec sleep infinity", 'namespaces = ["mount", "pid"]\ncgroup = {memory_max = "1G"}\nchdir = "/"')
    + '[supervision]\nsuccess_exit = [3, "INT"]\n',
    "group": 'payload = "virtual"\n',
    "waiting": 'requires = ["also-waiting"]\n' + sh("true"),
    "also-waiting": 'requires = ["broken"]\n' + sh("true"),
    "broken": '[payload]\nexec = "/no/such/program"\n',
    "refused": sh("true", 'strict_caps = true\ncgroup = {memory_max = "1G"}'),
    "crashing": sh("exit 3") + '[supervision]\nrestart = "on-failure"\ninitial = 1000\nmax = 5000\n',
    "copy@": sh("exec sleep infinity"),
    "once": sh("true") + '[supervision]\nkind = "one-shot"\n',
    "down": "enabled = false\n" + sh("true"),
    "picky": 'contracts = [{any = ["once", "nothing"]}]\nrequires = {group = "undegraded"}\n'
    + sh("exec sleep infinity"),
    "skipped": 'only_if_exists = "/no/such"\n' + sh("true"),
    "timed": sh("true") + '[timer]\nevery = "1h"\n[supervision]\nkind = "one-shot"\n',
    "busy": sh("exec sleep infinity") + '[timer]\nevery = "50ms"\nafter_start = 0\n',
}


def test_every_answer_is_what_the_description_says(manage: Manage) -> None:
    interface = Interface(DESCRIPTION.read_text())
    manager = manage(EVERYTHING, user=True)
    for label, state in {"running": "running", "refused": "failed", "crashing": "backoff", "broken": "failed"}.items():
        until_state(manager, label, state)
    manager.await_line("running", "said")
    manager.write("running", EVERYTHING["running"].replace("said", "told"))
    manager.write("new", sh("true", 'hostname = "h"\nnamespaces = ["uts"]'))
    manager.write("wrong", "colour = 1")
    card = (manager.cards / "new.toml").read_text()
    calls: list[tuple[str, dict[str, Any]]] = [
        *(
            (name, {})
            for name in (
                "Ping",
                "GetManager",
                "Metrics",
                "List",
                "Logs",
                "Events",
                "Processes",
                "Doctor",
                "Plan",
                "Schema",
                "Apply",
            )
        ),
        *(("Why", {"label": label}) for label in EVERYTHING if label != "copy@"),
        *(
            ("Deps", {"label": label, "reverse": reverse})
            for label in EVERYTHING
            if label != "copy@"
            for reverse in (False, True)
        ),
        *(("Forecast", {"label": label}) for label in (*EVERYTHING, "new") if label != "copy@"),
        ("List", {"labels": None, "full": True}),
        ("Wait", {"labels": ["running"]}),
        ("AwaitEnd", {"label": "running", "for_ms": 0}),
        ("AwaitEnd", {"label": "down", "for_ms": None}),
        ("Check", {"name": "x.toml", "text": card}),
        ("Check", {"name": "x.toml", "text": "colour = 1"}),
        ("Check", {"name": "x.toml", "text": sh("true", 'hostname = "h"')}),
        ("Start", {"labels": ["refused", "broken", "running"]}),
        ("Target", {"label": "down"}),
        ("Start", {"labels": ["timed"]}),
        ("Trigger", {"labels": ["timed", "running"]}),
        ("Stop", {"labels": ["group", "down", "timed"], "force": None}),
        ("Restart", {"labels": ["running"]}),
        ("TryRestart", {"labels": ["running", "down"]}),
        ("Reload", {"labels": ["running", "down"]}),
        ("Kill", {"labels": ["running", "down"], "signal": "CONT", "whom": "all"}),
        ("Set", {"label": "running", "changes": {"nofile": "64", "core": "0", "memory_max": "1G"}}),
        ("List", {"labels": ["running"], "look": True}),
        ("Heal", {"labels": None}),
        ("Forecast", {"label": "running", "on": manager.call("Doctor")}),
        ("Freeze", {"labels": ["running", "down"]}),
        ("Thaw", {"labels": ["running"]}),
        *((name, {"labels": ["once"]}) for name in ("Disable", "Enable", "Mask", "Unmask", "Pin", "Unpin")),
        ("Scale", {"template": "copy@", "copies": 2}),
        ("Start", {"labels": ["copy@by-hand"]}),
        ("List", {"labels": ["copy@*", "once"], "full": True}),
        ("Cat", {"label": "once"}),
        ("Cat", {"label": "copy@"}),
        ("ResetFailed", {"labels": ["broken"]}),
        ("Table", {}),
        ("Graph", {}),
        ("Graph", {"labels": ["running"]}),
        ("Analyze", {}),
        ("Analyze", {"apply": True}),
        ("Moving", {}),
        ("Figures", {}),
        ("Would", {"verb": "start", "labels": ["down", "running", "timed"]}),
        ("Would", {"verb": "stop", "labels": ["running"]}),
        ("GetLogLevel", {}),
        ("SetLogLevel", {"level": "info"}),
        ("Release", {"labels": ["down"]}),
        ("Wake", {"labels": ["down", "running"]}),
        ("Restart", {"labels": ["running"], "wait": False}),
        ("Wait", {"labels": ["running"]}),
        ("Enter", {"label": "running", "command": ["/bin/true"], "stdio": ["null", "null", "null"]}),
        ("Run", {"label": "run", "command": ["sh", "-c", "echo ran"]}),
    ]
    told = set()
    for name, parameters in calls:
        reply = manager.call(name, **parameters)
        assert list(interface.faults(reply, interface.methods[name][1], name)) == []
        told.add(name)
    (manager.cards / "wrong.toml").unlink()
    for name in ("Plan", "Apply", "Sets", "Rollback", "Plan", "Apply"):
        reply = manager.call(name)
        assert name == "Sets" or reply["plan"]["changes"]
        assert list(interface.faults(reply, interface.methods[name][1], name)) == []
        told.add(name)
    for name in ("Observe", "Harden"):  # only of a card that is the one on disk
        reply = manager.call(name, label="running")
        assert list(interface.faults(reply, interface.methods[name][1], name)) == []
        told.add(name)
    follower = Client(manager.socket, 30)
    reply = next(follower.follow("Follow", labels=["running"], lines=10))
    assert list(interface.faults(reply, interface.methods["Follow"][1])) == []
    follower.close()
    watcher = Client(manager.socket, 30)
    reply = next(watcher.follow("Monitor", labels=["running"], lines=10))
    assert list(interface.faults(reply, interface.methods["Monitor"][1])) == []
    watcher.close()
    runner = Client(manager.socket, 30)
    replies = list(runner.follow("Run", command=["sh", "-c", "echo ran"]))
    runner.close()
    assert [list(interface.faults(reply, interface.methods["Run"][1])) for reply in replies] == [[], []]
    assert told == {*METHODS} - {"Boot", "End", "Shell"}  # of pid 1: tests/init/test_pid1.py


def test_every_error_is_what_the_description_says(manager: Manager) -> None:
    interface = Interface(DESCRIPTION.read_text())
    reply = ask(manager, {"method": "io.arje.Manager.Why", "parameters": {"label": "b"}})
    assert list(interface.faults(reply["parameters"], interface.errors["NoSuchService"])) == []
    standard = Interface((DESCRIPTION.parent / "org.varlink.service.varlink").read_text())
    for method, error in {
        "no.such.Interface": "InterfaceNotFound",
        "org.varlink.service.No": "MethodNotFound",
        "io.arje.Manager.Why": "InvalidParameter",
        "org.varlink.service.GetInterfaceDescription": "InvalidParameter",
        "io.arje.Manager.Follow": "ExpectedMore",
    }.items():
        reply = ask(manager, {"method": method})
        assert reply["error"] == f"org.varlink.service.{error}"
        assert list(standard.faults(reply["parameters"], standard.errors[error])) == []


def test_a_cause_names_who_asked(manager: Manager) -> None:
    manager.ctl("restart", "a")
    (wish,) = manager.show("a")["activation"]
    assert wish["how"] == "restarted"
    assert wish["who"].startswith(f"uid {os.geteuid()} (python")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"method": "no.such.Interface"}, "org.varlink.service.InterfaceNotFound"),
        ({"method": "io.arje.Manager.NoSuch"}, "org.varlink.service.MethodNotFound"),
        ({"method": "io.arje.Manager.Start"}, "org.varlink.service.InvalidParameter"),
        ({"method": "io.arje.Manager.Start", "parameters": {"labels": "a"}}, "org.varlink.service.InvalidParameter"),
        ({"method": "io.arje.Manager.Ping", "parameters": {"x": 1}}, "org.varlink.service.InvalidParameter"),
        ({"method": "io.arje.Manager.Ping", "parameters": [1]}, "org.varlink.service.InvalidParameter"),
        ({"method": "io.arje.Manager.Logs", "parameters": {"lines": -1}}, "org.varlink.service.InvalidParameter"),
        ({"method": "io.arje.Manager.Follow"}, "org.varlink.service.ExpectedMore"),
        ({"method": "io.arje.Manager.Why", "parameters": {"label": "b"}}, "io.arje.Manager.NoSuchService"),
    ],
)
def test_a_wrong_call_is_answered_with_the_error_s_name(manager: Manager, request_: Any, error: str) -> None:
    assert ask(manager, request_)["error"] == error


@pytest.mark.parametrize("garbage", ["\x01\x02", "[]", "5", '{"method": 5}', "[" * 100000, '{"a":' * 5000])
def test_garbage_ends_its_own_connection_only(manager: Manager, garbage: str) -> None:
    assert ask(manager, garbage) == {}


def test_a_message_without_end_is_cut_off(manager: Manager) -> None:
    with connect(manager) as sock:
        endless = b"x" * 2**26
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            sock.sendall(endless)


def test_half_a_message_waits_without_harm(manager: Manager) -> None:
    with connect(manager) as sock:
        sock.sendall(b'{"method": "io.arje.')
        assert manager.call("Ping")["pid"] == manager.process.pid
        sock.sendall(b'Manager.Ping"}\0')
        assert json.loads(sock.recv(65536)[:-1])["parameters"]["pid"] == manager.process.pid


def test_requests_may_be_sent_without_waiting_for_the_answers(manager: Manager) -> None:
    with connect(manager) as sock:
        sock.sendall(b'{"method": "io.arje.Manager.Ping"}\0' * 100)
        data = b""
        while data.count(b"\0") < 100:
            data += sock.recv(65536)


def test_a_oneway_call_gets_no_answer(manager: Manager) -> None:
    with connect(manager) as sock:
        sock.sendall(b'{"method": "io.arje.Manager.Schema", "oneway": true}\0{"method": "io.arje.Manager.Ping"}\0')
        assert "pid" in json.loads(sock.recv(65536).split(b"\0")[0])["parameters"]


def test_one_user_s_many_connections_are_bounded(manager: Manager) -> None:
    taken = [connect(manager, None) for _ in range(200)]
    assert sum(closed(sock) for sock in taken) >= 100
    for sock in taken:
        sock.close()
    while True:  # they are free again
        with connect(manager) as sock:
            if not closed(sock):
                break


def closed(sock: socket.socket) -> bool:
    """Whether the manager hung up without a word."""
    try:
        sock.sendall(b'{"method": "io.arje.Manager.Ping"}\0')
        return not sock.recv(1)
    except (BrokenPipeError, ConnectionResetError):
        return True


def test_a_client_that_never_reads_hurts_nobody(manager: Manager) -> None:
    with connect(manager) as sock:
        sock.setblocking(False)
        request = b'{"method": "io.arje.Manager.Schema"}\0' * 1000
        try:
            while True:
                sock.send(request)
        except BlockingIOError:
            pass
        assert manager.call("Ping")["pid"] == manager.process.pid


def test_whoever_follows_and_hangs_up_is_forgotten(manager: Manager) -> None:
    fds = Path(f"/proc/{manager.process.pid}/fd")
    before = len(list(fds.iterdir()))
    with connect(manager) as sock:
        sock.sendall(b'{"method": "io.arje.Manager.Follow", "more": true}\0')
        while len(list(fds.iterdir())) <= before:
            pass
    while len(list(fds.iterdir())) > before:
        pass


def test_a_follower_that_hangs_up_amid_lines_is_no_error_of_the_manager(manage: Manage) -> None:
    manager = manage({"a": sh("while :; do echo line; done")})
    for _ in range(20):
        client = Client(manager.socket, 30)
        next(client.follow("Follow", labels=["a"], lines=0))
        client.close()
    assert "request failed" not in manager.said()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_nobody_but_its_own_user_may_connect_where_there_is_no_group_arje(manager: Manager) -> None:
    try:
        group = grp.getgrnam("arje").gr_gid
    except KeyError:
        assert stat.S_IMODE(manager.socket.stat().st_mode) == 0o600
    else:
        assert (stat.S_IMODE(manager.socket.stat().st_mode), manager.socket.stat().st_gid) == (0o660, group)


@pytest.mark.parametrize("labels", [["x" * 300], ["*"] * 20_000, "a", [1]])
def test_a_flood_of_labels_is_a_wrong_parameter(manager: Manager, labels: object) -> None:
    with pytest.raises(CallError) as raised:
        manager.call("List", labels=labels, full=False)
    assert raised.value.name == "InvalidParameter"


async def test_a_bug_in_a_handler_is_answered_and_ends_nothing() -> None:
    class Broken:
        def manager(self) -> dict[str, object]:
            raise ZeroDivisionError

    ours, theirs = trio.socket.socketpair()
    client = trio.SocketStream(theirs)
    async with trio.open_nursery() as nursery:
        connection = Connection(trio.SocketStream(ours), cast("Door", Broken()), nursery)
        nursery.start_soon(connection.run, Counter())
        for _ in range(2):
            await client.send_all(b'{"method": "io.arje.Manager.GetManager"}\0')
            assert json.loads((await client.receive_some())[:-1]) == {
                "error": "io.arje.Manager.InternalError",
                "parameters": {"method": "io.arje.Manager.GetManager"},
            }
        await client.aclose()


@needs_root
def test_another_user_may_look_but_not_change(manager: Manager) -> None:
    code = (
        "import json, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "for method, p in (('Ping', {}), ('Stop', {'labels': ['a']})):\n"
        "    s.sendall(json.dumps({'method': 'io.arje.Manager.' + method, 'parameters': p}).encode() + b'\\0')\n"
        "    print(s.recv(65536)[:-1].decode())\n"
    )
    manager.socket.chmod(0o666)
    manager.runtime.chmod(0o755)
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-c", code]
    done = subprocess.run([*words, str(manager.socket)], capture_output=True, text=True, check=True, timeout=60)
    ping, stop = map(json.loads, done.stdout.splitlines())
    assert ping["parameters"]["pid"] == manager.process.pid
    assert stop == {"error": "io.arje.Manager.PermissionDenied", "parameters": {"uid": NOBODY}}
    assert manager.show("a")["state"] == "running"


def test_an_unknown_service_is_answered_with_the_nearest(manage: Manage) -> None:
    manager = manage({"webserver": sh("exec sleep infinity")})
    with pytest.raises(CallError) as raised:
        manager.call("Why", label="websever")
    assert raised.value.parameters == {"label": "websever", "nearest": "webserver", "problems": []}


def test_who_asks_for_a_service_with_a_bad_card_is_told_what_is_wrong_with_it(manage: Manage) -> None:
    template = 'instances = ["x"]\n' + sh("true") + "[supervision]\nrestart = 'sometimes'\n"
    manager = manage({"good": sh("exec sleep infinity"), "bad": "\ncolour = 1\n" + sh("true"), "web@": template})
    for verb, code in (("why", 4), ("status", 4), ("start", 5)):
        done = manager.ctl(verb, "bad")
        assert (done.returncode, done.stdout) == (code, "")
        told = f"its card cannot be loaded: {manager.cards}/bad.toml:2: colour: no such field"
        assert done.stderr == f"arjectl: no service 'bad'; {told}\n"
    assert "web@.toml" in manager.ctl("why", "web@x").stderr
    told = "arjectl: no service 'other'; arjectl list tells which there are\n"
    assert manager.ctl("why", "other").stderr == told
    with pytest.raises(CallError) as raised:
        manager.call("Why", label="bad")
    assert [problem["field"] for problem in raised.value.parameters["problems"]] == ["colour"]


def test_a_service_knows_of_the_control_socket_when_its_card_says_so_and_not_otherwise(manage: Manage) -> None:
    manager = manage({"without": sh('echo "socket: ${ARJE_SOCKET-none}"')})
    manager.await_line("without", "socket: none")
    command = json.dumps(["-c", f'cd {ROOT}; {sys.executable} -m arje.ctl ping && echo "reached"; exec sleep infinity'])
    card = f'[payload]\nexec = "/bin/sh"\nargv = {command}\nenv = {{ARJE_SOCKET = "{manager.socket}"}}\n'
    manager.write("with", card)
    manager.call("Apply", token="")
    manager.await_line("with", "reached")
