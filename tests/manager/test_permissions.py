"""``permissions`` of a service: what it finds inside, what arjectl tells of it."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Manager, needs_root, sh

Manage = Callable[..., Manager]
SAY = "ls -d /*; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | wc -l; touch /usr/x 2>&1; readlink /proc/self/ns/ipc"
NARROW = '[permissions]\nnetworking = "loopback"\nfilesystem = "none"\nprocesses = "none"\nipc = "none"\n'


def test_a_service_that_may_nothing_sees_programs_and_itself(manage: Manage) -> None:
    for user in (False, True):
        manager = manage({"a": sh(SAY, rest=f"supervision.kind = 'one-shot'\n{NARROW}")}, user=user)
        manager.settle("a")
        lines = manager.lines("a")
        roots = [line for line in lines if line.startswith("/")]
        assert set(roots) <= {
            "/bin",
            "/dev",
            "/etc",
            "/lib",
            "/lib32",
            "/lib64",
            "/libx32",
            "/nix",
            "/proc",
            "/sbin",
            "/usr",
        }
        assert any("Read-only file system" in line for line in lines), lines
        assert "3" in lines, "two lines of heading, and lo"
        shown = manager.ctl("show", "a").stdout
        assert '"filesystem": "none"' in shown


@needs_root
def test_they_are_forecast(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep 1000", rest=NARROW)})
    planned = manager.ctl("plan", "a").stdout
    for feature in ("pid", "mount", "net", "ipc", "read_only_root", "tmpfs./"):
        assert f"+ {feature} " in planned, planned
