"""A unix socket that a scraper asks by HTTP: GET /metrics, one answer, the end of the connection (``--metrics-socket``).

As much of HTTP/1.1 (RFC 9112) as that takes. A client has :data:`_PATIENCE` to ask and to take its answer, and
:data:`_LARGEST` bytes to ask in; there are never more than :data:`_CONNECTIONS` of one uid. One answer is made at a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from arje import log
from arje.control.exposition import OPENMETRICS, PROMETHEUS, openmetrics, prometheus
from arje.control.server import open_to_group
from arje.supervisor.metrics import Family

LOG = log.logger()
_LARGEST: Final = 8192
_PATIENCE: Final = 10.0  # seconds
_CONNECTIONS: Final = 8
_REQUEST: Final = re.compile(rb"([A-Z]{1,16}) (\S{1,2000}) HTTP/1\.[01]")
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}

#: Returns every family of metrics.
Ask = Callable[[], Awaitable[list[Family]]]


async def serve_metrics(path: Path, ask: Ask, *, task_status: trio.TaskStatus[None]) -> None:
    """Listen on a socket until cancelled. Raises OSError when it cannot be bound, or something else has its name."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "something that is no socket has this name", str(path))
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o177)  # nobody connects between bind and chmod
        try:
            sock.bind(str(path))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.umask(before)
        open_to_group(path)
        sock.listen(64)
        open_of: Counter[int] = Counter()
        turn = trio.Lock()

        async def handle(stream: trio.SocketStream) -> None:
            await _serve(stream, ask, open_of, turn)

        task_status.started()
        await trio.serve_listeners(handle, [trio.SocketListener(trio.socket.from_stdlib_socket(sock))])
    finally:
        sock.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


async def _serve(stream: trio.SocketStream, ask: Ask, open_of: Counter[int], turn: trio.Lock) -> None:
    """Answer one request. Whatever a client does, or a failure of the answer, ends only this connection."""
    uid = struct.unpack("iII", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    async with stream:
        if open_of[uid] >= _CONNECTIONS:
            return
        open_of[uid] += 1
        try:
            with trio.move_on_after(_PATIENCE):
                head = await _head(stream)
            if head is None:
                return
            answer = await _answer(head, ask, turn)
            with trio.move_on_after(_PATIENCE):
                await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except Exception:  # whatever a client can cause stays with it
            LOG.exception("a scrape failed", uid=uid)
        finally:
            open_of[uid] -= 1
            if not open_of[uid]:
                del open_of[uid]


async def _head(stream: trio.SocketStream) -> bytes | None:
    """Return a request up to its empty line, or as much as is too much; None when the client has nothing to ask."""
    data = b""
    while b"\r\n\r\n" not in data and b"\n\n" not in data and len(data) <= _LARGEST:
        more = await stream.receive_some(4096)
        if not more:
            return data or None
        data += more
    return data


async def _answer(head: bytes, ask: Ask, turn: trio.Lock) -> bytes:
    if len(head) > _LARGEST:
        return _reply(431, "at most 8192 bytes\n")
    line, _, fields = head.partition(b"\n")
    found = _REQUEST.fullmatch(line.rstrip(b"\r"))
    if found is None:
        return _reply(400, "no request of HTTP/1.1\n")
    if found[1] not in (b"GET", b"HEAD"):
        return _reply(405, "GET alone\n", more="Allow: GET, HEAD\r\n")
    if found[2].partition(b"?")[0] not in (b"/", b"/metrics"):
        return _reply(404, "it is /metrics\n")
    new = b"application/openmetrics-text" in fields.lower()
    try:
        async with turn:
            families = await ask()
    except Exception:  # a figure that cannot be had is a bug of ours, and ends one answer, not the manager
        LOG.exception("no metrics")
        return _reply(500, "arje's log says why\n")
    text = openmetrics(families) if new else prometheus(families)
    reply = _reply(200, text, OPENMETRICS if new else PROMETHEUS)
    return reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if found[1] == b"HEAD" else reply


def _reply(status: int, text: str, kind: str = "text/plain; charset=utf-8", more: str = "") -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + body
