"""/proc read back: our own process and a real child are what arje.kernel.process says they are."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from arje.kernel import process


def test_namespaces_are_those_of_proc() -> None:
    assert process.namespaces("self")["mount"] == os.readlink("/proc/self/ns/mnt")
    assert len(process.namespaces(os.getpid())) == 8


def test_limits_are_those_of_getrlimit() -> None:
    ours = process.limits("self")
    for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_STACK):
        expected = tuple(
            2**64 - 1 if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(number)
        )
        assert ours[number] == expected


def test_status_and_maps_are_readable() -> None:
    assert process.status("self")["Pid"] == str(os.getpid())
    assert process.id_map("self", "uid_map")[0][0] == 0


def test_descendants_are_found_below_their_parent() -> None:
    script = "import subprocess,sys;p=subprocess.Popen(['cat'],stdin=subprocess.PIPE);print(p.pid,flush=True);input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        below = list(process.descendants(os.getpid()))
        assert below.index(child.pid) < below.index(grandchild)
        assert process.tree([grandchild])[0].ppid == child.pid
        child.communicate("\n")
    assert process.tree([child.pid]) == ()


def test_a_command_line_is_shown_with_spaces_and_a_kernel_thread_in_brackets() -> None:
    assert sys.executable.rpartition("/")[2] in process.command(os.getpid()) or "pytest" in process.command(os.getpid())
