"""What this process may raise: hard limits, priorities, real time, protection from the OOM killer.

Tried once on ourselves, at the outermost value, and put back; and the causes of the no's that are not about namespaces
(setrlimit(2), setpriority(2), ioprio_set(2), sched(7), proc_pid_oom_score_adj(5)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje import native
from arje.incarnation import Cause
from arje.kernel import mounts, process

#: Names under which the probes stand in a CapabilitySet: the part of a feature that not everybody may have.
RLIMIT: Final = "rlimit.raise"
NICE: Final = "nice.lower"
IOPRIO: Final = "ioprio.realtime"
SCHEDULER: Final = "scheduler.realtime"
OOM: Final = "oom_score_adj.lower"

_CAP_SYS_NICE: Final = 23
_NO: Final = {errno.EPERM, errno.EACCES}


def probe() -> Iterator[tuple[str, int, str]]:
    """Yield name, errno (0: granted) and system call of each thing that was tried."""
    for name, syscall, attempt in (
        (RLIMIT, "prlimit", _raise_a_limit),
        (NICE, "setpriority", _lower_nice),
        (IOPRIO, "ioprio_set", _realtime_io),
        (SCHEDULER, "sched_setscheduler", _realtime),
        (OOM, "write oom_score_adj", _lower_oom),
    ):
        try:
            attempt()
        except OSError as error:
            yield name, error.errno or 0, syscall
        except ValueError:  # how setrlimit(3) of Python's says EPERM
            yield name, errno.EPERM, syscall
        else:
            yield name, 0, syscall


def _raise_a_limit() -> None:
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_NPROC):
        soft, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            resource.setrlimit(limit, (soft, hard + 1))
            resource.setrlimit(limit, (soft, hard))
            return


def _lower_nice() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    os.setpriority(os.PRIO_PROCESS, 0, before)


def _realtime_io() -> None:
    before = native.ioprio_get(0)
    native.ioprio_set(0, 1 << 13 | 7)
    native.ioprio_set(0, before)


def _realtime() -> None:
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
    os.sched_setscheduler(0, policy, parameters)


def _lower_oom() -> None:
    before = own_oom_score_adj()
    if before > -1000:
        file = Path("/proc/self/oom_score_adj")
        file.write_text(str(before - 1))
        file.write_text(str(before))


def own_oom_score_adj() -> int:
    """Return the value that a service has when its card says none."""
    return int(Path("/proc/self/oom_score_adj").read_text())


def nr_open() -> int:
    """Return fs.nr_open, which no limit of open files may pass (proc(5)); no limit where it cannot be read."""
    try:
        return int(Path("/proc/sys/fs/nr_open").read_text())
    except OSError:
        return 2**63


def explain(error: int, feature: str) -> tuple[Cause, str, str] | None:
    """Return cause, detail and remedy of a no that is about one of these features; None for any other."""
    family, _, name = feature.partition(".")
    if family == "cgroup":
        return _of_a_cgroup_file(error, name)
    if family == "oom_score_adj" and error in (errno.ESRCH, errno.ENOENT):
        return Cause.DRIFTED, "it had ended before its score could be written", "none is needed: it is gone"
    if error not in _NO or (family in ("nice", "ioprio", "scheduler") and _is_filtered()):
        return None
    if family == "rlimit":
        detail = "a hard limit over the manager's own, or another user's process, takes CAP_SYS_RESOURCE"
        return Cause.LIMIT, detail, f"{_with('CAP_SYS_RESOURCE')}, or raise its own limit first (prlimit(1))"
    if family == "nice":
        floor = 20 - resource.getrlimit(resource.RLIMIT_NICE)[0] % 2**64
        detail = f"without CAP_SYS_NICE RLIMIT_NICE is the floor: {max(-20, min(20, floor))}"
        return Cause.NO_CAPABILITY, detail, f"{_with('CAP_SYS_NICE')}, or raise its limit nice"
    if family == "ioprio":
        return Cause.NO_CAPABILITY, "the class realtime takes CAP_SYS_ADMIN or CAP_SYS_NICE", _with("CAP_SYS_NICE")
    if family == "scheduler":
        return _no_real_time()
    if family == "oom_score_adj":
        return Cause.NO_CAPABILITY, "going lower takes CAP_SYS_RESOURCE", _with("CAP_SYS_RESOURCE")
    return None


def _is_filtered() -> bool:
    """Whether it can only be a filter that refuses: this process has the rights of the machine's root (seccomp(2))."""
    told = process.status("self")
    has = int(told["CapEff"], 16) >> _CAP_SYS_NICE & 1 and not mounts.in_user_namespace()
    return bool(has) and told.get("Seccomp") == "2"


def _with(capability: str) -> str:
    """Return how the manager would come by a capability: a root without it lives in somebody's sandbox."""
    return "run the manager as root" if os.geteuid() else f"start the manager with {capability}"


def _no_real_time() -> tuple[Cause, str, str]:
    """RT_GROUP_SCHED gives every cgroup a budget of real time, and most get none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            budget = Path(f"/sys/fs/cgroup/cpu{place}/cpu.rt_runtime_us")
            if "cpu" in controllers.split(",") and budget.exists() and budget.read_text().strip() == "0":
                return Cause.LIMIT, f"{budget} is 0", "write it a budget (kernel: sched-rt-group)"
    if int(process.status("self")["CapEff"], 16) >> _CAP_SYS_NICE & 1:
        detail = "CAP_SYS_NICE does not suffice: a user namespace, or CPUs that do not span the whole root domain"
        return Cause.LIMIT, detail, "run the manager in the first user namespace; a deadline takes every CPU"
    return (
        Cause.NO_CAPABILITY,
        "it takes CAP_SYS_NICE, or a limit rtprio that high",
        f"{_with('CAP_SYS_NICE')}, or raise its rtprio",
    )


def _of_a_cgroup_file(error: int, name: str) -> tuple[Cause, str, str] | None:
    if name == "io_max" and error in (errno.ENODEV, errno.ENOENT, errno.ENOTBLK):
        return Cause.LIMIT, "no such whole block device here", "name one that lsblk(8) shows as a disk"
    if name == "delegate" and error in _NO:
        return Cause.NO_CAPABILITY, "giving a cgroup to another user takes CAP_CHOWN", _with("CAP_CHOWN")
    if error == errno.ENOENT:
        return Cause.KERNEL_TOO_OLD, "this kernel has no such cgroup file", "use a kernel that has it"
    if error in (errno.EINVAL, errno.ERANGE, errno.ENODEV):
        return Cause.LIMIT, "the kernel does not take this value", "see kernel: admin-guide/cgroup-v2"
    return None
