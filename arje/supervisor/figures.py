"""What services use, and by which processes: the questions that ``status`` and ``ps`` put to the kernel."""

from __future__ import annotations

from resource import struct_rusage
from typing import TYPE_CHECKING, Any, Final

from arje.incarnation import as_json
from arje.kernel import usage
from arje.kernel.usage import CGROUP, PROC, RUSAGE, Usage
from arje.service.record import Service
from arje.supervisor.accounts import user_name

if TYPE_CHECKING:
    from arje.supervisor.host import Living
    from arje.supervisor.supervisor import Supervisor

#: With these from the cgroup, nobody need ask every process.
_ENOUGH: Final = frozenset({"memory", "cpu_user", "tasks", "io_read"})


def of_living(outcome: Living, pids: list[int]) -> Usage:
    """Return what a running service uses; ``pids`` are its processes."""
    counted = usage.of_cgroup(outcome.cgroup_file)
    summed = {} if counted.keys() >= _ENOUGH else usage.of_processes(pids)
    network = usage.of_network(outcome.incarnation.pid)
    return usage.usage((CGROUP, counted), (PROC, summed | network))


def of_ended(outcome: Living, used: struct_rusage | None) -> Usage:
    """Return what a life has used that has just ended, before its cgroup goes. What is left behind it is none of it."""
    counted = usage.of_cgroup(outcome.cgroup_file, ended=True)
    return usage.usage((CGROUP, counted), (RUSAGE, usage.of_rusage(used) if used else {}))


def processes(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return the processes of a service, each with what it uses, and what they use together."""
    outcome = supervisor.outcomes.get(service.label)
    tree = outcome.processes() if outcome else ()
    shares = [(entry, usage.of_process(entry.pid)) for entry in tree]
    return {
        "label": service.label,
        "state": service.state.value,
        "usage": as_json(of_living(outcome, [entry.pid for entry in tree])) if outcome else None,
        "processes": [
            entry._asdict()
            | {
                "user": user_name(share.uid),
                "state": share.state,
                "threads": share.threads,
                "memory": share.memory,
                "cpu_s": share.cpu,
            }
            for entry, share in shares
            if share is not None
        ],
    }


def now(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return what a service uses now; of one that does not run, nothing but its state. Only who looks pays for this."""
    outcome = supervisor.outcomes.get(service.label)
    tree = [entry.pid for entry in outcome.processes()] if outcome else []
    used = of_living(outcome, tree) if outcome else None
    cpu = None if used is None or used.cpu_user is None else used.cpu_user + (used.cpu_system or 0.0)
    return {
        "label": service.label,
        "state": service.state.value,
        "processes": len(tree),
        "memory": used.memory if used else None,
        "cpu_s": cpu,
        "at": supervisor.host.now(),
    }
