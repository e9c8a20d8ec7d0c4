"""Limits in a virtual machine: cgroup2 with every controller, root with every capability, an ordinary user beside it."""

from __future__ import annotations

import platform

import pytest

from vm import machine
from vm.kernel import NoMachine

CHECKS = (
    "every_file_of_every_controller_is_granted_and_says_what_was_asked",
    "an_idle_cgroup_is_idle",
    "max_is_taken_and_read_back_wherever_there_is_a_most",
    "a_device_that_is_not_there_is_one_degradation",
    "a_memory_hog_is_killed_and_the_kernel_says_why",
    "the_kernel_tells_when_a_service_uses_too_much_and_page_cache_is_not_use",
    "pids_max_stops_a_fork_bomb_and_counts_it",
    "cpu_max_throttles",
    "a_frozen_payload_does_nothing_until_it_is_thawed",
    "a_delegated_cgroup_can_be_divided_by_its_user_but_not_widened",
    "a_delegated_cgroup_is_the_root_of_a_cgroup_namespace",
    "every_limit_is_changed_while_it_runs_and_read_back",
    "what_is_changed_from_outside_is_seen_and_changed_back",
    "root_may_raise_all_sixteen_limits",
    "more_files_than_the_kernel_has_is_foreseen",
    "a_deadline_is_kept_and_forks_fall_back",
    "protection_from_the_oom_killer_is_the_payloads_alone",
    "an_ordinary_user_hears_of_each_thing_that_is_beyond_it_and_why",
    "an_ordinary_user_may_step_back",
)


@pytest.fixture(scope="module")
def said() -> machine.Said:
    if platform.machine() != "x86_64":
        pytest.skip(f"the virtual machine is built for x86-64, not for {platform.machine()}")
    try:
        return machine.run("limits")
    except NoMachine as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("check", CHECKS)
def test_with_every_controller_on_a_real_kernel(said: machine.Said, check: str) -> None:
    assert f"ok {check}" in said.console.splitlines(), said.console


def test_no_check_is_unknown_here(said: machine.Said) -> None:
    ran = {line.split()[1] for line in said.console.splitlines() if line.startswith(("ok ", "FAIL "))}
    assert ran == set(CHECKS), said.console
    assert said.verdict == 0, said.console
