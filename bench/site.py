"""A place to spawn from: an Incarnator over a cgroup of its own, and the one card that is measured."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from arje import native
from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Namespaces, Soma
from arje.incarnate.outcome import Outcome
from arje.incarnate.plan import clone_flags
from arje.incarnate.spares import EACH
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Degradation
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet
from arje.native.spares import Order
from bench.main import CannotRun

KINDS: Final = Namespaces(mount=True, pid=True, uts=True, ipc=True, cgroup=True)

#: ``write(1, address, 1); exit(0)`` in machine code, and the ELF number of the machine. The byte is the program's first.
_SPEAK: Final = {
    "x86_64": (62, "bf01000000 be00004000 ba01000000 b801000000 0f05 31ff b83c000000 0f05"),
    "aarch64": (183, "200080d2 0108a0d2 220080d2 080880d2 010000d4 000080d2 a80b80d2 010000d4"),
}


def tiny_program() -> bytes:
    """Return a static program that writes one byte to its stdout and leaves (elf(5)).

    With a dynamic one the parent, woken on the child's processor, often gets it only when the loader and libc are
    through: half a millisecond that comes and goes on both sides, and that no sandbox is answerable for.
    """
    machine, code = _SPEAK[platform.machine()]
    text, start, headers = bytes.fromhex(code), 0x400000, 64 + 56
    size = headers + len(text)
    ident = b"\x7fELF\x02\x01\x01"
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, start + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x10000) + text


@dataclass(frozen=True)
class Site:
    """``card``: mount, pid, uts, ipc and cgroup namespaces and an own /proc around ``program``."""

    incarnator: Incarnator
    base: Path | None
    null: int
    program: Path
    card: Card

    def to_exec(self, count: int) -> list[int]:
        """Return the nanoseconds from before ``begin`` to confirmed exec of each of ``count`` spawns, one by one."""
        return [self._to_exec() for _ in range(count)]

    def _to_exec(self) -> int:
        began = time.perf_counter_ns()
        pending = self.incarnator.begin(self.card, StdioFds(self.null, self.null, self.null))
        pending.wait()
        took = time.perf_counter_ns() - began
        os.waitid(os.P_PID, pending.leader_pid, os.WEXITED | os.WNOWAIT)  # it leaves by itself, as in the C loop
        pending.abort()
        return took

    def in_c(self, count: int) -> list[int]:
        """Return the same of the C loop over the same plan, flags and kind of cgroup."""
        return self._bench(count + 1)[1:]  # the first faults in the new stack, which arje keeps from spawn to spawn

    def in_c_singly(self, count: int) -> list[int]:
        """Return the same of as many C loops of one: without the heat of a loop that does nothing else."""
        return [self._bench(1)[0] for _ in range(count)]

    def _bench(self, count: int) -> list[int]:
        blueprint, encoded = self.incarnator.prepared(self.card)
        flags, group = clone_flags(blueprint.kinds), str(self.base / "c-loop") if self.base else ""
        stdio = (self.null, self.null, self.null)
        return native.bench(encoded, stdio, clone_flags=flags, cgroup=group, count=count)

    def losses(self) -> tuple[Degradation, ...]:
        """Return what one start of the card loses here. Raises what a refused start raises."""
        outcome = self.incarnator.incarnate(self.card, StdioFds(self.null, self.null, self.null))
        losses = outcome.incarnation.degradations
        self._end(outcome)
        return losses

    def steps(self) -> dict[str, int]:
        """Return the nanoseconds of each step of one start, as the incarnation has them."""
        outcome = self.incarnator.incarnate(self.card, StdioFds(self.null, self.null, self.null))
        self._end(outcome)
        return {name: round(ms * 1e6) for name, ms in outcome.incarnation.steps}

    def unprepared(self) -> Site:
        """Return the same without anything made ahead: every start is as its first."""
        return replace(self, incarnator=Incarnator(self.incarnator.capabilities, self.base))

    def ahead(self) -> int:
        """Return the nanoseconds in which a thread makes what one start takes of what was made ahead."""
        began = time.perf_counter_ns()
        nets, users, error = Order(1, 1, "0 0 1\n", "0 0 1\n").end()
        took = time.perf_counter_ns() - began
        for fd in (*nets, *users):
            os.close(fd)
        if error:
            raise CannotRun(f"no namespaces can be made ahead: {os.strerror(error)}")
        return took

    @staticmethod
    def _end(outcome: Outcome) -> None:
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()

    def lives(self, count: int) -> list[tuple[int, int]]:
        """Return the nanoseconds to the payload's first byte and to its end of ``count`` whole lives.

        The end is: read back, reaped, cgroup and descriptors gone.
        """
        return [self._life() for _ in range(count)]

    def _life(self) -> tuple[int, int]:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        began = time.perf_counter_ns()
        pending = self.incarnator.begin(self.card, StdioFds(self.null, writer, self.null))
        pending.wait()
        os.read(reader, 1)
        spoke = time.perf_counter_ns()
        self._end(pending.finish())
        ended = time.perf_counter_ns()
        os.close(reader)
        os.close(writer)
        return spoke - began, ended - began


@contextlib.contextmanager
def opened() -> Iterator[Site]:
    """Make a site; at its end no cgroup, process, descriptor or file of it is left. Raises CannotRun."""
    if os.geteuid() != 0:
        raise CannotRun(
            "the C loop writes no id maps, and the peers do other things for an ordinary user: run it as root"
        )
    base = cgroup.find_base(f"arje-bench-{os.getpid()}")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        with tempfile.TemporaryDirectory(prefix="arje-bench.") as directory:
            Path(directory).chmod(0o755)
            program = Path(directory, "tiny")
            program.write_bytes(tiny_program())
            program.chmod(0o755)
            card = Card(label="tiny", payload=Native(exec=str(program), argv=()), soma=Soma(namespaces=KINDS))
            incarnator = Incarnator(CapabilitySet.detect(base), base, spares=EACH)  # as the manager has it
            try:
                yield Site(incarnator, base, null, program, card)
            finally:
                incarnator.close()
    finally:
        os.close(null)
        if base is not None:
            base.rmdir()
