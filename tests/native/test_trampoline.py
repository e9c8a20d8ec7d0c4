"""The trampoline by itself: real clones, and what an independent reader of the world sees of them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from arje import native
from arje.incarnation import Step

HERE = Path(native.__file__).parent
NEW = native.CLONE_NEW
#: What an ordinary user needs for any other kind of namespace.
USER = 0 if os.geteuid() == 0 else NEW["user"]


def spawn(
    argv: list[str], ops: list[native.Op] | None = None, *, flags: int = 0, reaper: bool = False
) -> tuple[list[native.Record], str, tuple[int, int], tuple[int, int] | None]:
    """Run one plan to its end: the records, what it printed, the leader's wait status, the reaper's verdict."""
    spawner = native.Spawner()
    encoded = [text.encode() for text in argv]
    plan = native.Plan(ops or [], encoded[:1], encoded, [b"PATH=/usr/bin:/bin"], reaper=reaper)
    out_r, out_w = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    child = spawner.spawn(plan, (null, out_w, out_w), clone_flags=flags)
    os.close(out_w)
    os.close(null)
    native.release(child.status_fd)
    records = []
    while record := native.receive(child.status_fd, block=True):
        records.append(record)
    with os.fdopen(out_r) as stream:
        text = stream.read()
    info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    assert info is not None
    verdict = native.read_verdict(child.verdict_fd) if reaper else None
    for fd in (child.pidfd, child.status_fd, child.verdict_fd):
        if fd >= 0:
            os.close(fd)
    spawner.give_back(child)
    return records, text, (info.si_code, info.si_status), verdict


def test_the_steps_of_c_are_the_steps_of_python() -> None:
    of_child = [step.value for step in Step]
    assert list(native.STEPS) == of_child[of_child.index("signals") :]


def test_the_child_path_calls_nothing_outside_itself(tmp_path: Path) -> None:
    from arje.native.build import CHILD, FLAGS

    for name in CHILD:
        subprocess.run(["gcc", *FLAGS, "-fPIC", "-c", str(HERE / name), "-o", str(tmp_path / f"{name}.o")], check=True)
    shown = subprocess.run(["nm", *map(str, tmp_path.glob("*.o"))], check=True, capture_output=True, text=True).stdout
    symbols = [line.split() for line in shown.splitlines() if line and not line.endswith(":")]
    undefined = {words[1] for words in symbols if words[0] == "U"}
    assert undefined <= {words[2] for words in symbols if words[0] != "U"} | {"_GLOBAL_OFFSET_TABLE_"}


def test_a_payload_starts_with_no_signal_blocked_ignored_or_caught() -> None:
    _, text, ended, _ = spawn(["/bin/cat", "/proc/self/status"])
    masks = dict(line.split(":\t") for line in text.splitlines() if line.startswith("Sig"))
    assert {masks[name] for name in ("SigBlk", "SigIgn", "SigCgt")} == {"0" * 16}
    assert ended == (os.CLD_EXITED, 0)


def test_a_payload_has_descriptors_0_1_2_and_no_other() -> None:
    with open("/dev/null") as one, open("/dev/zero") as other:
        os.set_inheritable(one.fileno(), True)
        os.set_inheritable(other.fileno(), True)
        script = "n=0; while [ $n -lt 64 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n+1)); done"
        _, text, _, _ = spawn(["/bin/sh", "-c", script])
    assert text.split() == ["0", "1", "2"]


def test_stdin_and_stdout_may_change_places() -> None:
    spawner = native.Spawner()
    plan = native.Plan([], [b"/bin/cat"], [b"cat"], [], reaper=False)
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    os.write(in_w, b"through")
    os.close(in_w)
    child = spawner.spawn(plan, (in_r, out_w, out_w), clone_flags=0)
    os.close(in_r)
    os.close(out_w)
    native.release(child.status_fd)
    assert os.read(out_r, 100) == b"through"
    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    for fd in (out_r, child.pidfd, child.status_fd):
        os.close(fd)


def test_hot_and_then_eof_mean_that_exec_happened() -> None:
    records, _, ended, _ = spawn(["/bin/true"])
    assert [record.kind for record in records] == [native.HOT]
    assert ended == (os.CLD_EXITED, 0)


def test_a_missing_program_is_told_with_its_errno() -> None:
    records, _, _, _ = spawn(["/no/such/program"])
    assert [(record.kind, record.errno) for record in records] == [(native.HOT, 0), (native.EXEC_FAILED, 2)]


def test_a_failing_step_is_told_by_number_and_the_payload_never_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    ops = [native.Op("umask", a=0o22), native.Op("chdir", p=b"/no/such/directory")]
    records, _, _, _ = spawn(["/bin/touch", str(canary)], ops)
    assert [(r.kind, r.step, r.op_index, r.errno, r.syscall) for r in records] == [
        (native.FATAL, "chdir", 1, 2, "chdir")
    ]
    assert not canary.exists()


def test_an_optional_step_degrades_and_the_payload_runs() -> None:
    records, _, ended, _ = spawn(["/bin/true"], [native.Op("chdir", True, p=b"/no/such/directory")])
    assert [record.kind for record in records] == [native.DEGRADED, native.HOT]
    assert ended == (os.CLD_EXITED, 0)


def test_a_mount_op_without_a_mount_namespace_is_refused_by_the_child() -> None:
    own = os.stat("/proc/self/ns/mnt").st_ino
    records, _, _, _ = spawn(["/bin/true"], [native.Op("mount-namespace", a=own)])
    assert [(record.kind, record.step) for record in records] == [(native.FATAL, "mount-namespace")]


def test_nobody_passes_the_gate_of_a_dead_parent() -> None:
    spawner = native.Spawner()
    plan = native.Plan([], [b"/bin/true"], [b"true"], [], reaper=False)
    null = os.open("/dev/null", os.O_RDWR)
    child = spawner.spawn(plan, (null, null, null), clone_flags=0)
    os.close(child.status_fd)
    info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    assert info is not None
    assert (info.si_code, info.si_status) == (os.CLD_EXITED, 127)
    os.close(child.pidfd)
    os.close(null)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [("exit 7", (os.CLD_EXITED, 7)), ("kill -KILL $$", (os.CLD_KILLED, 9)), ("exit 255", (os.CLD_EXITED, 255))],
)
def test_the_reaper_passes_on_how_the_payload_ended(script: str, verdict: tuple[int, int]) -> None:
    _, _, _, seen = spawn(["/bin/sh", "-c", script], flags=NEW["pid"] | USER, reaper=True)
    assert seen == verdict


def test_a_service_in_a_pid_namespace_stops_on_sigterm_through_its_reaper() -> None:
    spawner = native.Spawner()
    plan = native.Plan([], [b"/bin/sleep"], [b"sleep", b"1000"], [], reaper=True)
    null = os.open("/dev/null", os.O_RDWR)
    child = spawner.spawn(plan, (null, null, null), clone_flags=NEW["pid"] | USER)
    native.release(child.status_fd)
    while native.receive(child.status_fd, block=True):
        pass
    signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    assert native.read_verdict(child.verdict_fd) == (os.CLD_KILLED, signal.SIGTERM)
    for fd in (null, child.pidfd, child.status_fd, child.verdict_fd):
        os.close(fd)


def test_every_namespace_that_is_asked_for_is_a_new_one() -> None:
    kinds = {"mount": "mnt", "pid": "pid", "net": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup", "time": "time"}
    flags = sum(NEW[kind] for kind in kinds) | USER
    ops = [native.Op("mount-private"), native.Op("mount-proc", p=b"proc", r=b"proc")]
    _, text, _, _ = spawn(["/bin/sh", "-c", "readlink /proc/self/ns/*"], ops, flags=flags, reaper=True)
    ours = {os.readlink(f"/proc/self/ns/{name}") for name in kinds.values()}
    theirs = set(text.split())
    assert not ours & theirs
    assert len([link for link in theirs if link.partition(":")[0] in kinds.values()]) == len(kinds)
