"""Serving Varlink: one task per connection, bounded in number and in message size; garbage ends its own connection only.

Who calls is what SO_PEERCRED says (unix(7)). Reading is open to whoever may connect: our own uid, root, and the group
``arje`` where there is one. Changing needs uid 0 or ours.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import trio

import arje
from arje import log
from arje.control.call import Call, InvalidParameter
from arje.control.handlers import METHODS, STREAMS, Door, Method, Stream, command_of
from arje.errors import BadReport, CannotEnd, CardError, NoSuchService, NotPid1, NotRunning, OrderingError
from arje.incarnation import as_json

LOG = log.logger()
INTERFACE: Final = "io.arje.Manager"
SERVICE: Final = "org.varlink.service"
READERS: Final = "arje"  # members of this group may look
LARGEST: Final = 1024 * 1024  # bytes of one request
_CONNECTIONS: Final = 64  # of one uid: nobody locks the others out
_PATIENCE: Final = 30.0  # seconds for a client to take an answer

Send = Callable[[dict[str, Any]], Awaitable[None]]


class VarlinkError(Exception):
    """An error reply: its name and parameters."""

    def __init__(self, name: str, **parameters: Any) -> None:
        super().__init__(name)
        self.name = name
        self.parameters = parameters


async def serve(path: Path, door: Door, *, task_status: trio.TaskStatus[None]) -> None:
    """Listen on a socket until cancelled. Raises OSError when the socket cannot be bound."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # the manager's lock says that nobody listens on it any more
        before = os.umask(0o177)  # nobody connects between bind and chmod
        sock.bind(str(path))
        os.umask(before)
        open_to_group(path)
        sock.listen(128)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        open_of: Counter[int] = Counter()

        async with trio.open_nursery() as nursery:

            async def handle(stream: trio.SocketStream) -> None:
                await Connection(stream, door, nursery).run(open_of)

            task_status.started()
            await trio.serve_listeners(handle, [listener])
    finally:
        sock.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def open_to_group(path: Path) -> None:
    """Let the members of the group ``arje`` read, where the system's administrator has made one.

    Not everybody: what services write and their command lines may hold secrets.
    """
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(READERS).gr_gid)
        path.chmod(0o660)


class Connection:
    """One client. What it asks for and does not wait for runs in ``nursery``."""

    def __init__(self, stream: trio.SocketStream, door: Door, nursery: trio.Nursery) -> None:
        self._stream = stream
        self._door = door
        self._nursery = nursery
        self._buffer = b""
        raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._pid, self._uid, _ = struct.unpack("iII", raw)
        # A client that our pid namespace does not hold has pid 0 (pid_namespaces(7)): who runs arje in a container.
        known = f"pid {self._pid}" if self._pid else "from outside of arje's pid namespace"
        self._who = f"uid {self._uid} ({', '.join(filter(None, (_command(self._pid), known)))})"

    async def run(self, open_of: Counter[int]) -> None:
        """Answer requests until the client leaves. A failure of the connection or of a handler ends only this.

        ``open_of`` counts the connections of each uid.
        """
        async with self._stream:
            if open_of[self._uid] >= _CONNECTIONS:
                return
            open_of[self._uid] += 1
            try:
                await self._requests()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # the client is gone, or does not read
            except Exception:
                LOG.exception("a request failed", uid=self._uid, pid=self._pid)
            finally:
                open_of[self._uid] -= 1

    async def _requests(self) -> None:
        while True:
            message, nul, rest = self._buffer.partition(b"\0")
            if not nul:
                if len(self._buffer) > LARGEST:
                    return
                data = await self._stream.receive_some(65536)
                if not data:
                    return
                self._buffer += data
                continue
            self._buffer = rest
            try:
                request = json.loads(message)
            except (ValueError, RecursionError):
                return
            if not isinstance(request, dict) or not isinstance(request.get("method"), str):
                return
            await self._answer(request)
            await trio.lowlevel.checkpoint()  # a thousand requests in one packet are not served in one go

    async def _answer(self, request: dict[str, Any]) -> None:
        more, oneway = request.get("more") is True, request.get("oneway") is True
        reply: dict[str, Any]
        try:
            reply = {"parameters": await self._call(request, more)}
        except VarlinkError as error:
            reply = {"error": error.name, "parameters": error.parameters}
        except NoSuchService as error:
            problems = self._door.problems_of(error.label)
            wrong = {"label": error.label, "nearest": error.nearest, "problems": problems}
            reply = {"error": f"{INTERFACE}.NoSuchService", "parameters": wrong}
        except NotRunning as error:
            reply = {"error": f"{INTERFACE}.NotRunning", "parameters": {"label": error.label, "state": error.state}}
        except CardError as error:
            problems = [as_json(problem) for problem in error.problems]
            reply = {"error": f"{INTERFACE}.CannotSet", "parameters": {"problems": problems}}
        except NotPid1 as error:
            reply = {"error": f"{INTERFACE}.NotPid1", "parameters": {"what": error.what, "pid": error.pid}}
        except CannotEnd as error:
            reply = {"error": f"{INTERFACE}.CannotEnd", "parameters": {"way": error.way, "why": error.why}}
        except BadReport as error:
            reply = {"error": f"{INTERFACE}.BadReport", "parameters": {"message": str(error)}}
        except OrderingError as error:
            reply = {"error": f"{INTERFACE}.Ordering", "parameters": {"message": str(error)}}
        except InvalidParameter as error:
            reply = {"error": f"{SERVICE}.InvalidParameter", "parameters": {"parameter": error.args[0]}}
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            raise  # the connection itself
        except Exception:
            LOG.exception("a request failed", uid=self._uid, pid=self._pid, method=request["method"])
            reply = {"error": f"{INTERFACE}.InternalError", "parameters": {"method": request["method"]}}
        if not oneway:
            await self._send(reply)

    async def _send(self, reply: dict[str, Any]) -> None:
        with trio.fail_after(_PATIENCE):
            await self._stream.send_all(json.dumps(reply).encode() + b"\0")

    async def _call(self, request: dict[str, Any], more: bool) -> dict[str, Any]:
        interface, _, name = request["method"].rpartition(".")
        parameters = request.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise InvalidParameter("parameters")
        if interface == SERVICE:
            return self._introspect(name, parameters)
        if interface != INTERFACE:
            raise VarlinkError(f"{SERVICE}.InterfaceNotFound", interface=interface)
        call = Call(self._who, parameters)
        if (stream := STREAMS.get(name)) is not None:
            return await self._stream_to(stream, call, more)
        method = METHODS.get(name)
        if method is None:
            raise VarlinkError(f"{SERVICE}.MethodNotFound", method=name)
        for parameter in parameters:
            if parameter not in method.parameters:
                raise InvalidParameter(parameter)
        if method.changes and self._uid not in (0, os.geteuid()):
            raise VarlinkError(f"{INTERFACE}.PermissionDenied", uid=self._uid)
        if name == "Run" and more:
            return await self._send_each(self._door.run_and_follow(**command_of(call)))
        if method.waits:
            return await self._waiting(method, call)
        if "wait" in method.parameters and not call.flag("wait", default=True):
            return await begin(self._nursery, method, self._door, call)
        return await method.run(self._door, call)

    async def _waiting(self, method: Method, call: Call) -> dict[str, Any]:
        """Run a method that may wait for long, but only as long as its client does."""
        reply: dict[str, Any] = {}
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            try:
                reply = await method.run(self._door, call)
            except Exception as error:
                failed = error  # raised below: out of the nursery it would come as a group
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return reply

    async def _listen(self, scope: trio.CancelScope) -> None:
        """End a wait when its client hangs up; what it says meanwhile is its next request."""
        with contextlib.suppress(trio.BrokenResourceError):
            while len(self._buffer) <= LARGEST:
                data = await self._stream.receive_some(65536)
                if not data:
                    break
                self._buffer += data
        scope.cancel()

    async def _stream_to(self, stream: Stream, call: Call, more: bool) -> dict[str, Any]:
        if not more:
            raise VarlinkError(f"{SERVICE}.ExpectedMore")
        self._door.services(call.labels(), full=False)  # an unknown label is an answer now, not silence
        for parameter in call.parameters:
            if parameter not in stream.parameters:
                raise InvalidParameter(parameter)
        return await self._send_each(_named(stream.name, stream.run(self._door, call)))

    async def _send_each(self, replies: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
        """Send each reply, until there is none any more or the client has gone."""
        gone: Exception | None = None
        async with contextlib.aclosing(replies) as each, trio.open_nursery() as nursery:  # type: ignore[type-var] # a generator
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                async for reply in each:
                    await self._send({"parameters": reply, "continues": True})
            except (trio.BrokenResourceError, trio.TooSlowError) as error:
                gone = error  # raised below: out of the nursery it would come as a group
            nursery.cancel_scope.cancel()
        if gone is not None:
            raise gone
        return {}

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End a stream when its client hangs up, or says anything more."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.receive_some(1)
        scope.cancel()

    def _introspect(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if name == "GetInfo":
            return {
                "vendor": "arje",
                "product": "arje",
                "version": arje.__version__,
                "url": "",
                "interfaces": [SERVICE, INTERFACE],
            }
        if name != "GetInterfaceDescription":
            raise VarlinkError(f"{SERVICE}.MethodNotFound", method=name)
        interface = Call(self._who, parameters).text("interface")
        if interface not in (SERVICE, INTERFACE):
            raise VarlinkError(f"{SERVICE}.InterfaceNotFound", interface=interface)
        return {"description": resources.files("arje.control").joinpath(f"{interface}.varlink").read_text()}


async def begin(nursery: trio.Nursery, method: Method, door: Door, call: Call) -> dict[str, Any]:
    """Begin what a method does, and answer: no results yet, unless it is over at once. Raises what it raises at once."""
    reply: dict[str, Any] = {"results": []}
    failed: list[Exception] = []
    answered = False

    async def run() -> None:
        try:
            reply.update(await method.run(door, call))
        except Exception as error:
            failed.append(error)
            if answered:
                LOG.exception("what somebody asked for has failed", who=call.who)

    nursery.start_soon(run)
    for _ in range(2):  # its first steps, to where it waits for something: labels are looked up there
        await trio.lowlevel.checkpoint()
    answered = True
    if failed:
        raise failed[0]
    return dict(reply)


async def _named(name: str, told: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
    async with contextlib.aclosing(told) as things:  # type: ignore[type-var] # a generator
        async for thing in things:
            yield {name: thing}


def _command(pid: int) -> str:
    """Return the name of a client's process for the causes that it makes; empty when it has gone, or is not ours to see."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""
