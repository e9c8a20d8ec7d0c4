"""What a real Debian kernel grants in a virtual machine, where `/` is the initramfs and cgroup2 has every controller."""

from __future__ import annotations

import platform

import pytest

from vm import machine
from vm.kernel import NoMachine

CHECKS = (
    "the_root_is_the_initramfs",
    "an_overlay_over_the_whole_root_becomes_the_root",
    "an_overlay_over_usr_becomes_the_root",
    "the_old_root_stays_reachable_under_its_name",
    "a_directory_of_the_initramfs_itself_becomes_the_root",
    "a_new_root_has_its_own_proc_in_a_pid_namespace",
    "a_service_that_joins_its_own_mount_namespace_again_sees_its_root_only",
    "root_in_a_user_namespace_gets_an_overlay_as_root",
    "an_ordinary_user_gets_an_overlay_as_root_in_a_user_namespace",
    "an_ordinary_user_cannot_overlay_a_directory_with_mounts_below_it",
    "an_ordinary_user_keeps_the_old_root_under_its_name",
    "a_root_from_nothing_has_every_kind_of_mount",
    "a_root_from_nothing_in_a_user_namespace_has_every_kind_of_mount",
    "an_ordinary_users_root_from_nothing_has_every_kind_of_mount",
    "an_overlay_forgets_on_its_tmpfs_and_a_single_layer_is_read_only",
    "a_file_system_without_id_mapping_is_one_degradation",
    "limits_of_cgroup_v2_are_granted_and_read_back_equal",
    "pids_max_stops_a_fork_bomb",
    "all_eight_namespaces_are_granted_and_seen_by_the_payload",
    "an_ordinary_user_gets_all_eight_namespaces",
)


@pytest.fixture(scope="module")
def said() -> machine.Said:
    if platform.machine() != "x86_64":
        pytest.skip(f"the virtual machine is built for x86-64, not for {platform.machine()}")
    try:
        return machine.run("initramfs_root")
    except NoMachine as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("check", CHECKS)
def test_in_an_initramfs_on_a_real_kernel(said: machine.Said, check: str) -> None:
    assert f"ok {check}" in said.console.splitlines(), said.console


def test_the_machine_ends_by_itself_with_a_verdict_and_no_check_is_unknown_here(said: machine.Said) -> None:
    ran = {line.split()[1] for line in said.console.splitlines() if line.startswith(("ok ", "FAIL "))}
    assert ran == set(CHECKS), said.console
    assert said.verdict == 0, said.console


def test_a_machine_that_hangs_is_ended_and_its_verdict_is_out_of_time() -> None:
    try:
        said = machine.run("initramfs_root", limit=0.5)
    except NoMachine as error:
        pytest.skip(str(error))
    assert said.verdict == machine.TIMED_OUT
    assert said.seconds < 5
