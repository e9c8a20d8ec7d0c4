"""From the initramfs into a Debian root on a disk, a second arje in a container there, and by kexec into another kernel."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from vm import disk, image, kernel, layer, roots
from vm.cpio import Tree
from vm.driven import Driven
from vm.machine import Setup
from vm.story import Told, ask, log_in

CHECKS: Final = (
    "the_initramfs_goes_on_to_a_debian_root",
    "arje_is_the_first_process_there_and_keeps_its_services",
    "nothing_of_the_initramfs_is_left_in_memory",
    "a_second_arje_in_a_container_ends_with_its_main_services_status",
    "a_container_ends_with_the_signal_that_its_main_service_ended_by",
    "kexec_goes_on_to_another_kernel",
    "the_root_was_unmounted_and_keeps_what_was_written",
)
_MAIN: Final = """
[payload]
exec = "/bin/sh"
argv = ["-c", "{}"]
[supervision]
ends_arje = true
restart = "never"
"""
_OTHER: Final = """
#include <stdio.h>
#include <sys/reboot.h>
int main(void) { puts("another kernel is here"); fflush(stdout); reboot(RB_POWER_OFF); }
"""
_CONTAIN: Final = "unshare --user --map-root-user --pid --mount --net --uts --ipc --fork --kill-child --mount-proc arje"


def tell(told: Told) -> None:
    """Boot into the root, do all there, and read the disk."""
    with tempfile.TemporaryDirectory(prefix="arje-vm.") as directory:
        root = Path(directory, "root")
        subprocess.run(["cp", "--sparse=always", roots.debian_with_arje(), root], check=True)
        kernels = Path(directory, "kernels")
        kernels.mkdir()
        shutil.copy(kernel.find().image, kernels / "vmlinuz")
        other = Tree()
        other.file("/init", image.compiled_text(_OTHER), 0o755)
        other.character_device("/dev/console", 0o600, 5, 1)
        (kernels / "initrd").write_bytes(other.encode())
        disk.make(Path(directory, "boot"), size=24 << 20, tree=kernels)
        line = ("root=/dev/vda", "rw")
        with told.machine(Setup(line=line, disks=(root, Path(directory, "boot"))), layer.of_cards(None)) as machine:
            _in_debian(told, machine)
        with told.check("the_root_was_unmounted_and_keeps_what_was_written"):
            assert disk.read(root, "/srv/written") == b"before\n"
            assert disk.is_clean(root), "it was not unmounted"


def _in_debian(told: Told, machine: Driven) -> None:
    with told.check("the_initramfs_goes_on_to_a_debian_root"):
        log_in(machine)
        found = ask(machine, "grep ' / ' /proc/self/mounts; head -1 /etc/os-release")
        assert "/dev/vda / ext4 rw" in found, found
        assert "Debian" in found, found
    with told.check("arje_is_the_first_process_there_and_keeps_its_services"):
        found = ask(machine, "arjectl wait idle --for ready; arjectl status; cat /proc/1/cmdline | tr '\\0' ' '")
        assert "pid 1  running" in found, found
        assert "idle" in found, found
        assert "arje" in found.splitlines()[-1], found
    with told.check("nothing_of_the_initramfs_is_left_in_memory"):
        found = ask(machine, "grep -E 'Unevictable' /proc/meminfo")
        assert int(found.split()[1]) < 16 << 10, found  # kB; the initramfs has 40 MB
    for name, script, status, check in (
        ("plain", "exit 7", 7, "a_second_arje_in_a_container_ends_with_its_main_services_status"),
        ("killed", "kill -9 $$", 137, "a_container_ends_with_the_signal_that_its_main_service_ended_by"),
    ):
        with told.check(check):
            card = _MAIN.format(script).replace("$", "\\$")
            ask(machine, f"mkdir -p /srv/{name}; cat > /srv/{name}/main.toml <<END{card}END")
            found = ask(machine, f"{_CONTAIN} --cards /srv/{name} --runtime-dir /tmp/{name} 2>/tmp/{name}.log; echo $?")
            assert found.splitlines()[-1] == str(status), found + ask(machine, f"tail -5 /tmp/{name}.log")
    with told.check("kexec_goes_on_to_another_kernel"):
        ask(machine, "echo before > /srv/written; mount /dev/vdb /boot")
        ask(machine, "python3 -Es -m vm.guest.kexec /boot/vmlinuz /boot/initrd 'console=ttyS0 loglevel=4'")
        machine.type("arjectl kexec\n")
        machine.expect("another kernel is here", 90)
        why = machine.until_end()
        assert why == "guest-shutdown", why
