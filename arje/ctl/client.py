"""A Varlink client: one connection, one call after the other."""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_STREAM, socket  # what socket adds costs arjectl as much as all of its own modules

from arje.ctl import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from typing import Any, Final

    from arje.ctl.ssh import Link

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
    """A connection to a manager. Raises Unreachable when there is none; ``timeout`` in seconds, None for no end.

    ``patience``: a number of seconds, and what is to be done each time that an answer has not come for so long.
    """

    def __init__(self, path: str | PathLike[str], timeout: float | None = None) -> None:
        self.path = path
        self.patience: tuple[float, Callable[[], None]] | None = None
        self._timeout = timeout
        self._buffer = bytearray()
        self._link: Link | None = None
        if str(path).startswith("ssh:"):
            from arje.ctl.ssh import Link

            self._link = Link(str(path))
            self._socket = self._link.sock
            return
        self._socket = socket(AF_UNIX, SOCK_STREAM)
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
        self.begin(method, **parameters)
        while True:
            reply, more = self._receive()
            if not more:
                return
            yield reply

    def begin(self, method: str, **parameters: Any) -> None:
        """Ask for the replies of a streaming method; :meth:`waiting` returns them. Raises as :meth:`call` does."""
        self._send({"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": True})

    def fileno(self) -> int:
        """Return the descriptor that is readable when something comes."""
        return self._socket.fileno()

    def waiting(self) -> list[dict[str, Any]]:
        """Read once, and return every reply of a stream that is whole by now. Raises as :meth:`call` does."""
        self._buffer += self._read()
        found = []
        while b"\0" in self._buffer:
            found.append(self._receive()[0])
        return found

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(wire.write(request).encode() + b"\0")
        except TimeoutError:
            raise TimedOut from None
        except OSError as error:
            raise self._hung_up(error) from error

    def _receive(self) -> tuple[dict[str, Any], bool]:
        place = self._buffer.find(0)
        while place < 0:
            data = self._read()
            place = data.find(0)
            place = place + len(self._buffer) if place >= 0 else -1
            self._buffer += data
        message = bytes(self._buffer[:place])
        del self._buffer[: place + 1]
        reply = wire.read(message.decode())
        if "error" in reply:
            raise CallError(reply["error"], reply.get("parameters") or {})
        return reply.get("parameters") or {}, reply.get("continues") is True

    def await_end(self) -> None:
        """Wait until the manager hangs up. Raises TimedOut."""
        try:
            while True:
                self._read()
        except Unreachable:
            return

    def _read(self) -> bytes:
        """Return what comes next; whoever has no patience is called meanwhile. Raises TimedOut, Unreachable."""
        left = self._timeout
        while True:
            step, look = self.patience or (left, None)
            if look is not None and left is not None and step is not None:
                step = min(step, left)
            self._socket.settimeout(step)
            try:
                data: bytes = self._socket.recv(1 << 20)
            except TimeoutError:
                if left is not None and step is not None:
                    left -= step
                if look is None or (left is not None and left <= 0):
                    raise TimedOut from None
                look()
                continue
            except OSError as error:
                raise self._hung_up(error) from error
            if not data:
                raise self._hung_up()
            return data

    @property
    def raw(self) -> socket:
        """The connection itself."""
        return self._socket

    def _hung_up(self, error: OSError | None = None) -> Unreachable:
        if self._link is not None:
            return Unreachable(f"{self._link.host}: {self._link.why()}")
        return Unreachable(f"the manager on {self.path} hung up{f': {error.strerror}' if error else ''}")

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
        self._socket.close()
