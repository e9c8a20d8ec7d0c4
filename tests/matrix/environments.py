"""Where the matrix is run, and what is impossible there. Feature → cause; what is not named must be granted.

``around`` is a shell script whose ``"$@"`` is the driver. All of it happens in mount and net namespaces of the test's own,
with an uplink that leads nowhere, for pasta.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from arje.card import files, join
from arje.card.limits import RLIMITS
from arje.card.soma import FEATURES
from arje.kernel import cgroup, process
from arje.kernel.capabilities import CGROUP_FILES

NOBODY = 65534
UPLINK = """set -e; ip link set lo up; ip link add up0 type veth peer name up1; ip addr add 192.0.2.2/24 dev up0
ip link set up0 up; ip link set up1 up; ip route add default via 192.0.2.1
"""
AS_NOBODY = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
Impossible = dict[str, str]


class Environment(NamedTuple):
    """One place. ``deny``: system calls that a filter refuses. ``without``: rows that mean nothing here.

    ``only``: these rows, each of which takes the loss of the others.
    """

    name: str
    around: str
    impossible: Impossible
    deny: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    unforeseen: frozenset[str] = frozenset()
    without: tuple[str, ...] = ()
    as_nobody: bool = False


def _every(cause: str, *features: str) -> Impossible:
    return dict.fromkeys(features, cause)


def _has(capability: int) -> bool:
    return bool(int(process.status("self")["CapEff"], 16) >> capability & 1)


def _here() -> Impossible:
    """What this machine lacks by its making, whoever the manager is: controllers, and perhaps CAP_SYS_RESOURCE (24)."""
    own = cgroup.own()
    offered = (own / "cgroup.controllers").read_text().split() if own else []
    missing = [f"cgroup.{name}" for name, (controller, _) in CGROUP_FILES.items() if controller not in offered]
    poor = {} if _has(24) else _every("limit", *_RLIMITS) | {"oom_score_adj": "no-capability"}
    return _every("controller-missing", *missing) | poor


_RLIMITS = tuple(f"rlimit.{name}" for name in RLIMITS)
_MOUNTS = files.FEATURES
_JOINS = join.FEATURES
_CGROUPS = tuple(name for name in FEATURES if name.partition(".")[0] == "cgroup")
_KINDS = ("mount", "pid", "net", "uts", "ipc", "user", "cgroup-ns", "time")
_INSIDE = ("hostname", "time_offsets", "id-map", "loopback", "network.none", "network.pasta", "disable_nested_userns")

#: What is beyond everybody who is not the machine's root.
_POOR = {
    **_every("limit", *_RLIMITS),
    **_every("no-capability", "nice", "ioprio", "scheduler", "oom_score_adj", "network.veth", "network.routes"),
    **_every("no-capability", "idmapped"),
}
_ORDINARY = {
    **_POOR,
    **_every("no-capability", "run_as", "groups", "capabilities.keep", "capabilities.ambient", "lock_personality"),
    **_every("no-capability", *_JOINS),
    **_every("not-delegated", *_CGROUPS),
}
_NAMESPACE_ROOT = {
    **_here(),
    **_POOR,
    "run_as": "not-delegated",
    "groups": "no-capability",
    "scheduler": "limit",
}
_NO_USERS = _every("sysctl", "user", "id-map", "disable_nested_userns")
_MOUNT_CALLS = ("mount", "umount2", "pivot_root", "fsopen", "fsmount", "open_tree", "move_mount", "mount_setattr")
_NO_NEIGHBOUR = ("join.user",)  # there is no service with a user namespace of its own

ENVIRONMENTS = (
    Environment("this host", "", _here()),
    Environment("an ordinary user", AS_NOBODY, _ORDINARY | {"join.user": ""}, as_nobody=True),
    Environment(
        "an ordinary user without user namespaces",
        f"{sys.executable} -m tests.matrix.shut {NOBODY}",
        {
            **_every("sysctl", *_KINDS, *_INSIDE, *_MOUNTS, "capabilities.bounding", "securebits"),
            **{name: cause for name, cause in _ORDINARY.items() if name not in ("idmapped", "network.routes")},
            "network.routes": "sysctl",
        },
        without=_NO_NEIGHBOUR,
        as_nobody=True,
    ),
    Environment(
        "a user namespace where no further one is allowed",
        "unshare --user --map-root-user --pid --fork --mount --mount-proc "
        """sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"' sh""",
        _NAMESPACE_ROOT | _NO_USERS,
        without=_NO_NEIGHBOUR,
    ),
    Environment(
        "a rootless container",
        f"{AS_NOBODY} unshare --user --map-root-user --pid --fork --mount --mount-proc",
        _NAMESPACE_ROOT | _every("not-delegated", *_CGROUPS),
        as_nobody=True,
    ),
    Environment(
        "a filter that denies unshare, setns and every mount",
        "",
        {
            **_here(),
            **_every("seccomp", "mount", "user", "id-map", "disable_nested_userns", *_JOINS, *_MOUNTS),
            "network.pasta": "helper-missing",
            "idmapped": "seccomp",
        },
        deny=("unshare", "setns", *_MOUNT_CALLS),
        unforeseen=frozenset({"network.pasta"}),
    ),
    Environment(
        "a filter that denies what makes priorities, keys and filters",
        "",
        {
            **_here(),
            **_every("seccomp", "nice", "ioprio", "scheduler", "seccomp", "landlock", "keyring", "personality"),
            **_every("seccomp", "lock_personality", "cpu_affinity", "capabilities.bounding", "capabilities.keep"),
            "capabilities.ambient": "seccomp",
            "network.pasta": "helper-missing",
        },
        deny=(
            *("setpriority", "ioprio_set", "sched_setscheduler", "seccomp", "landlock_create_ruleset", "keyctl"),
            *("personality", "sched_setaffinity", "capset"),
        ),
        unforeseen=frozenset(
            {"keyring", "personality", "lock_personality", "cpu_affinity", "capabilities.bounding", "network.pasta"}
            | {"capabilities.keep", "capabilities.ambient"}
        ),
    ),
    Environment(
        "a filter that denies setsid, umask and chdir",
        "",
        _every("seccomp", "new_session", "umask", "chdir"),
        deny=("setsid", "umask", "chdir"),
        only=("new_session", "umask", "chdir"),
        unforeseen=frozenset({"new_session", "umask", "chdir"}),
    ),
    Environment(
        "a read-only cgroupfs",
        """sh -ec 'for point in $(awk "\\$3 == \\"cgroup2\\" { print \\$2 }" /proc/mounts); do
        mount --bind $point $point; mount -o remount,bind,ro $point; done; exec "$@"' sh""",
        _here() | _every("not-delegated", *_CGROUPS),
    ),
    Environment(
        "no helper anywhere",
        """sh -ec 'for file in $(/sbin/ldconfig -p | awk "/libseccomp.so.2/ { print \\$NF }"); do
        mount --bind /dev/null $(readlink -f $file); done; PATH=/nonexistent exec "$@"' sh""",
        _here() | _every("helper-missing", "seccomp", "network.pasta"),
    ),
)


def name_of(environment: Environment) -> str:
    return environment.name.replace(" ", "-").replace(",", "")


def request(environment: Environment) -> dict[str, object]:
    """Return what the driver is told."""
    group = f"arje-matrix-{os.getpid()}"
    return {
        "cgroup": group,
        "deny": list(environment.deny),
        "only": list(environment.only),
        "also": list(environment.only),
    }


def shell(environment: Environment) -> list[str]:
    """Return the words before the driver's."""
    inner = f'{UPLINK}exec {environment.around} "$@"'
    return ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", inner, "sh"]


def debian_python() -> list[str]:
    """Return an interpreter that everybody may execute."""
    return [f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"]


def path_of_packages(root: Path) -> str:
    site = next(path for path in sys.path if path.endswith("site-packages"))
    return f"{root}:{site}"
