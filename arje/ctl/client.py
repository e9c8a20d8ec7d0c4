"""A Varlink client: one connection, one call after the other."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from typing import Any, Final

INTERFACE: Final = "io.arje.Manager"


class Unreachable(Exception):
    """No manager answers on the socket. The text says which socket and what to do."""


class TimedOut(Exception):
    """The manager took longer than the user wanted to wait; the request stays with it."""


class CallError(Exception):
    """The manager's error reply: ``name`` without the interface, and its parameters."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(f"{name} {parameters}")
        self.name = name.rpartition(".")[2]
        self.parameters = parameters


class Client:
    """A connection to a manager. Raises Unreachable when there is none; ``timeout`` in seconds, None for no end."""

    def __init__(self, path: str | PathLike[str], timeout: float | None = None) -> None:
        self.path = path
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            hint = {
                FileNotFoundError: "is a manager running? Start one with: arje --user",
                ConnectionRefusedError: "the manager has gone; start it again",
                PermissionError: "only root, its own user and the group arje may ask it",
            }.get(type(error), "name the socket with --socket")
            raise Unreachable(f"no manager on {path}: {error.strerror or error}; {hint}") from error

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the manager and return its parameters. Raises CallError, TimedOut, Unreachable."""
        self._send({"method": f"{INTERFACE}.{method}", "parameters": parameters})
        return self._receive()[0]

    def follow(self, method: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield the replies of a streaming method until it ends. Raises as :meth:`call` does."""
        self._send({"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": True})
        while True:
            reply, more = self._receive()
            if not more:
                return
            yield reply

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\0")
        except TimeoutError:
            raise TimedOut from None
        except OSError as error:
            raise Unreachable(f"the manager on {self.path} hung up: {error.strerror}") from error

    def _receive(self) -> tuple[dict[str, Any], bool]:
        while b"\0" not in self._buffer:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise TimedOut from None
            except OSError as error:
                raise Unreachable(f"the manager on {self.path} hung up: {error.strerror}") from error
            if not data:
                raise Unreachable(f"the manager on {self.path} hung up")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        reply = json.loads(message)
        if "error" in reply:
            raise CallError(reply["error"], reply.get("parameters") or {})
        return reply.get("parameters") or {}, reply.get("continues") is True

    def await_end(self) -> None:
        """Wait until the manager hangs up. Raises TimedOut."""
        try:
            while self._socket.recv(65536):
                pass
        except TimeoutError:
            raise TimedOut from None
        except OSError:
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
