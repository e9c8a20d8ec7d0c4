"""Roots, namespaces and limits where `/` is the initramfs and cgroup2 has every controller (isolation.md §3, 8 and 11).

Plain pivot_root(2) says EINVAL here: the root mount has no parent. What is checked is what the payload itself printed.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from arje.card.soma import (
    Bind,
    CgroupLimits,
    Credential,
    IdMap,
    InjectedFile,
    Namespaces,
    Overlay,
    PivotRoot,
    Proc,
    Symlink,
    TimeOffsets,
    Tmpfs,
)
from arje.errors import SetupFailed
from arje.incarnation import Step
from vm.guest.checks import check, check_as, expect
from vm.guest.lab import Ran, run

NOBODY = 65534
OVERLAY = "794c7630"  # statfs(2): OVERLAYFS_SUPER_MAGIC, as `stat -f` prints it
ALL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, user=True, cgroup=True, time=True)
#: Prints the type of the root, whether the machine's own /init and the layers are in sight, and writes a file.
LOOK = "stat -f -c %t /; ls /init; echo kept > /written; cat /written"
#: Prints where the root of every mount in sight is and what it is.
ROOTS = "cut -d' ' -f5,9 /proc/self/mountinfo"
MOUNTS = f"mkdir -p /proc; mount -t proc proc /proc; {ROOTS}"
#: Prints the first two pids in sight.
PIDS = "ls /proc | grep -E '^[0-9]+$' | head -2"

#: Prints the namespaces of the shell itself.
SPACES = "for space in /proc/$$/ns/*; do readlink $space; done"
#: Gives a small root the names of busybox's applets.
INSTALL = "/bin/busybox --install -s /bin; export PATH=/bin"


def overlay_in(top: str, *lower: str) -> Overlay:
    """Make the directories of an overlay, below ``top``."""
    for name in ("upper", "work", "merged"):
        Path(top, name).mkdir(parents=True)
    return Overlay(lower=lower, upper=f"{top}/upper", work=f"{top}/work", merged=f"{top}/merged")


def small_root(top: str) -> str:
    """Make a root directory that holds busybox and nothing else. Returns it."""
    Path(top, "bin").mkdir(parents=True)
    Path(top, "bin/busybox").write_bytes(Path("/usr/bin/busybox").read_bytes())
    Path(top, "bin/busybox").chmod(0o755)
    return top


def said(ran: Ran) -> list[str]:
    """Return the lines that a payload printed. Raises AssertionError when it lost isolation or ended badly."""
    expect([str(loss) for loss in ran.incarnation.degradations], [], "degradations")
    expect(str(ran.exit), "exited 0", f"exit after {ran.output!r}")
    return ran.output.splitlines()


@check
def the_root_is_the_initramfs() -> None:
    first = Path("/proc/self/mountinfo").read_text().splitlines()[0]
    expect((first.split()[4], first.split(" - ")[1].split()[0]), ("/", "rootfs"))
    libc = ctypes.CDLL(None, use_errno=True)
    os.chdir("/tmp")  # a mount point, so that only the root is to blame
    expect(libc.syscall(155, b".", b"."), -1, "pivot_root")
    os.chdir("/")
    expect(errno.errorcode[ctypes.get_errno()], "EINVAL", "pivot_root")


@check
def an_overlay_over_the_whole_root_becomes_the_root() -> None:
    overlay = overlay_in("/tmp/whole", "/")
    ran = run(
        "sh",
        "-c",
        f"{LOOK}; ls /tmp/whole 2>&1; {MOUNTS}",
        namespaces=Namespaces(mount=True),
        overlay=overlay,
        pivot_root=PivotRoot(new_root=overlay.merged),
    )
    expect(
        said(ran), [OVERLAY, "/init", "kept", "ls: /tmp/whole: No such file or directory", "/ overlay", "/proc proc"]
    )
    expect(Path("/tmp/whole/upper/written").read_text(), "kept\n")
    expect(Path("/written").exists(), False, "written outside")


@check
def an_overlay_over_usr_becomes_the_root() -> None:
    overlay = overlay_in("/tmp/usr", "/usr")
    ran = run(
        "sh",
        "-c",
        f"stat -f -c %t /; ls -d /init /bin /tmp 2>&1; echo kept > /written; {MOUNTS}",
        namespaces=Namespaces(mount=True),
        overlay=overlay,
        pivot_root=PivotRoot(new_root=overlay.merged),
    )
    gone = [f"ls: {path}: No such file or directory" for path in ("/init", "/tmp")]
    expect(sorted(said(ran)), sorted([OVERLAY, *gone, "/bin", "/ overlay", "/proc proc"]))
    expect(Path("/tmp/usr/upper/written").read_text(), "kept\n")


@check
def the_old_root_stays_reachable_under_its_name() -> None:
    root = small_root("/tmp/keep")
    ran = run(
        "/bin/busybox",
        "sh",
        "-c",
        "busybox ls /; busybox ls /old/init /old/tmp/keep/bin; busybox cat /old/proc/1/comm",
        namespaces=Namespaces(mount=True),
        pivot_root=PivotRoot(new_root=root, put_old_name="old"),
    )
    expect(said(ran), ["bin", "old", "/old/init", "", "/old/tmp/keep/bin:", "busybox", "python3"])


@check
def a_directory_of_the_initramfs_itself_becomes_the_root() -> None:
    root = small_root("/srv/plain")
    script = f"busybox ls / /..; cd ..; busybox pwd; {INSTALL}; {MOUNTS}"
    ran = run(
        "/bin/busybox", "sh", "-c", script, namespaces=Namespaces(mount=True), pivot_root=PivotRoot(new_root=root)
    )
    expect(said(ran), ["/:", "bin", "", "/..:", "bin", "/", "/ rootfs", "/proc proc"])
    expect(Path("/srv/plain/bin/mount").is_symlink(), True, "the writes land in the directory")


@check
def a_new_root_has_its_own_proc_in_a_pid_namespace() -> None:
    overlay = overlay_in("/tmp/pid", "/")
    script = f"echo $$; {PIDS}; {ROOTS}"
    ran = run(
        "sh",
        "-c",
        script,
        namespaces=Namespaces(mount=True, pid=True),
        overlay=overlay,
        pivot_root=PivotRoot(new_root=overlay.merged),
    )
    expect(said(ran), ["2", "1", "2", "/ overlay", "/proc proc"])


@check
def a_service_that_joins_its_own_mount_namespace_again_sees_its_root_only() -> None:
    root = small_root("/tmp/rejoin")
    script = f"{INSTALL}; {MOUNTS}; nsenter --mount=/proc/self/ns/mnt /bin/ls /"
    ran = run(
        "/bin/busybox", "sh", "-c", script, namespaces=Namespaces(mount=True), pivot_root=PivotRoot(new_root=root)
    )
    expect(said(ran), ["/ tmpfs", "/proc proc", "bin", "proc"])


@check_as(NOBODY)
def an_ordinary_user_gets_an_overlay_as_root_in_a_user_namespace() -> None:
    overlay = overlay_in("/tmp/user", "/usr")
    script = f"id -u; stat -f -c %t /; ls /init /bin/sh 2>&1; echo kept > /written; {PIDS}; {ROOTS}"
    ran = run(
        "sh",
        "-c",
        script,
        namespaces=Namespaces(user=True, mount=True, pid=True),
        overlay=overlay,
        pivot_root=PivotRoot(new_root=overlay.merged),
    )
    expect(
        sorted(said(ran)),
        sorted(["0", OVERLAY, "ls: /init: No such file or directory", "/bin/sh", "1", "2", "/ overlay", "/proc proc"]),
    )
    expect(Path("/tmp/user/upper/written").stat().st_uid, NOBODY, "owner of what was written")


@check_as(NOBODY)
def an_ordinary_user_cannot_overlay_a_directory_with_mounts_below_it() -> None:
    """Without them the overlay would show what they hide: "failed to clone lowerpath" (mount_namespaces(7), locked)."""
    overlay = overlay_in("/tmp/locked", "/")
    try:
        run("true", namespaces=Namespaces(user=True, mount=True), overlay=overlay)
    except SetupFailed as error:
        expect((error.step, error.errno), (Step.MOUNT_OVERLAY, errno.EINVAL))
    else:
        raise AssertionError("it could")


@check_as(NOBODY)
def an_ordinary_user_keeps_the_old_root_under_its_name() -> None:
    root = small_root("/tmp/user-keep")
    ran = run(
        "/bin/busybox",
        "sh",
        "-c",
        "busybox id -u; busybox ls /; busybox ls /old/init",
        namespaces=Namespaces(user=True, mount=True),
        pivot_root=PivotRoot(new_root=root, put_old_name="old"),
    )
    expect(said(ran), ["0", "bin", "old", "/old/init"])


@check
def root_in_a_user_namespace_gets_an_overlay_as_root() -> None:
    overlay = overlay_in("/tmp/late", "/")
    script = f"id -u; stat -f -c %t /; cat /proc/self/uid_map; {ROOTS}"
    ran = run(
        "sh",
        "-c",
        script,
        namespaces=Namespaces(user=True, mount=True, pid=True),
        overlay=overlay,
        pivot_root=PivotRoot(new_root=overlay.merged),
    )
    expect(
        [line.split() for line in said(ran)], [["0"], [OVERLAY], ["0", "0", "1"], ["/", "overlay"], ["/proc", "proc"]]
    )


#: A root from nothing with one of each kind of mount. The old root is looked for through pid 1 as well.
FILES = {
    "tmpfs": (Tmpfs(target="/", size=2**20), Tmpfs(target="/run")),
    "binds": (Bind(source="/usr", read_only=True), Bind(source="/etc", target="/mnt/etc")),
    "symlinks": (
        Symlink(path="/bin", to="usr/bin"),
        *(Symlink(path=f"/{name}", to=f"usr/{name}") for name in ("lib", "lib64")),
    ),
    "files": (InjectedFile(path="/motd", content="hello\n"),),
    "credentials": (Credential(name="token", content="s3cret"),),
    "proc": Proc(hidepid="invisible", subset="pid"),
    "dev": "minimal",
    "sysfs": True,
    "mqueue": True,
    "private_tmp": True,
    "masked_paths": ("/sys/kernel",),
    "read_only_paths": ("/mnt/etc",),
    "read_only_root": True,
}
USE = (
    "cat /motd; cat $CREDENTIALS_DIRECTORY/token; echo; ls /sys/kernel; for f in /new /usr/new /mnt/etc/new;"
    " do (: > $f) 2>&1 | grep -o Read-only; done; echo x > /dev/null; ls /sys/class/net; echo ok > /tmp/x; cat /tmp/x;"
    " ls /init /proc/1/root/init 2>&1 | grep -cE 'No such|denied'"
)
USED = ["hello", "s3cret", "Read-only", "Read-only", "Read-only", "lo", "ok", "2"]
KINDS = {"mount": True, "pid": True, "net": True, "ipc": True}


@check
def a_root_from_nothing_has_every_kind_of_mount() -> None:
    expect(said(run("/usr/bin/sh", "-c", USE, namespaces=Namespaces(**KINDS), **FILES)), USED)


@check
def a_root_from_nothing_in_a_user_namespace_has_every_kind_of_mount() -> None:
    expect(said(run("/usr/bin/sh", "-c", USE, namespaces=Namespaces(**KINDS, user=True), **FILES)), USED)


@check_as(NOBODY)
def an_ordinary_users_root_from_nothing_has_every_kind_of_mount() -> None:
    expect(said(run("/usr/bin/sh", "-c", USE, namespaces=Namespaces(**KINDS, user=True), **FILES)), USED)


@check
def an_overlay_forgets_on_its_tmpfs_and_a_single_layer_is_read_only() -> None:
    forgets = Overlay(lower=("/usr",), tmpfs_upper=2**20)
    script = "echo x > /new && cat /new; stat -f -c '%b %S' /"
    expect(said(run("sh", "-c", script, namespaces=Namespaces(mount=True), overlay=forgets)), ["x", "256 4096"])
    single = Overlay(lower=("/usr",))
    script = "(: > /new) 2>&1 | grep -o Read-only"
    expect(said(run("sh", "-c", script, namespaces=Namespaces(mount=True), overlay=single)), ["Read-only"])


@check
def a_file_system_without_id_mapping_is_one_degradation() -> None:
    """The initramfs is one, on every kernel; so is tmpfs before Linux 6.3."""
    lines = (IdMap(inside=0, outside=100000, count=65536),)
    binds = (Bind(source="/usr", target="/mnt", idmapped=True),)
    spaces = Namespaces(mount=True, user=True)
    ran = run("true", namespaces=spaces, uid_map=lines, gid_map=lines, binds=binds, prefer=("idmapped",))
    expect([(loss.feature, loss.kind) for loss in ran.incarnation.degradations], [("idmapped./mnt", "MountSkipped")])


@check
def limits_of_cgroup_v2_are_granted_and_read_back_equal() -> None:
    asked = CgroupLimits(memory_max=64 << 20, memory_swap_max=0, pids_max=20, cpu_weight=50, cpu_max="50%")
    script = (
        "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat memory.max memory.swap.max pids.max cpu.weight cpu.max"
    )
    ran = run("sh", "-c", f"{script}; read line; true", cgroup=asked)
    expect(said(ran), ["67108864", "0", "20", "50", "50000 100000"])
    names = ("memory_max", "memory_swap_max", "pids_max", "cpu_weight", "cpu_max")
    expect([ran.granted(f"cgroup.{name}") for name in names], said(ran))


@check
def pids_max_stops_a_fork_bomb() -> None:
    ran = run(
        "sh",
        "-c",
        "i=0; while [ $i -lt 9 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done; echo never",
        cgroup=CgroupLimits(pids_max=5),
    )
    expect("never" in ran.output, False, "it went on")
    expect("can't fork" in ran.output, True, ran.output)


@check
def all_eight_namespaces_are_granted_and_seen_by_the_payload() -> None:
    offsets = TimeOffsets(monotonic=1000, boottime=86400.5)
    script = (
        f"{SPACES}; cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; cat /proc/self/cgroup; read line; true"
    )
    ran = run("sh", "-c", script, namespaces=ALL, time_offsets=offsets)
    *spaces, monotonic, boottime, uptime, place = said(ran)
    kinds = [kind if kind != "cgroup" else "cgroup-ns" for kind in ALL.asked()]
    expect({ran.granted(kind) for kind in kinds} - set(spaces), set(), "reported and not seen")
    expect((monotonic.split(), boottime.split()), (["monotonic", "1000", "0"], ["boottime", "86400", "500000000"]))
    expect(86400 < int(uptime) < 87000, True, f"uptime {uptime}")
    expect(place, "0::/")


@check_as(NOBODY)
def an_ordinary_user_gets_all_eight_namespaces() -> None:
    script = f"{SPACES}; id -u; cat /proc/self/timens_offsets; read line; true"
    ran = run("sh", "-c", script, namespaces=ALL, time_offsets=TimeOffsets(boottime=86400))
    *spaces, uid, _, boottime = said(ran)
    kinds = [kind if kind != "cgroup" else "cgroup-ns" for kind in ALL.asked()]
    expect({ran.granted(kind) for kind in kinds} - set(spaces), set(), "reported and not seen")
    expect((uid, boottime.split()), ("0", ["boottime", "86400", "0"]))
