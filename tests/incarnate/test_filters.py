"""Real payloads under seccomp and landlock: what they can no longer do, what the report says, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from arje.card.soma import Bind, IdMap, Landlock, Namespaces, RunAs, Seccomp
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.families import filters
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Degradation, Grant, Step
from arje.kernel import landlock, seccomp
from arje.kernel.capabilities import Availability, CapabilitySet
from tests.conftest import python_for_nobody
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
needs_library = pytest.mark.skipif(
    not CapabilitySet.detect(None)["libseccomp"].available, reason="libseccomp is not installed"
)
needs_landlock = pytest.mark.skipif(landlock.abi() < 6, reason=f"landlock ABI 6 is needed, here is {landlock.abi()}")
SYSTEM = ("/usr", "/bin", "/lib", "-/lib64")
PROGRAMS = (*SYSTEM, sys.prefix, sys.base_prefix)
SERVICE = Seccomp(allow=("@system-service",))


def python(code: str) -> tuple[str, ...]:
    """A payload of Python that needs little of the machine."""
    return (sys.executable, "-I", "-S", "-c", code)


def grant(ran: Ran, feature: str) -> Grant:
    return next(grant for grant in ran.incarnation.grants if grant.feature == feature)


def instruction(code: int, true: int, false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


def denying(name: str) -> bytes:
    """A filter that is compiled by hand: this call gets EPERM."""
    test = instruction(0x15, 0, 1, seccomp.number_of(name))
    return (
        instruction(0x20, 0, 0, 0)
        + test
        + instruction(6, 0, 0, seccomp.ERRNO | 1)
        + instruction(6, 0, 0, seccomp.ALLOW)
    )


# -- seccomp -----------------------------------------------------------------------------------------------------------


@needs_library
def test_a_denied_call_gets_the_errno_of_the_card(run: Run, tmp_path: Path) -> None:
    refused = (("mkdir", "EROFS"), ("mkdirat", "EROFS"))
    ran = run("mkdir", str(tmp_path / "new"), seccomp=replace(SERVICE, errno=refused))
    assert "Read-only file system" in ran.output
    assert not (tmp_path / "new").exists()


@needs_library
def test_kill_ends_the_payload_with_sigsys_and_the_exit_says_so(run: Run, tmp_path: Path) -> None:
    asked = replace(SERVICE, deny=("mkdir", "mkdirat"), default="kill")
    ran = run("mkdir", str(tmp_path / "new"), seccomp=asked)
    assert (ran.exit.kind in {"killed", "dumped"}, ran.exit.code) == (True, signal.SIGSYS)
    assert str(ran.exit).startswith("signal SYS")


@needs_library
def test_log_mode_lets_everything_through(run: Run, tmp_path: Path) -> None:
    ran = run("mkdir", str(tmp_path / "new"), seccomp=Seccomp(allow=("@default",), default="log", log=True))
    assert ran.exit.ok
    assert (tmp_path / "new").is_dir()
    assert grant(ran, "seccomp").ok


@needs_library
def test_what_is_reported_is_what_the_running_payload_shows(run: Run) -> None:
    script = "read line; grep -E 'Seccomp|NoNewPrivs' /proc/self/status"
    ran = run("sh", "-c", script, seccomp=SERVICE, no_new_privs=True)
    shown = dict(line.split(":\t") for line in ran.output.splitlines())
    assert shown == {"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1"}
    assert grant(ran, "seccomp").granted == "mode 2, 1 filters"
    assert not ran.incarnation.degradations


@needs_library
def test_processes_below_the_payload_are_under_the_filter_too(run: Run, tmp_path: Path) -> None:
    asked = replace(SERVICE, deny=("mkdir", "mkdirat"))
    ran = run("sh", "-c", f"sh -c 'setsid -w mkdir {tmp_path}/new; grep Seccomp: /proc/self/status'", seccomp=asked)
    assert "Operation not permitted" in ran.output
    assert "Seccomp:\t2" in ran.output


@needs_library
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 goes with x86-64")
def test_the_32_bit_door_is_closed_unless_it_is_asked_for(run: Run) -> None:
    getpid = "b814000000cd80c3"  # mov eax, 20; int 0x80; ret
    code = f"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("{getpid}"))
print("pid", ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    if "pid" not in run(*python(code)).output:
        pytest.skip("this kernel has no 32-bit system calls")
    assert run(*python(code), seccomp=SERVICE).exit.code == signal.SIGSYS
    assert "pid" in run(*python(code), seccomp=replace(SERVICE, architectures=("native", "x86"))).output


@needs_library
@needs_library
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 goes with x86-64")
@pytest.mark.parametrize("number", [0x40000000 | 39, 0x40000000 | 520])  # getpid, execve of x32
def test_the_x32_door_is_closed(run: Run, number: int) -> None:
    code = f"import ctypes; print(ctypes.CDLL(None).syscall({number}) < 0, flush=True)"
    assert run(*python(code)).exit.ok
    ran = run(*python(code), seccomp=SERVICE)
    assert (ran.output, ran.exit.kind, ran.exit.code) == ("", "dumped" if ran.exit.kind == "dumped" else "killed", 31)


@pytest.mark.parametrize("asked", [Seccomp(allow=("@basic-io",)), Seccomp(allow=("@default",), deny=("execve",))])
def test_a_filter_that_denies_execve_is_refused_when_planned(run: Run, asked: Seccomp) -> None:
    with pytest.raises(SetupFailed, match="denies execve") as caught:
        run("true", seccomp=asked)
    assert (caught.value.step, caught.value.field) == (Step.PLAN, "soma.seccomp")


@pytest.mark.parametrize(
    ("soma", "field", "words"),
    [
        ({"seccomp": Seccomp(allow=("@nope",))}, "soma.seccomp.allow.0", "no system call or set"),
        ({"seccomp": Seccomp()}, "soma.seccomp", "nothing"),
        ({"seccomp": Seccomp(raw="/no/such")}, "soma.seccomp.raw", "No such file"),
        ({"seccomp": Seccomp(raw="/bin/true")}, "soma.seccomp.raw", "sock_filter"),
        ({"seccomp": Seccomp(raw="/a\0b")}, "soma.seccomp.raw", "NUL"),
        ({"landlock": Landlock()}, "soma.landlock", "nothing"),
        ({"landlock": Landlock(read=("usr",))}, "soma.landlock.read.0", "absolute"),
        ({"landlock": Landlock(scopes=("all",))}, "soma.landlock.scopes.0", "signal"),
    ],
)
def test_a_wrong_filter_made_in_python_is_refused_like_one_in_a_file(
    run: Run, soma: dict[str, object], field: str, words: str
) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        run("true", **soma)
    assert (caught.value.step, caught.value.field) == (Step.PLAN, field)


@needs_library
@pytest.mark.parametrize("default", ["kill", "errno:EPERM"])
def test_a_failed_exec_is_told_although_the_filter_leaves_no_call_to_tell_it(run: Run, default: str) -> None:
    with pytest.raises(SetupFailed, match="no such file") as caught:
        run("/no/such/program", seccomp=Seccomp(allow=("execve",), default=default))
    assert (caught.value.step, caught.value.errno) == (Step.EXEC, 2)


@needs_library
def test_a_filter_that_allows_execve_alone_still_starts_its_payload(run: Run) -> None:
    ran = run("/bin/true", seccomp=Seccomp(allow=("execve",), default="kill"))
    assert ran.exit.code == signal.SIGSYS  # of the loader's own calls


@needs_root
@needs_library
def test_without_no_new_privs_the_filter_comes_before_the_user_changes(run: Run) -> None:
    needed = {call for calls in (*filters._CALLS.values(), filters._LAST_CALLS) for call in calls}
    asked = Seccomp(allow=("@default", "@basic-io", "@file-system", *needed), deny=("mkdir", "mkdirat"))
    script = "id -u; mkdir /tmp/new; read line; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status"
    asked = replace(asked, allow=(*asked.allow, "@process", "@signal", "@ipc", "ioctl", "uname"))
    ran = run("sh", "-c", script, seccomp=asked, run_as=RunAs(user="nobody"))
    assert ran.output.split("\n")[0] == "65534"
    assert "Operation not permitted" in ran.output
    assert ran.output.split()[-4:] == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    assert grant(ran, "seccomp").ok


@needs_root
@needs_library
def test_a_filter_that_would_stop_arje_from_changing_the_user_is_refused_with_the_way_out(run: Run) -> None:
    asked = replace(SERVICE, deny=("setresuid",))
    with pytest.raises(SetupFailed, match=r"denies setresuid.*no_new_privs = true") as caught:
        run("true", seccomp=asked, run_as=RunAs(user="nobody"))
    assert (caught.value.step, caught.value.field) == (Step.PLAN, "soma.seccomp")
    ran = run("id", "-u", seccomp=asked, run_as=RunAs(user="nobody"), no_new_privs=True)
    assert ran.output == "65534\n"


@needs_root
def test_a_filter_of_others_is_checked_and_needs_no_library(run: Run, base: Path | None, tmp_path: Path) -> None:
    raw = tmp_path / "filter"
    raw.write_bytes(denying("mkdir"))
    found = run("mkdir", str(tmp_path / "new"), seccomp=Seccomp(raw=str(raw)))
    assert "Operation not permitted" in found.output
    raw.write_bytes(denying("execve"))
    with pytest.raises(SetupFailed, match="denies execve"):
        run("true", seccomp=Seccomp(raw=str(raw)))


def lacking(incarnator: Incarnator, *missing: Availability) -> Incarnator:
    """The same machine, but without these features."""
    features = incarnator.capabilities.features | {found.feature: found for found in missing}
    return Incarnator(replace(incarnator.capabilities, features=features), None)


def start(
    incarnator: Incarnator, *command: str, **soma: object
) -> tuple[str, tuple[Grant, ...], tuple[Degradation, ...]]:
    """Run a payload to its end."""
    read, write = os.pipe2(os.O_CLOEXEC)
    with open("/dev/null", "rb") as null, os.fdopen(read) as output:
        try:
            outcome = incarnator.incarnate(card_of(*command, **soma), StdioFds(null.fileno(), write, write))
        finally:
            os.close(write)
        text = output.read()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()
    return text, outcome.incarnation.grants, outcome.incarnation.degradations


NO_LIBRARY = Availability("libseccomp", False, False, Cause.HELPER_MISSING, detail="not there", remedy="install it")
NO_SECCOMP = Availability("seccomp", False, False, Cause.KERNEL_TOO_OLD, 38, "seccomp", "unknown", "another kernel")
NO_LANDLOCK = Availability("landlock", False, False, Cause.LSM, 95, "landlock_create_ruleset", "off", "lsm=landlock,…")


@pytest.mark.parametrize(
    ("missing", "soma", "cause", "kind"),
    [
        (NO_LIBRARY, {"seccomp": SERVICE}, Cause.HELPER_MISSING, "SeccompSkipped"),
        (NO_SECCOMP, {"seccomp": SERVICE}, Cause.KERNEL_TOO_OLD, "SeccompSkipped"),
        (NO_LANDLOCK, {"landlock": Landlock(read=("/usr",))}, Cause.LSM, "LandlockReduced"),
    ],
)
def test_a_filter_that_cannot_be_had_is_one_degradation_or_a_refusal(
    incarnator: Incarnator, tmp_path: Path, missing: Availability, soma: dict[str, object], cause: Cause, kind: str
) -> None:
    canary = tmp_path / "canary"
    poor = lacking(incarnator, missing)
    (feature,) = soma
    _, grants, (lost,) = start(poor, "touch", str(canary), **soma)
    assert (lost.feature, lost.cause, lost.kind, lost.remedy != "") == (feature, cause, kind, True)
    assert [found.ok for found in grants if found.feature == feature] == [False]
    assert canary.exists()
    canary.unlink()
    for how in ({"require": (feature,)}, {"strict_caps": True}):
        assert poor.dry_run(card_of("touch", str(canary), **soma, **how)).refusal
        with pytest.raises(IncarnationRefused) as caught:
            start(poor, "touch", str(canary), **soma, **how)
        assert [loss.feature for loss in caught.value.degradations] == [feature]
    assert not canary.exists()


def test_a_filter_that_the_kernel_refuses_is_lost_also_when_the_rest_was_judged_before(
    run: Run, tmp_path: Path
) -> None:
    raw = tmp_path / "filter"
    raw.write_bytes(instruction(0x34, 0, 0, 0) + instruction(6, 0, 0, seccomp.ALLOW))  # divides by 0
    ran = run("true", seccomp=Seccomp(raw=str(raw)), require=("umask",))
    (lost,) = ran.incarnation.degradations
    assert (lost.feature, lost.errno, lost.syscall) == ("seccomp", 22, "seccomp")
    assert not grant(ran, "seccomp").ok
    canary = tmp_path / "canary"
    with pytest.raises(SetupFailed) as caught:
        run("touch", str(canary), seccomp=Seccomp(raw=str(raw)), require=("seccomp",))
    assert (caught.value.step, caught.value.field) == (Step.SECCOMP, "soma.seccomp")
    assert not canary.exists()


# -- landlock ----------------------------------------------------------------------------------------------------------


@needs_landlock
def test_read_only_means_that_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    script = (
        f"cat {tmp_path}/old; echo no > {tmp_path}/old; echo no > {tmp_path}/new; rm {tmp_path}/old; mkdir {tmp_path}/d"
    )
    ran = run("sh", "-c", script, landlock=Landlock(read=("/",), execute=PROGRAMS))
    assert ran.output.startswith("kept")
    assert ran.output.count("ermission denied") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "kept"
    assert grant(ran, "landlock").granted == "tried: opening /dev/null for writing is refused"
    assert not ran.incarnation.degradations


@needs_landlock
def test_below_a_writable_directory_everything_may_be_written(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    here = f"{tmp_path}/a"
    script = (
        f"echo 1 > {here}/x; mkdir {here}/d; mv {here}/x {here}/d/y; ln -s y {here}/d/z; : > {here}/d/y; rm {here}/d/z"
    )
    asked = Landlock(read=("/",), write=(here, "/dev/null"), execute=PROGRAMS)
    ran = run("sh", "-c", f"{script}; echo no > {tmp_path}/b/x; mknod {here}/dev c 1 3", landlock=asked)
    assert ran.output.count("ermission denied") == 2, ran.output
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("**/*"))] == ["a", "a/d", "a/d/y", "b"]


@needs_landlock
def test_what_is_not_listed_cannot_be_read_or_executed(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("#!/bin/sh\necho told\n")
    secret.chmod(0o755)
    ran = run("sh", "-c", f"cat {secret}; {secret}; ls /", landlock=Landlock(execute=PROGRAMS))
    assert "told" not in ran.output
    assert ran.output.count("ermission denied") == 3
    assert grant(ran, "landlock").granted == "tried: opening / for reading is refused"


@needs_landlock
def test_a_payload_that_its_own_card_does_not_let_execute_says_what_to_add(run: Run) -> None:
    with pytest.raises(SetupFailed, match=r"soma\.landlock\.execute must allow the program") as caught:
        run("/bin/true", landlock=Landlock(read=("/",)))
    assert (caught.value.step, caught.value.errno) == (Step.EXEC, 13)


@needs_landlock
@pytest.mark.parametrize("how", [{}, {"prefer": ("landlock",)}])
def test_a_missing_path_fails_the_start_by_name_and_an_optional_one_does_not(run: Run, how: dict[str, object]) -> None:
    with pytest.raises(SetupFailed, match=r"/no/such \(openat\): ENOENT") as caught:
        run("true", landlock=Landlock(read=("/usr", "/no/such"), execute=PROGRAMS), **how)
    assert (caught.value.step, caught.value.field) == (Step.LANDLOCK_PATH, "soma.landlock.read")
    ran = run("true", landlock=Landlock(read=("-/no/such", "-/bin/true/below"), execute=PROGRAMS), **how)
    assert ran.exit.ok


@needs_landlock
@needs_root
@pytest.mark.parametrize("require", [(), ("landlock",)])
def test_what_cannot_be_done_anyway_is_no_witness_of_landlock(
    run: Run, tmp_path: Path, require: tuple[str, ...]
) -> None:
    root = tmp_path / "root"
    for name in ("usr", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)
    soma: dict[str, object] = {
        "namespaces": Namespaces(mount=True),
        "root": str(root),
        "binds": (Bind(source="/usr"),),
        "landlock": Landlock(read=("/",), execute=("/usr",)),
        "require": require,
    }
    ran = run("/usr/bin/true", **soma)
    assert ran.exit.ok
    said = grant(ran, "landlock").granted
    assert said == "the kernel said yes; opening /dev/null for writing shows nothing: it is ENOENT without landlock"
    ran = run("/usr/bin/true", **soma | {"dev": "minimal"})
    assert grant(ran, "landlock").granted == "tried: opening /dev/null for writing is refused"


@needs_landlock
@needs_root
def test_a_port_that_somebody_has_is_no_witness_either(own_network: None, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 65535)):
        ran = run("/bin/true", landlock=Landlock(tcp_bind=(54321,)))
    assert "EADDRINUSE without landlock" in grant(ran, "landlock").granted
    assert not ran.incarnation.degradations


@needs_landlock
def test_only_the_ports_of_the_card_can_be_bound(run: Run) -> None:
    code = """
import socket
for port in 54321, 54322:
    try:
        socket.create_server(("127.0.0.1", port)).close(); print(port, "bound")
    except PermissionError:
        print(port, "refused")
"""
    ran = run(*python(code), namespaces=Namespaces(net=True), landlock=Landlock(tcp_bind=(54321,)))
    assert ran.output.split() == ["54321", "bound", "54322", "refused"]
    assert grant(ran, "landlock").granted == "tried: binding TCP port 65535 is refused"


@needs_landlock
def test_only_the_ports_of_the_card_can_be_connected_to(run: Run) -> None:
    code = """
import socket
for port in 54321, 54322:
    try:
        socket.create_connection(("127.0.0.1", port))
    except OSError as error:
        print(type(error).__name__)
"""
    ran = run(*python(code), namespaces=Namespaces(net=True), landlock=Landlock(tcp_connect=(54321,)))
    assert ran.output.split() == ["ConnectionRefusedError", "PermissionError"]
    assert "nothing to try" in grant(ran, "landlock").granted


@needs_landlock
def test_scopes_keep_signals_and_abstract_sockets_inside(run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        name = f"arje-test-{os.getpid()}"
        server.bind(f"\0{name}")
        server.listen()
        code = f"""
import os, socket
for attempt in (lambda: os.kill({os.getpid()}, 0), lambda: socket.socket(socket.AF_UNIX).connect("\\0{name}")):
    try:
        attempt(); print("reached")
    except PermissionError:
        print("kept")
os.kill(os.getpid(), 0)
"""
        assert run(*python(code)).output.split() == ["reached", "reached"]
        confined = Landlock(scopes=("signal", "abstract-unix-socket"))
        assert run(*python(code), landlock=confined).output.split() == ["kept", "kept"]


@needs_landlock
def test_devices_take_ioctls_only_where_the_card_says(run: Run) -> None:
    code = """
import errno, fcntl, termios
try:
    fcntl.ioctl(open("/dev/null"), termios.TIOCGWINSZ, bytes(8))
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    asked = Landlock(read=("/",), execute=PROGRAMS)
    assert run(*python(code), landlock=asked).output.split() == ["EACCES"]
    assert run(*python(code), landlock=replace(asked, ioctl_dev=("/dev",))).output.split() == ["ENOTTY"]


def without(abi: int) -> list[Availability]:
    """The rights that this ABI does not have."""
    later = [name for name, right in landlock.LATER.items() if right.abi > abi]
    rights = [Availability(f"landlock.{name}", False, False, Cause.KERNEL_TOO_OLD) for name in later]
    return [Availability("landlock", True, detail=f"ABI {abi}"), *rights]


@needs_landlock
def test_an_older_abi_gives_what_it_has_and_one_degradation_that_lists_the_rights_lost(
    incarnator: Incarnator, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.write_text("kept")
    debian = lacking(incarnator, *without(2))
    asked = Landlock(read=("/",), execute=PROGRAMS, tcp_bind=(80,), scopes=("signal",))
    code = f"import os; os.truncate('{old}', 2); open('{old}', 'w')"
    text, grants, (lost,) = start(debian, *python(code), landlock=asked)
    assert "PermissionError" in text  # writing is refused
    assert old.read_text() == "ke"  # truncating alone is not, in this ABI
    assert (lost.feature, lost.kind, lost.cause) == ("landlock", "LandlockReduced", Cause.KERNEL_TOO_OLD)
    assert lost.obtained == "without truncate, ioctl_dev, tcp_bind, signal"
    assert (lost.detail, lost.remedy) == (f"ABI 2 lacks {lost.obtained[8:]}", "use Linux 6.12 or newer")
    (found,) = (found for found in grants if found.feature == "landlock")
    assert (found.ok, found.granted) == (False, lost.obtained)
    canary = tmp_path / "canary"
    with pytest.raises(IncarnationRefused):
        start(debian, "touch", str(canary), landlock=asked, require=("landlock",))
    assert not canary.exists()


@needs_landlock
@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_every_abi_loses_exactly_what_came_after_it(incarnator: Incarnator, abi: int) -> None:
    poor = lacking(incarnator, *without(abi))
    asked = Landlock(
        read=("/",), execute=PROGRAMS, tcp_bind=(), tcp_connect=(), scopes=("abstract-unix-socket", "signal")
    )
    _, _, losses = start(poor, "true", landlock=asked)
    lost = {name for name, right in landlock.LATER.items() if right.abi > abi}
    assert {name for loss in losses for name in loss.obtained.removeprefix("without ").split(", ")} == lost


def test_ports_alone_on_an_abi_without_ports_are_no_landlock_at_all(incarnator: Incarnator) -> None:
    _, _, (lost,) = start(lacking(incarnator, *without(2)), "true", landlock=Landlock(tcp_bind=(80,)))
    assert (lost.obtained, lost.feature) == ("none", "landlock")


# -- both, with everything else ----------------------------------------------------------------------------------------


@needs_root
@needs_landlock
@needs_library
def test_landlock_for_another_user_brings_no_new_privs_and_shows_it(run: Run) -> None:
    script = "id -u; grep NoNewPrivs /proc/self/status"
    confined = Landlock(read=("/proc", "/etc"), execute=SYSTEM)
    ran = run("sh", "-c", script, landlock=confined, seccomp=SERVICE, run_as=RunAs(user="nobody"))
    assert ran.output.split() == ["65534", "NoNewPrivs:", "1"]
    assert grant(ran, "no_new_privs").ok
    assert all(found.ok for found in ran.incarnation.grants)


@needs_root
@needs_landlock
@needs_library
@pytest.mark.parametrize("ids", [(), (IdMap(inside=0, outside=100000, count=2000),)])
@pytest.mark.parametrize("user", [None, RunAs(user=1000, group=1000, groups=())])
@pytest.mark.parametrize("judged", [(), ("seccomp", "landlock")])
def test_filters_go_with_namespaces_a_late_user_namespace_and_a_judge(
    run: Run, ids: tuple[IdMap, ...], user: RunAs | None, judged: tuple[str, ...]
) -> None:
    spaces = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, user=True)
    ran = run(
        "sh", "-c", "read line; grep Seccomp: /proc/self/status; echo no > /tmp/.arje-test; mount -t tmpfs x /mnt",
        namespaces=spaces, uid_map=ids, gid_map=ids, run_as=user, require=judged,
        seccomp=replace(SERVICE, deny=("mount", "fsopen")), landlock=Landlock(read=("/",), execute=SYSTEM),
    )  # fmt: skip
    assert ran.output.startswith("Seccomp:\t2")
    assert "/tmp/.arje-test: Permission denied" in ran.output
    assert (grant(ran, "seccomp").granted, grant(ran, "landlock").ok) == ("mode 2, 1 filters", True)
    assert not ran.incarnation.degradations


UNPRIVILEGED = """
import json, os, sys
from arje.card.soma import Landlock, Namespaces, Seccomp
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.kernel.capabilities import CapabilitySet
from tests.incarnate.conftest import card_of
incarnator = Incarnator(CapabilitySet.detect(None), None)
confined = Landlock(read=("/proc",), execute=("/usr", "/bin", "/lib", "/lib64"))
soma = {"seccomp": Seccomp(allow=("@system-service",)), "landlock": confined}
read, write = os.pipe()
for spaces in (Namespaces(), Namespaces(user=True), Namespaces(mount=True, pid=True)):
    card = card_of("sh", "-c", "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; ls /", namespaces=spaces, **soma)
    read, write = os.pipe2(os.O_CLOEXEC)
    outcome = incarnator.incarnate(card, StdioFds(0, write, write))
    os.close(write)
    text = os.fdopen(read).read()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    losses = [str(loss) for loss in outcome.incarnation.degradations]
    print(json.dumps([text, losses, [grant.feature for grant in outcome.incarnation.grants]]))
"""


@needs_root
@needs_landlock
@needs_library
def test_an_ordinary_user_has_both_with_no_new_privs_or_in_a_user_namespace() -> None:
    found = python_for_nobody()
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    interpreter, environment = found
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", interpreter, "-c", UNPRIVILEGED]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    plain, own, mounted = (json.loads(line) for line in done.stdout.splitlines())
    assert (plain[1], own[1], mounted[1]) == ([], [], [])
    for text, _, _ in (plain, own, mounted):
        assert "Seccomp:\t2" in text
        assert "ermission denied" in text
    assert "no_new_privs" in plain[2]
    assert "NoNewPrivs:\t1" in plain[0]
    assert "NoNewPrivs:\t0" in own[0]
    assert "NoNewPrivs:\t1" in mounted[0]  # there it stays the same user, who has no right to filters
