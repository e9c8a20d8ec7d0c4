"""Probing: what is tried is what is said, and every no has its cause."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.incarnation import Cause
from arje.kernel import cgroup
from arje.kernel.capabilities import KINDS, CapabilitySet, cause_of_errno


def refusing(error: int, *, unless: int = 0) -> Callable[[int], int]:
    """A kernel that answers every clone with an errno, but for calls with the flag ``unless``."""
    return lambda flags: 0 if unless and flags & unless else error


def test_the_eight_kinds_are_tried_for_real() -> None:
    found = CapabilitySet.detect(None)
    if not found.privileged:
        pytest.skip("root is needed for namespaces without a user namespace")
    assert {kind: found[kind].available for kind in KINDS} == dict.fromkeys(KINDS, True)
    assert not any(found[kind].needs_user for kind in KINDS)


def test_a_kind_that_works_inside_a_user_namespace_only_says_so() -> None:
    found = CapabilitySet.detect(None, probe=refusing(errno.EPERM, unless=KINDS["user"]))
    assert found["mount"].available
    assert found["mount"].needs_user
    assert not found["user"].needs_user


@pytest.mark.parametrize(
    ("error", "cause"),
    [(errno.EINVAL, Cause.KERNEL_TOO_OLD), (errno.ENOSPC, Cause.LIMIT)],
)
def test_a_no_of_the_kernel_becomes_a_cause(error: int, cause: Cause) -> None:
    missing = CapabilitySet.detect(None, probe=refusing(error))["mount"]
    assert (missing.available, missing.cause, missing.errno, missing.syscall) == (False, cause, error, "clone3")
    assert missing.remedy


def test_a_read_only_and_a_busy_kernel_object_are_told_apart() -> None:
    assert cause_of_errno(errno.EROFS, "cgroup")[0] is Cause.READ_ONLY
    assert cause_of_errno(errno.EBUSY, "cgroup")[0] is Cause.BUSY


def test_no_cgroup_means_no_limit_and_a_remedy() -> None:
    found = CapabilitySet.detect(None)
    assert found["cgroup"].cause is Cause.NOT_DELEGATED
    assert found["cgroup.memory_max"].remedy


def test_a_limit_is_there_exactly_when_its_controller_is() -> None:
    base = cgroup.find_base(f"arje-test-{os.getpid()}")
    if base is None:
        pytest.skip("no writable cgroup2 here")
    try:
        found = CapabilitySet.detect(base)
        there = "memory" in Path(base, "cgroup.controllers").read_text().split()
        assert found["cgroup.memory_max"].available == there
        if not there:
            assert found["cgroup.memory_max"].cause in {Cause.CONTROLLER_MISSING, Cause.NOT_DELEGATED}
    finally:
        base.rmdir()
