"""Another process of a service becomes its main one (``MAINPID`` of sd_notify(3)): its end is the service's then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from arje.incarnation import Exit
from arje.supervisor.host import Living
from arje.supervisor.reaper import ExitSlot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


def follow(supervisor: Supervisor, label: str, living: Living, pid: int) -> None:
    """Let another process of a service be its main one. Raises OSError, and ValueError for a stranger."""
    before = living.incarnation.pid
    living.follow(pid)
    slot = supervisor.host.transfer(before, pid)
    supervisor.table.follow(label, living.incarnation)
    supervisor.logs.of(label).pid = pid
    if slot is not None:
        supervisor.nursery.start_soon(_watch, pid, os.dup(living.main_fd), slot)


async def _watch(pid: int, fd: int, slot: ExitSlot) -> None:
    """Wait for the end of a main process that may not be our child: then only its own parent learns how it ended."""
    try:
        await trio.lowlevel.wait_readable(fd)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # ours: the reaper has it, or will have it
    except ChildProcessError:
        slot.set(Exit("unknown", 0))
    finally:
        os.close(fd)
