"""The matrix of tests/matrix where cgroup2 has every controller, root every capability, and landlock is of ABI 2.

No pasta is there; the root is the initramfs, whose file system cannot be id-mapped.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from arje.kernel import cgroup, landlock
from tests.matrix import judge
from tests.matrix.driver import lower_limits, run
from tests.matrix.rows import furnish, rows
from vm.guest.checks import check, expect

#: Feature → cause; all others are granted.
IMPOSSIBLE = {
    "idmapped": "kernel-too-old",
    "landlock": "kernel-too-old",
    "network.pasta": "helper-missing",
}
#: What is otherwise than on the machine of the tests; namespaces and mounts have a scenario of their own.
_FAMILIES = (
    "cgroup",
    "rlimit",
    "nice",
    "ioprio",
    "scheduler",
    "oom_score_adj",
    "cpu_affinity",
    "network",
    "capabilities",
)


@cache
def told() -> tuple[Path, judge.Told]:
    """Run every row, once; what was granted is not required as well, because an emulated processor is slow."""
    subprocess.run(["modprobe", "brd"], check=True)  # a disk of memory: io.max wants a device
    place = Path(tempfile.mkdtemp(prefix="matrix."))
    place.chmod(0o755)
    furnish(place)
    before = {number: resource.getrlimit(number) for number in range(16)}
    lower_limits()
    base = cgroup.find_base("arje-matrix")
    wanted = tuple(row for row in rows(place) if row in IMPOSSIBLE or row.partition(".")[0] in _FAMILIES)
    try:
        return place, run(place, base, wanted, briefly=True)
    finally:
        if base is not None:
            base.rmdir()
        for number, limits in before.items():
            resource.setrlimit(number, limits)


@check
def every_feature_of_the_matrix_is_granted_but_what_this_machine_cannot_have() -> None:
    _, found = told()
    causes = {row: IMPOSSIBLE[name] for row in found if (name := row.partition("./")[0]) in IMPOSSIBLE}
    expect(list(judge.of(found, causes, frozenset())), [])


@check
def a_ruleset_of_an_older_landlock_is_one_partial_loss_that_names_the_rights() -> None:
    expect(landlock.abi(), 2)
    (lost,) = told()[1]["landlock"]["prefer"]["losses"]
    expect((lost["partial"], lost["obtained"]), (True, "without truncate, ioctl_dev, tcp_bind"))
