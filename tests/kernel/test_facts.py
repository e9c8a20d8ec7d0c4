"""What a process is, from the kernel's own texts."""

from __future__ import annotations

from arje.kernel.facts import Facts

INITRAMFS = """\
1 1 0:2 / / rw - rootfs rootfs rw
20 1 0:20 / /proc rw - proc proc rw
21 1 0:21 / /sys rw - sysfs sysfs rw
22 21 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
"""


def test_a_root_that_is_its_own_parent_is_looked_at_once() -> None:
    facts = Facts({"mountinfo": INITRAMFS})
    assert [mount.point for mount in facts.mounts_below("/")] == ["/", "/proc", "/sys", "/sys/fs/cgroup"]
