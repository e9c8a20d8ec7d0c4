"""One look at a service from outside: does it take a connection, answer a GET, does a command beside it end well.

A service on the manager's network is asked from the loop. One with a network of its own is asked from inside: a small
program of arje's own enters its user and net namespace, and nothing else of it, as its root may hold no Python.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje.card.card import Card
from arje.card.command import Command
from arje.card.probes import Health, Readiness
from arje.incarnate import beside
from arje.supervisor import command
from arje.supervisor.host import Living

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_MOST: Final = 4096  # bytes of an answer that are looked at
#: Asks from inside another network: address, port, and what to send; prints the first bytes that come back.
_INSIDE: Final = """
import socket, sys
host, port, seconds, request = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4].encode()
with socket.create_connection((host, port), seconds) as connection:
    if request:
        connection.sendall(request)
        line = connection.makefile("rb").readline(200)
        words = line.split()
        sys.exit(0 if len(words) > 1 and words[0].startswith(b"HTTP/") and b"200" <= words[1] < b"400" else line.decode(
            errors="replace").strip() or "it says nothing")
"""


async def look(supervisor: Supervisor, card: Card, living: Living, probe: Readiness | Health, role: str) -> str:
    """Look once, for at most the probe's timeout. Returns why it is not well; empty when it is."""
    try:
        with trio.fail_after(probe.timeout):
            return await _look(supervisor, card, living, probe, role)
    except trio.TooSlowError:
        return f"{_words(probe)}: no answer in {probe.timeout:g} s"
    except OSError as error:
        return f"{_words(probe)}: {error.strerror or error}"


def _words(probe: Readiness | Health) -> str:
    return probe.http or probe.unix or probe.tcp or str(probe.exec)


async def _look(supervisor: Supervisor, card: Card, living: Living, probe: Readiness | Health, role: str) -> str:
    if probe.exec is not None:
        ended = await command.run(supervisor, card, probe.exec, role, running=living, seconds=probe.timeout)
        return "" if ended.ok else str(ended)
    return await supervisor.host.heed(f"{role} of {card.label}", partial(_ask, supervisor, card, living, probe, role))


async def _ask(supervisor: Supervisor, card: Card, living: Living, probe: Readiness | Health, role: str) -> str:
    if probe.unix:
        await _connect_unix(living, probe.unix)
        return ""
    host, port, path = _address(probe.http or probe.tcp)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n" if probe.http else ""
    if beside.has_own_network(living.plan):
        return await _from_inside(supervisor, card, living, (host, port, request), probe, role)
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        if not request:
            return ""
        await stream.send_all(request.encode())
        answer = b""
        while b"\n" not in answer and len(answer) < _MOST and (more := await stream.receive_some(_MOST)):
            answer += more
    return _judged(answer, probe)


def _judged(answer: bytes, probe: Readiness | Health) -> str:
    """Judge the first line of an answer (RFC 9112): ``HTTP/1.1 200 OK``."""
    first = answer.partition(b"\n")[0].decode(errors="replace").strip()
    words = first.split()
    if len(words) > 1 and words[0].startswith("HTTP/") and "200" <= words[1] < "400":
        return ""
    return f"{probe.http}: {first[:80] or 'it says nothing'}"


def _address(text: str) -> tuple[str, int, str]:
    """Return host, port and path of ``127.0.0.1:80``, ``[::1]:80``, ``80`` or ``http://host:port/path``."""
    web = text.startswith("http://")
    place, slash, path = text.removeprefix("http://").partition("/")
    if place.isdecimal() and not web:
        return "127.0.0.1", int(place), "/"
    host, port = place, "80"
    if not place.endswith("]") and ":" in place:
        host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port), slash + path or "/"


async def _connect_unix(living: Living, path: str) -> None:
    """Connect to a socket by its path in the service's root (proc_pid_root(5)), or in the abstract namespace (unix(7))."""
    connection = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        if path.startswith("@"):
            await connection.connect("\0" + path[1:])
            return
        root = os.open(f"/proc/{living.incarnation.pid}/root", os.O_PATH | os.O_CLOEXEC)
        try:  # a short way to it, as a socket's path has at most 107 bytes
            await connection.connect(f"/proc/self/fd/{root}{path}")
        finally:
            os.close(root)


async def _from_inside(
    supervisor: Supervisor,
    card: Card,
    living: Living,
    target: tuple[str, int, str],
    probe: Readiness | Health,
    role: str,
) -> str:
    host, port, request = target
    words = ("-I", "-S", "-c", _INSIDE, host, str(port), str(probe.timeout), request)
    asks = Command(exec=sys.executable, argv=words)
    ended = await command.run(supervisor, card, asks, role, running=living, seconds=probe.timeout, network_only=True)
    return "" if ended.ok else f"{_words(probe)}: asked from inside: {ended.exit or ended.trouble}"
