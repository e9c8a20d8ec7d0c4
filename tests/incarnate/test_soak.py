"""Twenty thousand real spawns leave nothing behind: no descriptor, memory, zombie, cgroup or mount.

Seventeen thousand are the trampoline's alone, with four children in flight at a time; three thousand are whole
incarnations with namespaces and a cgroup, of which every tenth fails at its execve and every tenth is refused at its gate.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from arje import native
from arje.card.soma import Namespaces
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit
from tests.incarnate.conftest import card_of

TRAMPOLINE = 17_000
WHOLE = 3_000
IN_FLIGHT = 4
WARM_UP = 200
GROWTH = 4 << 20  # bytes: what malloc may keep in its pockets; 20 000 lost structs of 200 bytes would be seen


class Census(NamedTuple):
    """What this process has now."""

    descriptors: tuple[str, ...]
    mounts: tuple[str, ...]
    groups: tuple[str, ...]
    stacks: int

    @classmethod
    def take(cls, base: Path | None) -> Census:
        groups = tuple(path.name for path in base.iterdir() if path.is_dir()) if base else ()
        maps = Path("/proc/self/maps").read_text().splitlines()
        stacks = sum("---p" in line for line in maps)
        fds = tuple(sorted(os.listdir("/proc/self/fd")))  # noqa: PTH208 - the names are wanted
        return cls(fds, mounts(), groups, stacks)


def mounts() -> tuple[str, ...]:
    """Return the mounts of this process's namespace, but for those that other tests have in their directories."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return tuple(line for line in lines if not re.match(r"/dev/shm/arje-|/tmp/pytest-", line.split()[4]))


def resident() -> int:
    """Return the resident bytes of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children() -> list[int]:
    """Return the children of this process, dead or alive."""
    return [int(pid) for path in Path("/proc/self/task").iterdir() for pid in (path / "children").read_text().split()]


def nothing(directory: Path) -> str:
    """Build a program that only leaves: most of a dynamic program's life would be its loader's."""
    source = '#include "raw.h"\nvoid _start(void) { for (;;) raw1(__NR_exit_group, 0); }\n'
    (directory / "nothing.c").write_text(source)
    flags = ["-O2", "-static", "-nostdlib", "-ffreestanding", f"-I{Path(native.__file__).parent}"]
    program = str(directory / "nothing")
    subprocess.run(["gcc", *flags, str(directory / "nothing.c"), "-o", program], check=True)
    return program


def spawn_bare(spawner: native.Spawner, count: int, program: str, fds: tuple[int, int, int]) -> set[Exit]:
    """Spawn through the trampoline alone, some in flight at once."""
    plan = native.Plan([native.Op("session")], [program.encode()], [b"nothing"], [], reaper=False)
    ends = set()
    for _ in range(count // IN_FLIGHT):
        flying = [spawner.spawn(plan, fds, clone_flags=0) for _ in range(IN_FLIGHT)]
        for child in flying:
            native.release(child.status_fd)
        for child in flying:
            while native.receive(child.status_fd, block=True):
                pass
            info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
            assert info is not None
            ends.add(Exit.from_wait(info.si_code, info.si_status))
            os.close(child.pidfd)
            os.close(child.status_fd)
            spawner.give_back(child)
    return ends


def incarnate_whole(incarnator: Incarnator, count: int, program: str, stdio: StdioFds) -> dict[str, int]:
    """Live whole lives; return how many ended in which way."""
    spaces = Namespaces(mount=os.geteuid() == 0, pid=os.geteuid() == 0, uts=os.geteuid() == 0)
    cards = [
        *[card_of(program, namespaces=spaces)] * 8,
        card_of("/no/such/program", namespaces=spaces),
        card_of(program, namespaces=spaces, cpu_affinity=(0, 1023), require=("cpu_affinity",)),
    ]
    ends: dict[str, int] = {}
    for number in range(count):
        try:
            outcome = incarnator.incarnate(cards[number % len(cards)], stdio)
        except (SetupFailed, IncarnationRefused) as error:
            end = type(error).__name__
        else:
            info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
            assert info is not None
            end = str(outcome.exit_of(Exit.from_wait(info.si_code, info.si_status)))
            outcome.close()
        ends[end] = ends.get(end, 0) + 1
    return ends


def test_twenty_thousand_spawns_leave_nothing_behind(incarnator: Incarnator, base: Path | None, tmp_path: Path) -> None:
    program, spawner = nothing(tmp_path), native.Spawner()
    with open("/dev/null", "r+") as null:
        fd = null.fileno()
        spawn_bare(spawner, WARM_UP, program, (fd, fd, fd))
        incarnate_whole(incarnator, WARM_UP, program, StdioFds(fd, fd, fd))
        before, memory, youths, began = Census.take(base), resident(), children(), time.monotonic()
        assert spawn_bare(spawner, TRAMPOLINE, program, (fd, fd, fd)) == {Exit("exited", 0)}
        ends = incarnate_whole(incarnator, WHOLE, program, StdioFds(fd, fd, fd))
        seconds = time.monotonic() - began
        assert ends == {"exited 0": WHOLE * 8 // 10, "SetupFailed": WHOLE // 10, "IncarnationRefused": WHOLE // 10}
        assert Census.take(base) == before
        grown = resident() - memory
    assert children() == youths
    assert grown < GROWTH
    print(f"{TRAMPOLINE} + {WHOLE} spawns in {seconds:.1f} s; {grown / 1024:.0f} KiB more resident")
