"""The steps of ids and privileges have no bad error path either: each call fails once, wanted and required."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

import pytest

from tests.incarnate.fault_tracer import Nursery, bed, sound

__all__ = ["bed"]  # a fixture

LIFE = {"card": "privileges", "hold": True}


class Fault(NamedTuple):
    """One call that fails, and the step and feature that this means. ``then``: features that fall with it."""

    name: str
    text: str
    errno: str
    step: str
    feature: str
    then: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}-{self.text or self.errno}"


FAULTS = (
    Fault("openat", "max_user_namespaces", "EROFS", "no-nested-user", "disable_nested_userns"),
    Fault("personality", "NO_RANDOMIZE", "EINVAL", "personality", "personality"),
    Fault("seccomp", "", "EACCES", "lock-personality", "lock_personality"),
    Fault("prctl", "PR_CAPBSET_READ", "EPERM", "bounding", "capabilities.bounding", ("disable_nested_userns",)),
    Fault("prctl", "PR_CAPBSET_DROP", "EPERM", "bounding", "capabilities.bounding", ("disable_nested_userns",)),
    Fault("prctl", "PR_SET_KEEPCAPS", "EPERM", "keep-caps", "capabilities.keep", ("securebits",)),
    Fault("keyctl", "JOIN_SESSION", "EDQUOT", "keyring", "keyring"),
    Fault("capget", "", "EPERM", "capset", "capabilities.keep", ("securebits",)),
    Fault("capset", "", "EPERM", "capset", "capabilities.keep", ("securebits",)),
    Fault("prctl", "PR_CAP_AMBIENT_CLEAR", "EINVAL", "ambient", "capabilities.keep"),
    Fault("prctl", "PR_CAP_AMBIENT_RAISE", "EPERM", "ambient", "capabilities.keep"),
    Fault("prctl", "PR_SET_SECUREBITS", "EPERM", "securebits", "securebits"),
)


def fail(bed: Nursery, fault: Fault, **request: Any) -> dict[str, Any]:
    when = bed.find(LIFE, "child", fault.name, fault.text)
    told = bed.run({**LIFE, **request}, (f"{fault.name}:error={fault.errno}:when={when}",))
    assert "(INJECTED)" in told["log"]
    assert sound(told) == []
    return told


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_call_that_fails_in_a_required_step_is_told_and_nothing_has_run(bed: Nursery, fault: Fault) -> None:
    told = fail(bed, fault, require=[fault.feature])
    assert (told["outcome"], told.get("step")) == ("failed", fault.step), told
    assert told["errno"] == getattr(errno, fault.errno)
    assert told["field"].startswith("soma.")
    assert "ran" not in told["output"]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_call_that_fails_in_an_optional_step_is_one_degradation(bed: Nursery, fault: Fault) -> None:
    told = fail(bed, fault, prefer=[fault.feature])
    assert told["outcome"] == "started", told
    lost = {loss["feature"]: loss["errno"] for loss in told["degradations"]}
    assert lost.pop(fault.feature) == getattr(errno, fault.errno)
    assert set(lost) <= {*fault.then}
    assert len(told["degradations"]) == len(lost) + 1


@pytest.mark.parametrize("name", ["setgroups", "setresgid", "setresuid", "unshare"])
def test_whoever_it_was_to_be_nothing_runs_as_somebody_else(bed: Nursery, name: str) -> None:
    when = bed.find(LIFE, "child", name)
    told = bed.run(LIFE, (f"{name}:error=EPERM:when={when}",))
    assert sound(told) == []
    assert (told["outcome"], told["errno"], told["output"]) == ("failed", errno.EPERM, []), told
