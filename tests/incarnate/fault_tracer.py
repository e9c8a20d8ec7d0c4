"""strace as a hand that makes chosen system calls fail, and a dry run that finds which call is which.

strace counts ``when=`` for each tracee by itself, from the attachment on. So an occurrence is looked up in the trace of
a run without faults, attached at the same point: the manager before it begins, or the child while it waits at its gate.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from arje.incarnate.outcome import discard
from arje.kernel.cgroup import Cgroup

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 10.0  # seconds; what takes longer hangs
_CALL = re.compile(r"^(\d+)\s+(\w+)\((.*)$")


class Call(NamedTuple):
    """One system call of a dry run. ``who``: manager, child (the clone) or payload (the child's own clone)."""

    who: str
    name: str
    text: str
    ordinal: int


@dataclass
class Nursery:
    """The running fault_driver."""

    process: subprocess.Popen[str]
    socket: Path
    top: Path
    base: Path | None
    count: int = 0
    known: dict[str, list[Call]] = field(default_factory=dict)

    def run(self, request: dict[str, Any], faults: tuple[str, ...] = (), *, alone: bool = False) -> dict[str, Any]:
        """Live one life with these faults (``inject=…`` values of strace); what became of it, and strace's log.

        With ``hold`` in the request the faults are for the child from its gate on. ``alone``: for one process only.
        """
        self.count += 1
        place = self.top / f"fault-{self.count}"
        place.mkdir()
        place.chmod(0o755)
        log = place / "strace"
        with contextlib.ExitStack() as stack, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(str(self.socket))
            stream = line.makefile()
            line.sendall(json.dumps({**request, "place": str(place)}).encode())
            ready = json.loads(stream.readline())
            stack.callback(self._end, ready["pid"])
            pid = ready["pid"]
            if request.get("hold"):
                line.sendall(b"+")
                pid = _only_child(json.loads(stream.readline())["pid"])
            if faults or "dry" in request:
                stack.enter_context(_strace(pid, faults, log, follow=not alone))
            line.sendall(b"+")
            try:
                told: dict[str, Any] = json.loads(stream.readline())
            except TimeoutError:
                pytest.fail(f"it hangs: {request} {faults}\n{log.read_text() if log.exists() else ''}")
        told["log"] = log.read_text() if log.exists() else ""
        told["manager"] = ready["pid"]
        return told

    def calls(self, request: dict[str, Any]) -> list[Call]:
        """Return every system call of a life without faults, in order, up to each execve."""
        key = json.dumps(request, sort_keys=True)
        if key not in self.known:
            told = self.run({**request, "dry": True})
            assert told["outcome"] == "started", told
            self.known[key] = list(_calls(told["log"], told["manager"], held=bool(request.get("hold"))))
        return self.known[key]

    def find(self, request: dict[str, Any], who: str, name: str, text: str = "", nth: int = 0) -> int:
        """Return the ordinal of a call, to be used as ``when=``; of the manager's calls, those of the spawn count."""
        calls = between_marks(self.calls(request)) if who == "manager" else self.calls(request)
        found = [c for c in calls if (c.who, c.name) == (who, name) and re.search(text, c.text)]
        assert len(found) > nth, f"{who} never calls {name}({text})"
        return found[nth].ordinal

    def _end(self, pid: int) -> None:
        """End a fork that hangs, and what it made."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        for group in self.base.glob("fault-*") if self.base else ():
            discard(Cgroup(group))


def between_marks(calls: list[Call]) -> list[Call]:
    """Return the manager's calls between the two marks of the driver."""
    mine = [call for call in calls if call.who == "manager"]
    late = itertools.dropwhile(lambda call: "/arje-begin" not in call.text, mine)
    return list(itertools.takewhile(lambda call: "/arje-end" not in call.text, late))


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _calls(log: str, manager: int, *, held: bool) -> Iterator[Call]:
    order = [] if held else [manager]
    counts: dict[tuple[int, str], int] = {}
    for line in log.splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        pid, name = int(match[1]), match[2]
        if pid not in order:
            order.append(pid)
        counts[pid, name] = counts.get((pid, name), 0) + 1
        who = ("manager", "child", "payload")[order.index(pid) + held]
        yield Call(who, name, match[3], counts[pid, name])


@contextlib.contextmanager
def _strace(pid: int, faults: tuple[str, ...], log: Path, *, follow: bool) -> Iterator[None]:
    """Attach, and wait until it is; detach when the tracees have ended. Tracees are left alone from their execve on."""
    names = ",".join(["execve", *(fault.partition(":")[0] for fault in faults)]) if faults else "all"
    words = ["strace", "-p", str(pid), "-b", "execve", "-s", "120", "-o", str(log), "-e", f"trace={names}"]
    words += ["-f"] if follow else []
    words += [word for fault in faults for word in ("-e", f"inject={fault}")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        _await(process.stderr, "attached")
        try:
            yield
        finally:
            _end_tracer(process)


def _end_tracer(process: subprocess.Popen[str]) -> None:
    """Ask it to detach: a payload that leaked would keep it. It never does when it waits for a leader of threads that has
    ended, while one of them is stopped by it (strace 6.1); the kernel lets the tracees of a killed tracer go.
    """
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE / 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=PATIENCE)


def _await(stream: IO[str], word: str) -> None:
    said = []
    for line in stream:
        said.append(line)
        if word in line:
            return
    pytest.fail(f"strace did not attach: {said}")


def sound(told: dict[str, Any]) -> list[str]:
    """Say what is wrong with a story, whatever the fault was: leaks, a raw exception, a payload that ran all the same."""
    wrong = list(told["leaks"])
    if told["outcome"] == "raised":
        wrong.append(f"it raised {told['text']}")
    if told["outcome"] != "started" and told["output"]:
        wrong.append(f"it {told['outcome']} ({told['text']}), but the payload had run: {told['output']}")
    if told["outcome"] == "started" and told["exit"] == "exited 7" and told["output"][:1] != ["ran"]:
        wrong.append(f"it started, but {told['output']}")
    return wrong


@pytest.fixture(scope="module")
def bed() -> Iterator[Nursery]:
    """A nursery over a directory that ordinary users may enter, on a file system that overlays accept."""
    top = Path(tempfile.mkdtemp(prefix="arje-fault.", dir="/dev/shm"))
    top.chmod(0o755)
    try:
        with nursery(top) as found:
            yield found
    finally:
        shutil.rmtree(top)


@contextlib.contextmanager
def nursery(top: Path) -> Iterator[Nursery]:
    """Start a fault_driver. Skips where strace cannot do its work."""
    if os.geteuid() != 0:
        pytest.skip("root is needed")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    path = top / "socket"
    words = [sys.executable, "-m", "tests.incarnate.fault_driver", str(path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base = json.loads(process.stdout.readline())["base"]
        try:
            yield Nursery(process, path, top, Path(base) if base else None)
        finally:
            process.terminate()
            process.wait()
            if base:
                Path(base).rmdir()  # fails when a cgroup was left behind
