"""The matrix in a virtual machine: every controller, root with every capability, a landlock that is older than ports."""

from __future__ import annotations

import platform

import pytest

from vm import machine
from vm.kernel import NoMachine

CHECKS = (
    "every_feature_of_the_matrix_is_granted_but_what_this_machine_cannot_have",
    "a_ruleset_of_an_older_landlock_is_one_partial_loss_that_names_the_rights",
)


@pytest.fixture(scope="module")
def said() -> machine.Said:
    if platform.machine() != "x86_64":
        pytest.skip(f"the virtual machine is built for x86-64, not for {platform.machine()}")
    try:
        return machine.run("matrix")
    except NoMachine as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("check", CHECKS)
def test_the_matrix_with_every_controller_on_a_real_kernel(said: machine.Said, check: str) -> None:
    assert f"ok {check}" in said.console.splitlines(), said.console


def test_no_check_is_unknown_here(said: machine.Said) -> None:
    ran = {line.split()[1] for line in said.console.splitlines() if line.startswith(("ok ", "FAIL "))}
    assert ran == set(CHECKS), said.console
    assert said.verdict == 0, said.console
