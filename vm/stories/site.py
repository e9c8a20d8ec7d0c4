"""A boot to a login with the cards of vm/cards, all that their services got, and off, with everything on the disk."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from vm import disk, layer
from vm.driven import NotSaid
from vm.machine import Setup
from vm.story import CARDS, Told, ask, log_in

CHECKS: Final = (
    "the_console_comes_to_a_login_and_lets_root_in",
    "cards_that_were_compiled_outside_are_not_judged_again",
    "all_cards_run_and_arje_is_the_first_process",
    "every_kind_of_namespace_is_another_than_pid_1s",
    "limits_are_granted_and_stand_in_the_cgroup",
    "a_fork_bomb_stops_at_pids_max_and_the_others_do_not_feel_it",
    "a_hog_is_killed_and_named",
    "landlock_of_abi_2_is_degraded_and_names_the_lost_rights",
    "an_overlay_over_the_initramfs_is_a_root_by_pivot_root",
    "two_services_reach_each_other_over_veth",
    "a_range_of_ids_is_mapped_into_a_user_namespace",
    "a_thousand_orphans_that_end_at_once_are_reaped",
    "a_disk_limit_is_granted_and_slows",
    "arjectl_shows_it_all_as_people_see_it",
    "poweroff_ends_the_machine",
    "a_service_that_ignores_sigterm_holds_it_no_longer_than_its_timeout",
    "what_was_written_before_is_on_the_disk",
)
#: Reads two megabytes past the cache, at one a second, and says how long it took.
_SLOW: Final = """
[payload]
exec = "/usr/bin/python3"
argv = ["-ISc", \"\"\"
import mmap, os, time
fd, room = os.open('/dev/vda', os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
began = time.monotonic()
for _ in range(3):
    os.readv(fd, [room])
print(time.monotonic() - began)
\"\"\"]
[soma.cgroup]
io_max = ["/dev/vda rbps=1M"]
[supervision]
kind = "one-shot"
"""
#: Ignores SIGTERM, and writes until it is killed.
_STUBBORN: Final = """
wanted_by = ["site"]
[payload]
exec = "/bin/sh"
argv = ["-c", \"\"\"
trap '' TERM
mount -t ext4 /dev/vda /mnt && echo before > /mnt/written && exec 3>>/mnt/going
while :; do echo on >&3; sleep 0.2; done
\"\"\"]
env = { PATH = "/usr/sbin:/usr/bin" }
[supervision]
stop = "TERM/2 KILL"
"""


def tell(told: Told) -> None:
    """Boot, look, go off, and read the disk."""
    with tempfile.TemporaryDirectory(prefix="arje-vm.") as directory:
        image = Path(directory, "disk")
        disk.make(image, size=16 << 20)
        cards = layer.of_cards(CARDS, {"slow-disk.toml": _SLOW, "stubborn.toml": _STUBBORN})
        with told.machine(Setup(disks=(image,)), cards) as machine:
            with told.check("the_console_comes_to_a_login_and_lets_root_in"):
                log_in(machine)
            with told.check("cards_that_were_compiled_outside_are_not_judged_again"):
                found = ask(machine, "dmesg | grep 'cards compiled'")
                assert "judged=0 " in found, found
            try:
                told.take(ask(machine, "/usr/bin/python3 -Es -m vm.guest.init scenario vm.probes.site 2>&1", 240))
            except NotSaid as error:
                told.take(str(error))
            began = time.monotonic()
            machine.type("arjectl poweroff\n")
            with told.check("poweroff_ends_the_machine"):
                why = machine.until_end()
                assert why == "guest-shutdown", why
            with told.check("a_service_that_ignores_sigterm_holds_it_no_longer_than_its_timeout"):
                took = time.monotonic() - began
                assert 2 <= took < 25, f"it took {took:.1f} s; the service has 2"
        with told.check("what_was_written_before_is_on_the_disk"):
            assert disk.read(image, "/written") == b"before\n"
            assert disk.read(image, "/going").count(b"on\n") > 5
            assert disk.is_clean(image), "it was not unmounted"
