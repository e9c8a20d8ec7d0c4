"""Run a program in a sandbox from Python: ``run``, ``output`` and ``spawn``, as of subprocess, with a card's soma around.

::

    import arje
    arje.output(["id", "-u"], soma={"namespaces": ["user"]})   # b"0\\n"

What was granted and what not is in ``incarnation`` of every result. Everything belongs to the thread that calls (prctl(2):
a parent death signal follows the thread); processes are ended by ``close``, which ``with`` calls.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Self

from arje.card.card import Card
from arje.card.loader import card_of
from arje.card.payload import Native
from arje.card.soma import Soma
from arje.errors import ArjeError
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Degradation, Exit, Incarnation
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet

__all__ = ["PIPE", "Done", "Failed", "Process", "Sandbox", "TimedOut", "output", "run", "spawn"]

#: A pipe to us; as ``None`` is ours itself, and a number or a file is that one.
PIPE: Final = "pipe"
Stream = int | IO[bytes] | str | None
Command = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Body = Soma | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, what it said where that was asked for, and what isolation it had."""

    exit: Exit
    stdout: bytes
    stderr: bytes
    incarnation: Incarnation

    @property
    def returncode(self) -> int:
        """The exit code; for a signal its number, negative, as subprocess has it."""
        return self.exit.code if self.exit.kind == "exited" else -self.exit.code

    @property
    def degradations(self) -> tuple[Degradation, ...]:
        """What was asked for and not granted."""
        return self.incarnation.degradations


class Failed(ArjeError):
    """A command that was to end with 0 did not; ``done`` tells how it did."""

    def __init__(self, done: Done) -> None:
        super().__init__(f"{done.incarnation.label}: {done.exit}")
        self.done = done


class TimedOut(ArjeError):
    """A command was not done in time; it was killed, with all that it had started. What it had said is kept."""

    def __init__(self, seconds: float, stdout: bytes, stderr: bytes) -> None:
        super().__init__(f"not done in {seconds:g} s")
        self.stdout, self.stderr = stdout, stderr


class Process:
    """A running program. ``stdin``, ``stdout`` and ``stderr`` are our ends of its pipes, None where there is none."""

    def __init__(self, outcome: Outcome, ends: Sequence[IO[bytes] | None]) -> None:
        self._outcome = outcome
        self._exit: Exit | None = None
        self.stdin, self.stdout, self.stderr = ends
        self.incarnation = outcome.incarnation

    @property
    def pid(self) -> int:
        """Its pid as we see it."""
        return self.incarnation.pid

    def poll(self) -> Exit | None:
        """Return how it ended; None while it runs."""
        return self.wait_timeout(0)

    def wait(self) -> Exit:
        """Wait for its end and return how it ended. A pipe that nobody reads may keep it from ending: see communicate."""
        ended = self.wait_timeout(None)
        assert ended is not None
        return ended

    def wait_timeout(self, seconds: float | None) -> Exit | None:
        """Wait for its end, at most so many seconds; return how it ended, None when it has not."""
        if self._exit is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._outcome.pidfd, selectors.EVENT_READ)
                if not selector.select(seconds):
                    return None
            info = os.waitid(os.P_PIDFD, self._outcome.pidfd, os.WEXITED)
            assert info is not None
            self._exit = self._outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))
        return self._exit

    def send_signal(self, number: int) -> None:
        """Send the program a signal; nothing happens when it has ended. Raises PermissionError with the kernel's reason."""
        if self._exit is None and (why := self._outcome.signal_main(number)):
            raise PermissionError(why)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and everything that it has started, as far as that can be found (a cgroup or pid namespace: all)."""
        if self._exit is None:
            self._outcome.kill_tree()

    def communicate(self, data: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write to its stdin, read the pipes to their ends, wait for its own; return what stdout and stderr said.

        Raises TimedOut after so many seconds; it is killed then.
        """
        end = None if timeout is None else time.monotonic() + timeout
        said = {name: bytearray() for name in ("stdout", "stderr")}
        in_time = self._talk(memoryview(data), said, end)
        if in_time:
            in_time = self.wait_timeout(None if end is None else max(0.0, end - time.monotonic())) is not None
        if not in_time:
            self.kill()
            self.wait()
            raise TimedOut(timeout or 0.0, bytes(said["stdout"]), bytes(said["stderr"]))
        return bytes(said["stdout"]), bytes(said["stderr"])

    def _talk(self, left: memoryview, said: dict[str, bytearray], end: float | None) -> bool:
        """Serve the pipes until all are closed; return whether that was in time."""
        with selectors.DefaultSelector() as selector:
            for name in said:
                if (pipe := getattr(self, name)) is not None:
                    selector.register(pipe, selectors.EVENT_READ, said[name])
            if self.stdin is not None and left:
                os.set_blocking(self.stdin.fileno(), False)
                selector.register(self.stdin, selectors.EVENT_WRITE)
            elif self.stdin is not None:
                self.stdin.close()
            while selector.get_map():
                ready = selector.select(None if end is None else max(0.0, end - time.monotonic()))
                if not ready:
                    return False
                for key, _ in ready:
                    more: IO[bytes] = key.fileobj  # type: ignore[assignment] # only pipes are registered
                    if key.data is not None:
                        key.data.extend(chunk := os.read(key.fd, 65536))
                        over = not chunk
                    else:
                        left = left[_written(key.fd, left) :]
                        over = not left
                    if over:
                        selector.unregister(more)
                        more.close()
        return True

    def close(self) -> None:
        """Kill what is left of it, reap it, close the pipes and give its cgroup back. May be called twice."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if self._outcome.pidfd < 0:
            return
        if self._exit is None:
            self._outcome.kill_tree()
            self.wait()
        if self._outcome.is_loose:
            self._outcome.sweep()
        self._outcome.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _written(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data[:65536])
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # it does not want to hear more
        return len(data)


class Sandbox:
    """What this machine allows, probed once, and a cgroup below which every process has its own."""

    def __init__(self) -> None:
        self._base = cgroup.find_base(f"arje-python-{os.getpid()}")
        self._incarnator = Incarnator(CapabilitySet.detect(self._base), self._base)
        self._count = 0

    def spawn(
        self,
        command: Command,
        *,
        soma: Body = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> Process:
        """Start a program and return once its exec is confirmed. ``env`` None is our environment, ``cwd`` is inside.

        Raises CardError, IncarnationRefused and SetupFailed; nothing of it is left then.
        """
        card = self._card(command, soma, env, cwd)
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            fds, ends = [], list[IO[bytes] | None]()
            for number, stream in enumerate((stdin, stdout, stderr)):
                fd, end = _ends(number, stream)
                if end is not None:
                    theirs.callback(os.close, fd)
                    ours.callback(end.close)
                fds.append(fd)
                ends.append(end)
            process = Process(self._incarnator.incarnate(card, StdioFds(*fds)), ends)
            ours.pop_all()
            return process

    def run(
        self,
        command: Command,
        *,
        input: bytes | None = None,
        capture: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **how: Any,
    ) -> Done:
        """Run a program to its end; ``how`` is what ``spawn`` takes. Nothing that it has started is left.

        Raises TimedOut after ``timeout`` seconds, Failed with ``check`` when it does not end with 0, and what spawn raises.
        """
        how = ({"stdout": PIPE, "stderr": PIPE} if capture else {}) | ({} if input is None else {"stdin": PIPE}) | how
        with self.spawn(command, **how) as process:
            stdout, stderr = process.communicate(input or b"", timeout)
            done = Done(process.wait(), stdout, stderr, process.incarnation)
        if check and not done.exit.ok:
            raise Failed(done)
        return done

    def output(self, command: Command, **how: Any) -> bytes:
        """Run a program that is to end with 0, and return what it wrote to stdout. Raises what run raises."""
        asked: dict[str, Any] = {"check": True, "stdout": PIPE} | how
        return self.run(command, **asked).stdout

    def _card(
        self, command: Command, soma: Body, env: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None
    ) -> Card:
        words = [command] if isinstance(command, (str, os.PathLike)) else list(command)
        if not words:
            raise ValueError("name a program")
        program, *arguments = [os.fspath(word) for word in words]
        self._count += 1
        body = soma if isinstance(soma, Soma) else card_of({"label": "run", "soma": dict(soma or {})}, "soma").soma
        if cwd is not None:
            body = replace(body, chdir=os.fspath(cwd))
        elif not (body.chdir or body.root or body.overlay or body.pivot_root or body.tmpfs):
            body = replace(body, chdir=str(Path.cwd()))
        envp = tuple((os.environ if env is None else env).items())
        payload = Native(exec=program, argv=tuple(arguments), envp=envp)
        return Card(label=f"python-{os.getpid()}-{self._count}", payload=payload, soma=body)

    def close(self) -> None:
        """Give the cgroup back, when nothing runs in it."""
        if self._base is not None:
            with contextlib.suppress(OSError):
                self._base.rmdir()


def _ends(number: int, stream: Stream) -> tuple[int, IO[bytes] | None]:
    """Return the descriptor that becomes the program's, and our end when it is a pipe."""
    if stream is None:
        return number, None
    if isinstance(stream, int):
        return stream, None
    if not isinstance(stream, str):
        return stream.fileno(), None
    if stream != PIPE:
        raise ValueError(f"{stream!r} is no stream")
    read, write = os.pipe2(os.O_CLOEXEC)
    return (read, os.fdopen(write, "wb", 0)) if number == 0 else (write, os.fdopen(read, "rb", 0))


_ours: dict[int, Sandbox] = {}


def _here() -> Sandbox:
    """The sandbox of this process, made at its first use; one that forked away makes its own."""
    if (pid := os.getpid()) not in _ours:
        _ours.clear()
        _ours[pid] = Sandbox()
        atexit.register(_ours[pid].close)
    return _ours[pid]


def spawn(command: Command, **how: Any) -> Process:
    """Start a program: :meth:`Sandbox.spawn`."""
    return _here().spawn(command, **how)


def run(command: Command, **how: Any) -> Done:
    """Run a program to its end: :meth:`Sandbox.run`."""
    return _here().run(command, **how)


def output(command: Command, **how: Any) -> bytes:
    """Return what a program says: :meth:`Sandbox.output`."""
    return _here().output(command, **how)
