"""Sockets that arje opens for services: passed at the start, or waited for; kept while the service restarts."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.loader import load_text
from tests.conftest import Manager, needs_root, sh
from tests.ports import free_port

Manage = Callable[..., Manager]

#: A server of one line per connection, on descriptor 3, that says what it was given.
SERVER = """
import os, socket, sys
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ
print("given", os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"], flush=True)
listening = socket.socket(fileno=3)
while True:
    connection, _ = listening.accept()
    word = connection.recv(100).decode().strip()
    connection.sendall(f"{os.getpid()} {word}\\n".encode())
    connection.close()
    if word == "end":
        sys.exit(0)
    if word == "fail":
        sys.exit(3)
"""


def python(script: str, rest: str = "", soma: str = "") -> str:
    """A card that runs a Python script."""
    words = json.dumps(["-c", script])
    return f'{rest}\n[payload]\nexec = "/usr/bin/python3"\nargv = {words}\n[soma]\n{soma}\n'


def ask(path: Path | str, word: str = "hello") -> str:
    """Connect to a unix socket, say a word, return the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(word.encode())
        return client.recv(1000).decode().strip()


def until(true: Callable[[], bool]) -> None:
    """Look until something is so, at most half a minute."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end


@pytest.fixture
def port() -> int:
    return free_port()


# -- passed at the start -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "soma", ["", 'namespaces = ["pid", "mount"]', 'namespaces = "all"'], ids=["bare", "pid", "all"]
)
def test_a_service_gets_its_sockets_in_order_and_by_name(manage: Manage, place: Path, port: int, soma: str) -> None:
    if soma and os.geteuid():
        pytest.skip("root is needed")
    listen = f'sockets = [{{listen = "unix:{place}/a", name = "api"}}, "tcp:127.0.0.1:{port}", "udp:{port}"]'
    manager = manage({"web": python(SERVER, listen, soma)})
    manager.await_line("web", "given 3 api:web:web")
    assert ask(place / "a").endswith("hello")
    shown = manager.show("web")
    assert [(one["listen"], one["name"], one["open"]) for one in shown["sockets"]] == [
        (f"unix:{place}/a", "api", True),
        (f"tcp:127.0.0.1:{port}", "web", True),
        (f"udp:{port}", "web", True),
    ]
    assert (shown["state"], shown["awaits"], shown["connected"]) == ("running", [], None)


LOOK = """
import os, socket, stat
for fd in range(3, 3 + int(os.environ["LISTEN_FDS"])):
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        one = socket.socket(fileno=fd)
        listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        print(fd, one.family.name, one.type.name, listens, one.getsockname(), os.get_blocking(fd), flush=True)
    else:
        print(fd, "fifo" if stat.S_ISFIFO(mode) else "file", os.get_blocking(fd), flush=True)
print("end", flush=True)
import time
time.sleep(10**6)
"""


def test_every_kind_is_opened(manage: Manage, place: Path, port: int) -> None:
    words = [
        *(str(port), f"udp:[::1]:{port}", f"unix:{place}/deep/er/stream", f"unix-datagram:{place}/datagram"),
        *(f"unix-seqpacket:{place}/seqpacket", f"unix:@arje-test-{port}", f"fifo:{place}/fifo"),
        *("netlink:kobject-uevent:1", "special:/dev/null"),
    ]
    manager = manage({"web": python(LOOK, f"sockets = {json.dumps(words)}")})
    manager.await_line("web", "end")
    assert manager.lines("web")[:-1] == [
        f"3 AF_INET6 SOCK_STREAM 1 ('::', {port}, 0, 0) True",
        f"4 AF_INET6 SOCK_DGRAM 0 ('::1', {port}, 0, 0) True",
        f"5 AF_UNIX SOCK_STREAM 1 {place}/deep/er/stream True",
        f"6 AF_UNIX SOCK_DGRAM 0 {place}/datagram True",
        f"7 AF_UNIX SOCK_SEQPACKET 1 {place}/seqpacket True",
        f"8 AF_UNIX SOCK_STREAM 1 b'\\x00arje-test-{port}' True",
        "9 fifo True",
        f"10 AF_NETLINK SOCK_RAW 0 ({manager.process.pid}, 1) True",
        "11 file True",
    ]
    with socket.create_connection(("127.0.0.1", port), 10):  # a port alone takes IPv4 as well
        pass


def test_a_message_queue_starts_a_service_and_is_removed(manage: Manage, place: Path, port: int) -> None:
    name = f"/arje-test-{port}"
    queue = f'{{listen = "mqueue:{name}", mode = "0600", max_messages = 3, message_size = 100, remove_on_stop = true}}'
    script = "import os; print('queue', os.read(3, 100).decode().split()[0], oct(os.fstat(3).st_mode), flush=True); "
    script += "import time; time.sleep(10**6)"
    manager = manage({"web": python(script, f'activation = "on-demand"\nsockets = [{queue}]')})
    assert manager.settle("web")["awaits"] == [f"mqueue:{name}"]
    send = "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); "
    send += "fd = libc.mq_open(sys.argv[1].encode(), os.O_WRONLY); sys.exit(fd < 0 or libc.mq_send(fd, b'x', 1, 0))"
    subprocess.run([sys.executable, "-c", send, name], check=True)
    manager.await_line("web", "queue QSIZE:1 0o100600")
    manager.call("Stop", labels=["web"], force=False)
    until(lambda: subprocess.run([sys.executable, "-c", send, name], check=False).returncode == 1)


def test_a_vsock_is_opened_where_there_are_some(manage: Manage, port: int) -> None:
    try:
        with socket.socket(socket.AF_VSOCK) as probe:
            probe.bind((socket.VMADDR_CID_ANY, port))
    except OSError as error:
        pytest.skip(f"no vsock here: {error}")
    manager = manage({"web": python(LOOK, f'sockets = "vsock:{port}"')})
    manager.await_line("web", f"3 AF_VSOCK SOCK_STREAM 1 ({socket.VMADDR_CID_ANY}, {port}) True")


def test_options_are_set(manage: Manage, place: Path, port: int) -> None:
    script = """
import socket
tcp, udp = socket.socket(fileno=3), socket.socket(fileno=4)
get = lambda one, *what: one.getsockopt(*what)
print(get(tcp, socket.SOL_SOCKET, socket.SO_KEEPALIVE), get(tcp, socket.IPPROTO_TCP, socket.TCP_NODELAY),
      get(tcp, socket.SOL_SOCKET, socket.SO_REUSEPORT), get(tcp, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), flush=True)
print(get(udp, socket.SOL_SOCKET, socket.SO_BROADCAST), get(udp, socket.SOL_SOCKET, socket.SO_RCVBUF),
      get(udp, socket.SOL_SOCKET, socket.SO_PRIORITY), udp.gettimeout(), flush=True)
import os
print(os.get_blocking(3), os.get_blocking(4), flush=True)
import time
time.sleep(10**6)
"""
    tcp = f'{{listen = "{port}", keep_alive = true, no_delay = true, reuse_port = true, bind_ipv6_only = "ipv6-only"}}'
    udp = f'{{listen = "udp:192.0.2.1:{port}", free_bind = true, broadcast = true, receive_buffer = "64K", '
    udp += "priority = 5, non_blocking = true}"
    manager = manage({"web": python(script, f"sockets = [{tcp}, {udp}]")})
    manager.await_line("web", "False")
    assert manager.lines("web") == ["1 1 1 1", "1 131072 5 None", "True False"]


@needs_root
def test_a_unix_socket_has_its_owner_and_mode_and_links(manage: Manage, place: Path) -> None:
    one = f'{{listen = "unix:{place}/new/a", mode = "0620", user = "daemon", group = 7, directory_mode = "0711", '
    one += f'symlinks = ["{place}/link"], remove_on_stop = true}}'
    manager = manage({"web": python(SERVER, f"sockets = [{one}, 'fifo:{place}/new/f']")})
    manager.await_line("web", "given")
    found = (place / "new/a").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o620, 1, 7)
    assert stat.S_IMODE((place / "new").stat().st_mode) == 0o711
    assert ask(place / "link").endswith("hello")
    manager.call("Stop", labels=["web"], force=False)
    manager.call("Start", labels=["web"])
    assert ask(place / "link").endswith("hello")
    manager.stop()
    assert not (place / "new/a").exists()
    assert not (place / "link").is_symlink()
    assert (place / "new/f").is_fifo()  # it may hold what is still to be read


def test_a_socket_file_that_nobody_serves_any_more_is_in_nobodys_way(manage: Manage, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place / "a"))
    manager = manage({"web": python(SERVER, f'sockets = "unix:{place}/a"')})
    assert manager.settle("web")["state"] == "running"
    assert ask(place / "a").endswith("hello")


def test_a_socket_that_somebody_serves_is_left_to_him(manage: Manage, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place / "a"))
        other.listen()
        manager = manage({"web": python(SERVER, f'sockets = ["unix:{place}/b", "unix:{place}/a"]')})
        failed = manager.settle("web")
    failure = failed["failure"]
    assert failed["state"] == "failed"
    assert (failure["errno_name"], failure["field"], failure["step"]) == ("EADDRINUSE", "sockets.1.listen", "prepare")
    assert f"pid {os.getpid()} listens there" in failure["hint"]
    assert [one["open"] for one in failed["sockets"]] == [False, False]  # what was open already is closed again
    assert "EADDRINUSE" in manager.ctl("status", "web").stdout


@pytest.mark.parametrize(
    ("listen", "errno", "field", "hint"),
    [
        ("'tcp:192.0.2.1:80'", "EADDRNOTAVAIL", "listen", "free_bind"),
        ("{listen = 'tcp:5', bind_to_device = 'no-such0'}", "ENODEV", "bind_to_device", "no such device"),
        ("{listen = 'fifo:/dev/null'}", "EEXIST", "listen", "remove it"),
        ("'unix:/dev/null'", "EADDRINUSE", "listen", "remove it"),
        ("{listen = 'unix:/run/arje-test-x', user = 'no-such-user'}", "ENOENT", "user", "name another"),
        ("'special:/no/such'", "ENOENT", "listen", ""),
    ],
)
def test_what_the_kernel_refuses_is_told_with_field_and_remedy(
    manage: Manage, listen: str, errno: str, field: str, hint: str
) -> None:
    manager = manage({"web": python(SERVER, f"sockets = [{listen}]")})
    failure = manager.settle("web")["failure"]
    assert (failure["errno_name"], failure["field"]) == (errno, f"sockets.0.{field}")
    assert hint in failure["hint"]
    Path("/run/arje-test-x").unlink(missing_ok=True)


def test_two_services_on_one_address_are_told_of_each_other(manage: Manage, place: Path) -> None:
    card = python(SERVER, f'sockets = "unix:{place}/a"')
    manager = manage({"web": card, "other": card + '[supervision]\nrestart = "on-failure"\n'})
    manager.call("Wait", labels=["web", "other"])
    states = {one["label"]: one for one in manager.call("List")["services"]}
    loser = next(one for one in states.values() if one["state"] != "running")
    winner = next(one["label"] for one in states.values() if one["state"] == "running")
    assert loser["failure"]["hint"] == f"service {winner} listens there: stop it, or choose another address"


def test_a_port_that_another_program_has_names_it(manage: Manage, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        manager = manage({"web": python(SERVER, f'sockets = "{port}"')})
        assert f"pid {os.getpid()} listens there" in manager.settle("web")["failure"]["hint"]


def test_a_restart_keeps_the_socket_and_who_waits_in_its_queue(manage: Manage, place: Path) -> None:
    card = python(SERVER, f'sockets = "unix:{place}/a"') + '[supervision]\nstop_signal = "KILL"\n'
    manager = manage({"web": card})
    manager.settle("web")
    first = ask(place / "a").split()[0]
    inode = (place / "a").stat().st_ino
    os.kill(int(first), signal.SIGSTOP)  # it accepts nothing
    until(lambda: " T " in Path(f"/proc/{first}/stat").read_text())
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(place / "a"))
        client.sendall(b"queued")
        manager.call("Restart", labels=["web"])
        answer = client.recv(100).decode().split()
    assert answer[1] == "queued"
    assert (place / "a").stat().st_ino == inode


def test_a_reload_keeps_an_unchanged_socket_and_binds_a_changed_one_anew(manage: Manage, place: Path) -> None:
    def card(*words: str, more: str = "") -> str:
        return python(SERVER, f"{more}\nsockets = {json.dumps([f'unix:{place}/{word}' for word in words])}")

    manager = manage({"web": card("a", "b"), "lazy": card("c", more='activation = "on-demand"')})
    manager.call("Wait", labels=["web", "lazy"])
    first = ask(place / "a").split()[0]
    inode = (place / "a").stat().st_ino
    manager.write("web", card("a", "x"))
    manager.write("lazy", card("d", more='activation = "on-demand"'))
    plan = {change["label"]: change for change in manager.call("Plan")["plan"]["changes"]}
    assert (plan["web"]["feels"], plan["web"]["fields"]) == ("restarts", ["sockets"])
    assert plan["lazy"]["feels"] == "rebinds"
    assert "rebinds" in manager.ctl("plan").stdout
    manager.call("Apply")
    assert (place / "a").stat().st_ino == inode
    assert ask(place / "a").split()[0] != first
    manager.until("lazy", lambda lazy: lazy["awaits"] == [f"unix:{place}/d"])
    assert ask(place / "d").endswith("hello")
    with pytest.raises(ConnectionRefusedError):
        ask(place / "b")
    with pytest.raises(ConnectionRefusedError):
        ask(place / "c")
    (manager.cards / "lazy.toml").unlink()
    (gone,) = manager.call("Plan")["plan"]["changes"]
    assert (gone["change"], gone["feels"]) == ("remove", "stops")
    manager.call("Apply")
    with pytest.raises(ConnectionRefusedError):
        ask(place / "d")


def test_a_stop_closes_the_socket(manage: Manage, place: Path) -> None:
    manager = manage({"web": python(SERVER, f'sockets = "unix:{place}/a"')})
    manager.settle("web")
    ask(place / "a")
    manager.call("Stop", labels=["web"], force=False)
    with pytest.raises(ConnectionRefusedError):
        ask(place / "a")
    assert [one["open"] for one in manager.show("web")["sockets"]] == [False]


def test_sockets_belong_to_the_managers_network(manage: Manage, port: int) -> None:
    if os.geteuid():
        pytest.skip("root is needed")
    manager = manage({"web": python(SERVER, f'sockets = "tcp:127.0.0.1:{port}"', 'network = "none"')})
    manager.await_line("web", "given")
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        assert client.recv(100).decode().endswith("hello\n")


# -- on demand ---------------------------------------------------------------------------------------------------------

LAZY = 'activation = "on-demand"\n'


def test_the_first_connection_starts_the_service_and_is_served(manage: Manage, place: Path) -> None:
    manager = manage({"web": python(SERVER, f'{LAZY}sockets = "unix:{place}/a"')})
    waiting = manager.settle("web")
    assert (waiting["state"], waiting["up"], waiting["pid"]) == ("waiting", True, None)
    assert waiting["awaits"] == [f"unix:{place}/a"]
    assert f"waits for unix:{place}/a" in manager.ctl("status").stdout
    assert f"waits for unix:{place}/a" in manager.ctl("why", "web").stdout
    assert manager.ctl("status", "web").returncode == 0
    assert ask(place / "a").endswith("hello")
    running = manager.show("web")
    assert running["state"] == "running"
    assert (running["cause"]["who"], running["history"][-2]["who"]) == ("supervisor", "socket")
    assert running["history"][-2]["detail"] == f"something has come to unix:{place}/a"


def test_it_listens_again_when_it_ends_and_none_who_connects_is_lost(manage: Manage, place: Path) -> None:
    manager = manage({"web": python(SERVER, f'{LAZY}sockets = "unix:{place}/a"')})
    manager.settle("web")
    pids = [ask(place / "a", "end").split()[0] for _ in range(12)]
    assert len(set(pids)) == 12
    waiting = manager.until("web", lambda web: web["awaits"] != [])
    assert (waiting["last_exit"], waiting["failure"], waiting["restarts"]) == ("exited 0", None, 0)


def test_a_datagram_starts_a_service(manage: Manage, port: int) -> None:
    script = "import socket; print('got', socket.socket(fileno=3).recv(100).decode(), flush=True)"
    manager = manage({"web": python(script, f'{LAZY}sockets = "udp:127.0.0.1:{port}"')})
    manager.settle("web")
    for number in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"datagram %d" % number, ("127.0.0.1", port))
        manager.await_line("web", f"got datagram {number}")


def test_what_is_written_to_a_fifo_starts_a_service(manage: Manage, place: Path) -> None:
    manager = manage({"web": sh("read word <&3; echo got $word", rest=f'{LAZY}sockets = "fifo:{place}/f"')})
    manager.settle("web")
    (place / "f").write_text("something\n")
    manager.await_line("web", "got something")


def test_dependents_need_not_wait_for_a_service_that_listens(manage: Manage, place: Path) -> None:
    cards = {
        "db": python(SERVER, f'{LAZY}enabled = false\nsockets = "unix:{place}/a"'),
        "web": python("import time; print('up', flush=True); time.sleep(10**6)", 'requires = ["db"]'),
    }
    manager = manage(cards)
    assert manager.settle("web")["state"] == "running"
    assert manager.settle("db")["state"] == "waiting"
    ask(place / "a", "fail")  # the dependency comes, fails and goes
    db = manager.until("db", lambda db: db["last_exit"] == "exited 3" and db["state"] == "waiting")
    assert db["up"]
    assert db["failure"]["reason"] == "exit-code"
    assert manager.show("web")["restarts"] == 0
    assert manager.show("web")["state"] == "running"
    assert manager.call("Stop", labels=["db"], force=False)["results"][0]["result"] == "dependents"


def test_a_stop_ends_the_listening_and_a_start_begins_it(manage: Manage, place: Path) -> None:
    manager = manage({"web": python(SERVER, f'{LAZY}sockets = "unix:{place}/a"')})
    manager.settle("web")
    assert manager.call("Stop", labels=["web"], force=False)["results"][0]["result"] == "done"
    with pytest.raises(ConnectionRefusedError):
        ask(place / "a")
    assert manager.call("Start", labels=["web"])["results"][0]["result"] == "done"
    assert manager.show("web")["state"] == "waiting"
    assert manager.call("Start", labels=["web"])["results"][0]["result"] == "already"
    ask(place / "a")
    manager.call("Stop", labels=["web"], force=False)  # of the running one: both, the process and the listening
    with pytest.raises(ConnectionRefusedError):
        ask(place / "a")


def test_a_restart_starts_one_that_listens(manage: Manage, place: Path) -> None:
    manager = manage({"web": python(SERVER, f'{LAZY}sockets = "unix:{place}/a"')})
    manager.settle("web")
    assert manager.call("Restart", labels=["web"])["results"][0]["state"] == "running"
    assert manager.show("web")["history"][-2]["detail"] == "started by hand"


def test_who_ends_without_accepting_is_given_up(manage: Manage, place: Path) -> None:
    limit = (
        "[activation]\nwhen = 'on-demand'\ntrigger_limit = {interval = '1h'}\n"  # 2 s are too short for a busy machine
    )
    manager = manage({"web": sh("exit 0", rest=f'sockets = "unix:{place}/a"\n{limit}')})
    manager.settle("web")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place / "a"))
        failed = manager.until("web", lambda web: web["state"] == "failed")
        assert failed["failure"]["reason"] == "trigger-limit"
        assert failed["failure"]["detail"] == "trigger-limit: 20 starts in 3600 s"
        assert "before it ends" in failed["failure"]["hint"]
        assert [one["open"] for one in failed["sockets"]] == [False]
        client.settimeout(10)
        with pytest.raises(ConnectionResetError):  # who waited in the queue is not left waiting
            client.recv(1)
    assert manager.call("Start", labels=["web"])["results"][0]["result"] == "done"


def test_who_fails_without_accepting_meets_the_start_limit(manage: Manage, place: Path) -> None:
    limit = "[activation]\nwhen = 'on-demand'\ntrigger_limit = {times = 0}\n"
    keep = "[supervision.rate_limit]\nstarts = 4\n"
    manager = manage({"web": sh("exit 3", rest=f'sockets = "unix:{place}/a"\n{limit}') + keep})
    manager.settle("web")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place / "a"))
        failed = manager.until("web", lambda web: web["state"] == "failed")
    assert failed["failure"]["reason"] == "start-limit"


def test_its_restart_policy_makes_it_back_off_with_its_socket_open(manage: Manage, place: Path) -> None:
    keep = '[supervision]\nrestart = "on-failure"\ninitial = "1h"\nmax = "1h"\n'
    manager = manage({"web": python(SERVER, f'{LAZY}sockets = "unix:{place}/a"') + keep})
    manager.settle("web")
    ask(place / "a", "fail")
    backoff = manager.until("web", lambda web: web["state"] == "backoff")
    assert backoff["sockets"][0]["open"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(place / "a"))  # it waits in the queue
        client.sendall(b"hello")
        manager.call("Start", labels=["web"])
        assert client.recv(100).decode().endswith("hello\n")


def test_a_file_that_cannot_be_waited_for_is_an_error(manage: Manage, place: Path) -> None:
    (place / "plain").write_text("x")
    manager = manage({"web": sh("exit 0", rest=f'{LAZY}sockets = "special:{place}/plain"')})
    failure = manager.settle("web")["failure"]
    assert (failure["errno_name"], failure["field"]) == ("EPERM", "sockets")
    assert "epoll(7)" in failure["hint"]


def test_stdio_can_be_the_socket(manage: Manage, place: Path) -> None:
    script = "import os, socket; given = os.environ.get('LISTEN_FDS'), os.path.exists('/proc/self/fd/3')\n"
    script += "socket.socket(fileno=0).accept()[0].sendall(repr(given).encode())"
    card = python(script, f'{LAZY}sockets = "unix:{place}/a"', '[soma.stdio]\nstdin = "socket"')
    manage({"web": card}).settle("web")
    assert ask(place / "a") == "(None, False)"


# -- a process for each connection -------------------------------------------------------------------------------------

EACH = 'activation = "per-connection"\n'


def test_each_connection_gets_a_process(manage: Manage, port: int) -> None:
    script = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid())
one = socket.socket(fileno=3)
one.sendall(" ".join(os.environ[n] for n in ("LISTEN_FDS", "LISTEN_FDNAMES", "REMOTE_ADDR", "REMOTE_PORT")).encode())
print("told", flush=True)
one.recv(1)
"""
    manager = manage({"web": python(script, f'{EACH}sockets = "{port}"')})
    up = manager.settle("web")
    assert (up["state"], up["pid"], up["connected"]["accepted"]) == ("running", None, 0)
    clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(3)]
    for client in clients:
        assert client.recv(100).decode() == f"1 connection 127.0.0.1 {client.getsockname()[1]}"
    shown = manager.until("web", lambda web: all(each["pid"] for each in web["connections"]))
    assert [each["peer"] for each in shown["connections"]] == [
        f"127.0.0.1:{client.getsockname()[1]}" for client in clients
    ]
    status = manager.ctl("status", "web").stdout
    assert "Connections: 3 of at most 64; 3 accepted" in status
    rows = manager.json("sockets")
    assert (rows[0]["listen"], rows[0]["connections"]) == (f"tcp:{port}", 3)
    assert f"tcp:{port}" in manager.ctl("list-sockets").stdout
    for client in clients:
        client.close()
    manager.until("web", lambda web: not web["connections"])
    assert manager.lines("web") == ["told"] * 3


def test_inetd_style_programs_are_served(manage: Manage, place: Path) -> None:
    stdio = '[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    manager = manage({"echo": sh("exec cat", stdio, f'{EACH}sockets = "unix:{place}/a"')})
    manager.settle("echo")
    for word in ("one", "two"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(place / "a"))
            client.sendall(word.encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100).decode() == word
            assert client.recv(100) == b""


def test_a_connection_that_fails_is_told_and_the_next_is_served(manage: Manage, place: Path) -> None:
    stdio = '[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    manager = manage({"web": sh("read word; echo $word; exit $word", stdio, f'{EACH}sockets = "unix:{place}/a"')})
    manager.settle("web")
    assert ask(place / "a", "3\n") == "3"
    assert ask(place / "a", "0\n") == "0"
    shown = manager.until("web", lambda web: web["connected"]["failed"] == 1 and not web["connections"])
    assert (shown["state"], shown["connected"]["accepted"]) == ("running", 2)
    assert "exited 3" in shown["connected"]["last_failure"]


def test_more_connections_than_may_be_wait_until_one_ends(manage: Manage, place: Path) -> None:
    stdio = '[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    limit = '[activation]\nwhen = "per-connection"\nmax_connections = 2\n'
    manager = manage({"web": sh("echo up; exec cat", stdio, f'sockets = "unix:{place}/a"\n{limit}')})
    manager.settle("web")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.settimeout(30)
        client.connect(str(place / "a"))
    assert [client.recv(10) for client in clients[:2]] == [b"up\n", b"up\n"]
    assert len(manager.show("web")["connections"]) == 2
    clients[0].close()
    assert clients[2].recv(10) == b"up\n"
    for client in clients:
        client.close()


def test_one_source_may_have_so_many(manage: Manage, place: Path) -> None:
    stdio = '[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    limit = '[activation]\nwhen = "per-connection"\nmax_connections_per_source = 1\n'
    manager = manage({"web": sh("echo up; exec cat", stdio, f'sockets = "unix:{place}/a"\n{limit}')})
    manager.settle("web")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for client in (first, second):
            client.settimeout(30)
            client.connect(str(place / "a"))
        assert first.recv(10) == b"up\n"
        assert second.recv(10) == b""
        assert manager.show("web")["connected"]["refused"] == 1


@pytest.mark.parametrize(
    "heeds", ["exec cat", "trap '' TERM; while :; do read x || sleep 1; done"], ids=["heeds", "deaf"]
)
def test_a_stop_ends_every_connection(manage: Manage, place: Path, heeds: str) -> None:
    stdio = '[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    keep = '\n[supervision]\nstop_timeout = "200ms"\n'
    manager = manage({"web": sh(f"echo up; {heeds}", stdio, f'{EACH}sockets = "unix:{place}/a"') + keep})
    manager.settle("web")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(place / "a"))
        assert client.recv(10) == b"up\n"
        assert manager.call("Stop", labels=["web"], force=False)["results"][0]["result"] == "done"
        assert client.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        ask(place / "a")


def test_too_many_connections_in_a_short_time_are_a_failure(manage: Manage, place: Path) -> None:
    limit = '[activation]\nwhen = "per-connection"\ntrigger_limit = {times = 3, interval = "1h"}\n'
    manager = manage({"web": sh("exit 0", rest=f'sockets = "unix:{place}/a"\n{limit}')})
    manager.settle("web")
    for _ in range(4):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(place / "a"))
    failed = manager.until("web", lambda web: web["state"] == "failed")
    assert failed["failure"]["detail"] == "trigger-limit: 3 starts in 3600 s"
    assert failed["connected"] is None


@needs_root
def test_each_connection_has_the_whole_body(manage: Manage, place: Path) -> None:
    stdio = 'namespaces = ["pid", "mount"]\nrun_as = "nobody"\n[soma.stdio]\nstdin = "socket"\nstdout = "socket"'
    manager = manage({"web": sh("echo $$ $(id -un)", stdio, f'{EACH}sockets = "unix:{place}/a"')})
    manager.settle("web")
    assert ask(place / "a") == "2 nobody"


# -- the store of descriptors ------------------------------------------------------------------------------------------

STORES = """
import array, os, socket, sys, time
given = int(os.environ.get("LISTEN_FDS", "0"))
print("given", given, os.environ.get("LISTEN_FDNAMES"), flush=True)
if given == 1:
    state = os.memfd_create("state")
    os.write(state, b"remembered")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.connect(os.environ["NOTIFY_SOCKET"])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [state]))]
    notify.sendmsg([b"FDSTORE=1\\nFDNAME=state"], rights)
    print("stored", flush=True)
else:
    print("found", os.pread(4, 100, 0).decode(), flush=True)
time.sleep(10**6)
"""


@pytest.mark.parametrize("preserve", [True, False])
def test_what_a_service_stores_is_given_back_at_its_next_start(manage: Manage, place: Path, *, preserve: bool) -> None:
    rest = f'sockets = "unix:{place}/a"\nfd_store_max = 3\nfd_store_preserve = {str(preserve).lower()}'
    manager = manage({"web": python(STORES, rest)})
    manager.until("web", lambda web: web["stored"] != [])
    assert "Stored: 1 descriptor: state (/memfd:state (deleted))" in manager.ctl("status", "web").stdout
    manager.call("Restart", labels=["web"])
    manager.await_line("web", "found remembered")
    assert "given 2 web:state" in manager.lines("web")
    manager.call("Stop", labels=["web"], force=False)
    assert [each["name"] for each in manager.show("web")["stored"]] == (["state"] if preserve else [])


# -- real daemons ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/usr/bin/dbus-daemon").exists(), reason="no dbus-daemon here")
def test_a_daemon_of_debian_finds_its_socket(manage: Manage, place: Path) -> None:
    words = ["--session", "--nofork", "--nosyslog", "--nopidfile", "--address=systemd:"]
    card = f"""
activation = "on-demand"
sockets = "unix:{place}/bus"
[payload]
exec = "/usr/bin/dbus-daemon"
argv = {json.dumps(words)}
"""
    manager = manage({"dbus": card})
    assert manager.settle("dbus")["state"] == "waiting"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(place / "bus"))
        client.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        assert client.recv(100).startswith(b"OK ")
    manager.until("dbus", lambda dbus: dbus["state"] == "running")


def test_who_waits_for_a_milestone_has_it_once_its_sockets_listen(manage: Manage, place: Path) -> None:
    lazy = python(SERVER, f'{LAZY}sockets = ["unix:{place}/lazy.sock"]\n')
    manager = manage({"lazy": lazy, "a": sh("exec sleep infinity", rest='waits_for = ["lazy"]')})
    assert manager.settle("a")["state"] == "running"
    assert manager.show("lazy")["state"] == "waiting"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[activation]\nidle_timeout = '1m'\n", "activation.idle_timeout"),
        ("[activation]\nwhen = 'per-connection'\nidle_timeout = '1m'\n", "activation.idle_timeout"),
        ("[activation]\nwhen = 'on-demand'\nidle_timeout = 'x'\n", "activation.idle_timeout"),
    ],
)
def test_only_who_is_on_demand_may_be_idle(text: str, field: str) -> None:
    (problem,) = load_text(Path("a.toml"), f'sockets = ["unix:/run/x"]\n{text}{sh("true")}').problems
    assert problem.field == field


def test_idleness_is_told_by_connections_alone() -> None:
    text = "sockets = ['tcp:80', 'udp:80']\nactivation = {when = 'on-demand', idle_timeout = '1m'}\n" + sh("true")
    (problem,) = load_text(Path("a.toml"), text).problems
    assert (problem.field, problem.line) == ("sockets.1.listen", 1)
    assert "udp:80 has no connections to tell idleness by" in str(problem)


def test_who_is_idle_stops_and_who_comes_next_starts_it_again(manage: Manage, place: Path) -> None:
    idle = "activation = {when = 'on-demand', idle_timeout = '200ms'}\n"
    manager = manage({"web": python(SERVER, f'{idle}sockets = ["unix:{place}/a"]')})
    manager.until("web", lambda web: web["sockets"][0]["open"])
    told = manager.ctl("status", "web").stdout
    assert f"unix:{place}/a  (on-demand, stops after" in told
    assert ask(place / "a").endswith("hello")
    waiting = manager.until("web", lambda web: web["state"] == "waiting" and len(web["history"]) > 5)
    assert waiting["cause"]["detail"].startswith("idle: no connection for 0.2 s: ")
    assert (waiting["failure"], waiting["restarts"], waiting["up"]) == (None, 0, True)
    assert ask(place / "a").endswith("hello")
