"""The child's path has no bad error path: every system call between clone3 and execve is made to fail by strace.

What a fault means is in the two tables; what no fault may ever do is in ``sound``; and a sweep over the calls of a dry
run makes sure that a call which no table names is sound all the same.

What ptrace cannot do here: fail clone3 *after* it has made a child; fail a page fault on the shared memory, or the
memory allocation behind a call that it lets pass; or fail a call in the child alone when the manager makes the same call
as often (``when=`` counts for each tracee): so faults of the child behind its gate attach there, and the one
rt_sigprocmask of the child fails together with the manager's first. A fault at close(2) or exit_group(2) is not real.
"""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

import pytest

from tests.incarnate.fault_tracer import Call, Nursery, bed, sound

__all__ = ["bed"]  # a fixture

HELD = {"card": "everything", "hold": True}


class Fault(NamedTuple):
    """One call of the payload's process that fails, and the step and feature that this means."""

    name: str
    text: str
    errno: str
    step: str
    feature: str = ""
    card: str = "everything"
    nth: int = 0

    def __str__(self) -> str:
        return f"{self.name}-{self.errno}-{self.step}"


#: Behind the gate, in the process that becomes the payload. With a feature: it may be optional.
PAYLOAD = (
    Fault("setsid", "", "EPERM", "session", "new_session"),
    Fault("newfstatat", "ns/mnt", "EACCES", "mount-namespace"),
    Fault("mount", "MS_PRIVATE", "EPERM", "mount-private"),
    Fault("sethostname", "", "EPERM", "hostname", "hostname"),
    Fault("socket", "AF_INET", "EMFILE", "loopback", "loopback"),
    Fault("ioctl", "SIOCSIFFLAGS", "EPERM", "loopback", "loopback"),
    Fault("mount", '"overlay"', "EINVAL", "mount-overlay", "overlay", "overlay"),
    Fault("open_tree", "merged", "EPERM", "mount-overlay", "overlay", "overlay"),
    Fault("fsopen", '"proc"', "EPERM", "mount-proc", "proc"),
    Fault("fsconfig", "FSCONFIG_CMD_CREATE", "EPERM", "mount-proc", "proc", nth=1),
    Fault("fsmount", "", "EPERM", "mount-proc", "proc", nth=1),
    Fault("openat2", '"proc"', "ELOOP", "mount-proc", "proc"),
    Fault("umask", "", "EPERM", "umask", "umask", nth=1),
    Fault("sched_setscheduler", "", "EPERM", "scheduler", "scheduler"),
    Fault("sched_getparam", "", "EPERM", "scheduler", "scheduler"),
    Fault("setgroups", "", "EPERM", "groups"),
    Fault("setresgid", "", "EINVAL", "gid"),
    Fault("setresuid", "", "EAGAIN", "uid"),
    Fault("prctl", "PR_SET_PDEATHSIG", "EINVAL", "parent-death-signal", "parent_death_signal"),
    Fault("chdir", '"/usr"', "EACCES", "chdir", "chdir"),
    Fault("prctl", "PR_SET_NO_NEW_PRIVS", "EINVAL", "no-new-privs", "no_new_privs"),
    Fault("openat", '"/", .*O_PATH', "EACCES", "landlock-path"),
    Fault("landlock_create_ruleset", "", "EPERM", "landlock", "landlock"),
    Fault("openat", '"/", .*O_PATH', "EMFILE", "landlock", "landlock", nth=2),
    Fault("landlock_add_rule", "PATH_BENEATH", "EPERM", "landlock", "landlock"),
    Fault("landlock_add_rule", "0x2|NET_PORT", "EPERM", "landlock", "landlock"),
    Fault("landlock_restrict_self", "", "EPERM", "landlock", "landlock"),
    Fault("seccomp", "", "EACCES", "seccomp", "seccomp"),
    Fault("execve", "", "ENOMEM", "exec"),
    Fault("execve", "", "ETXTBSY", "exec"),
    Fault("execve", "", "EACCES", "exec"),
)

#: The new root, whose loss is that of the overlay that it is, and of everything that was to be mounted on it.
ROOT = (
    Fault("fsopen", '"tmpfs"', "EPERM", "stage", "overlay"),
    Fault("move_mount", '"/"', "EPERM", "stage", "overlay"),
    Fault("fchdir", "", "EACCES", "stage", "overlay"),
    Fault("mkdirat", '"root"', "ENOSPC", "stage", "overlay"),
    Fault("pivot_root", "", "EPERM", "stage", "overlay"),
    Fault("chroot", '"old"', "EPERM", "stage", "overlay"),
    Fault("mount", '"overlay"', "EINVAL", "mount-overlay", "overlay"),
    Fault("statfs", "", "EIO", "mount-overlay", "overlay"),
    Fault("open_tree", "merged", "EPERM", "mount-overlay", "overlay"),
    Fault("openat2", '"root"', "ELOOP", "mount-overlay", "overlay"),
    Fault("move_mount", "", "EINVAL", "mount-overlay", "overlay", nth=1),
    Fault("chdir", r'"\.\."', "EACCES", "pivot-root", "pivot_root"),
    Fault("chroot", r'"\."', "EPERM", "pivot-root", "pivot_root"),
    Fault("chdir", '"root"', "EACCES", "pivot-root", "pivot_root"),
    Fault("pivot_root", "", "EPERM", "pivot-root", "pivot_root", nth=1),
)

#: Steps that are begun and cannot be taken back: they must not be survived even when their feature is optional.
NO_WAY_BACK = (
    Fault("umount2", "", "EBUSY", "pivot-root", "pivot_root"),
    Fault("chdir", '^"/"', "EACCES", "pivot-root", "pivot_root"),
    Fault("unshare", "CLONE_FS", "EPERM", "pivot-root", "pivot_root"),
)


def fail(bed: Nursery, fault: Fault, **request: Any) -> dict[str, Any]:
    """Live with one fault of the payload's process, and make sure that it was the call that was meant."""
    life = {"card": fault.card, "hold": True}
    who = "payload" if fault.card == "everything" else "child"
    when = bed.find(life, who, fault.name, fault.text, fault.nth)
    told = bed.run({**life, **request}, (f"{fault.name}:error={fault.errno}:when={when}",))
    assert [line for line in told["log"].splitlines() if "(INJECTED)" in line], told["log"]
    return told


@pytest.mark.parametrize("fault", [*PAYLOAD, *ROOT, *NO_WAY_BACK], ids=str)
def test_a_call_that_fails_in_a_required_step_is_told_with_step_and_errno_and_nothing_has_run(
    bed: Nursery, fault: Fault
) -> None:
    told = fail(bed, fault, **({"require": [fault.feature]} if fault.feature else {}))
    assert sound(told) == []
    assert (told["outcome"], told.get("step")) == ("failed", fault.step), told
    assert told["errno"] == getattr(errno, fault.errno)
    assert told["field"].startswith(("soma.", "payload."))


@pytest.mark.parametrize("fault", [fault for fault in PAYLOAD if fault.feature], ids=str)
def test_a_call_that_fails_in_an_optional_step_is_one_degradation_and_the_payload_runs(
    bed: Nursery, fault: Fault
) -> None:
    told = fail(bed, fault, prefer=[fault.feature])
    assert sound(told) == []
    assert (told["outcome"], told["exit"]) == ("started", "exited 7"), told
    lost = {loss["feature"]: loss["errno"] for loss in told["degradations"]}
    assert lost == {fault.feature: getattr(errno, fault.errno)}


@pytest.mark.parametrize("fault", ROOT, ids=str)
def test_a_service_that_may_lose_its_root_runs_where_it_would_have_been(bed: Nursery, fault: Fault) -> None:
    """What was to be on the root is lost with it, each with its own degradation."""
    told = fail(bed, fault, prefer=["overlay", "pivot_root"])
    assert sound(told) == []
    assert (told["outcome"], told["exit"]) == ("started", "exited 7"), told
    lost = {loss["feature"]: loss["errno"] for loss in told["degradations"]}
    assert set(lost) == {"overlay", "pivot_root", "proc"}, lost
    assert lost[fault.feature] == getattr(errno, fault.errno)


@pytest.mark.parametrize("fault", ROOT, ids=str)
def test_a_root_that_somebody_needs_is_not_lost_in_silence(bed: Nursery, fault: Fault) -> None:
    """The overlay may go, but not the root that it is."""
    told = fail(bed, fault, prefer=["overlay"])
    assert sound(told) == []
    assert (told["outcome"], told.get("step")) == ("failed", fault.step), told


@pytest.mark.parametrize("fault", NO_WAY_BACK, ids=str)
def test_a_root_that_is_half_changed_is_never_taken_for_a_degradation(bed: Nursery, fault: Fault) -> None:
    told = fail(bed, fault, prefer=["overlay", "pivot_root"])
    assert sound(told) == []
    assert (told["outcome"], told.get("step")) == ("failed", fault.step), told


@pytest.mark.parametrize("wish", [{}, {"require": ["user"]}], ids=["default", "required"])
def test_without_its_user_namespace_nothing_runs(bed: Nursery, wish: dict[str, Any]) -> None:
    fault = Fault("unshare", "CLONE_NEWUSER", "ENOSPC", "unshare")
    told = fail(bed, fault, **wish)
    assert sound(told) == []
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "unshare", errno.ENOSPC), told


def test_a_user_namespace_that_may_be_lost_does_not_make_the_service_root_of_the_machine(bed: Nursery) -> None:
    life = {"card": "late-user", "hold": True}
    when = bed.find(life, "child", "unshare", "CLONE_NEWUSER")
    told = bed.run({**life, "prefer": ["user", "id-map"]}, (f"unshare:error=ENOSPC:when={when}",))
    assert sound(told) == []
    if told["outcome"] == "started":
        assert told["output"][1] == "65534", told  # id -u
        assert [loss["feature"] for loss in told["degradations"]] == ["user", "id-map"]


class TestThePivotOfAnInitramfs:
    """pivot_root says EINVAL once, as on an initramfs; then the other way is gone, whose calls may fail as well."""

    def test_it_works(self, bed: Nursery) -> None:
        told = bed.run(HELD, ("pivot_root:error=EINVAL:when=1",))
        assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told

    @pytest.mark.parametrize(
        "fault", ["mount:error=EPERM:when=2", "chdir:error=EACCES:when=2", "chroot:error=EPERM:when=1"]
    )
    def test_its_calls_fail_as_the_step_stage(self, bed: Nursery, fault: str) -> None:
        told = bed.run(HELD, ("pivot_root:error=EINVAL:when=1", fault))
        assert sound(told) == []
        assert (told["outcome"], told["step"]) == ("failed", "stage"), told
        assert told["errno"] in (errno.EPERM, errno.EACCES)

    def test_einval_again_is_told(self, bed: Nursery) -> None:
        told = bed.run(HELD, ("pivot_root:error=EINVAL",))
        assert (told["step"], told["errno"], sound(told)) == ("stage", errno.EINVAL, [])


#: Before the gate manager and child run side by side; so each fault is tried with either of them in front.
SLOW_MANAGER = "prlimit64:delay_enter=30000:when=1"
SLOW_CHILD = ":delay_enter=30000"
either_first = pytest.mark.parametrize("first", ["child", "manager"])


def fail_before_the_gate(bed: Nursery, fault: str, first: str) -> dict[str, Any]:
    faults = (fault, SLOW_MANAGER) if first == "child" else (fault + SLOW_CHILD,)
    told = bed.run({"card": "everything"}, faults)
    assert "(INJECTED" in told["log"]
    assert sound(told) == []
    return told


@either_first
@pytest.mark.parametrize("nth", range(9))
def test_a_descriptor_that_cannot_be_moved_is_told(bed: Nursery, nth: int, first: str) -> None:
    when = bed.find({"card": "everything"}, "child", "dup3", nth=nth)
    told = fail_before_the_gate(bed, f"dup3:error=EMFILE:when={when}", first)
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "descriptors", errno.EMFILE), told


@either_first
@pytest.mark.parametrize("nth", [1, 2])
def test_descriptors_that_cannot_be_closed_are_told(bed: Nursery, nth: int, first: str) -> None:
    told = fail_before_the_gate(bed, f"close_range:error=EINVAL:when={nth}", first)
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "descriptors", errno.EINVAL), told


@either_first
def test_signals_that_cannot_be_unblocked_are_told(bed: Nursery, first: str) -> None:
    told = fail_before_the_gate(bed, "rt_sigprocmask:error=EINVAL:when=1", first)
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "signals", errno.EINVAL), told


def test_limits_of_the_service_do_not_reach_its_set_up(bed: Nursery) -> None:
    """A child that is slow to move its descriptors finds the limit of the card in force already."""
    told = bed.run({"card": "nofile"}, ("dup3:delay_enter=30000:when=1",))
    assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told


class TestATimeNamespaceThatIsEnteredLate:
    """clone3 says EINVAL once, as kernels do that cannot clone into a time namespace with CLONE_VM."""

    LATE = "clone3:error=EINVAL:when=1"

    def test_its_offsets_are_written_when_it_is_there(self, bed: Nursery) -> None:
        told = bed.run({"card": "time"}, (self.LATE, "unshare:delay_enter=30000:when=1"))
        assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told

    def test_a_refusal_is_told(self, bed: Nursery) -> None:
        told = bed.run({"card": "time"}, (self.LATE, "unshare:error=EPERM:when=1", "openat:delay_enter=30000"))
        assert (told["outcome"], told.get("errno")) == ("failed", errno.EPERM), told
        assert told["step"] in {"unshare", "clone"}  # the manager may see it as a clone that was refused
        assert sound(told) == []


@pytest.mark.parametrize("life", [{"card": "everything"}, HELD], ids=["gate", "maps"])
def test_a_gate_that_cannot_be_read_stays_closed(bed: Nursery, life: dict[str, Any]) -> None:
    who = "payload" if "hold" in life else "child"
    when = bed.find(life, who, "recvfrom")
    told = bed.run(life, (f"recvfrom:error=ENOMEM:when={when}",))
    assert sound(told) == []
    assert (told["outcome"], told.get("step")) == ("failed", "gate"), told


@pytest.mark.parametrize("life", [{"card": "everything"}, HELD], ids=["gate", "maps"])
def test_an_interrupted_wait_at_the_gate_goes_on(bed: Nursery, life: dict[str, Any]) -> None:
    told = bed.run(life, ("recvfrom:error=EINTR:when=1",))
    assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told


@pytest.mark.parametrize(
    ("fault", "step", "number"),
    [
        ("clone3:error=EAGAIN:when=1", "reaper", errno.EAGAIN),
        ("clone3:error=ENOMEM:when=1", "reaper", errno.ENOMEM),
        ("dup3:error=EBADF:when=1:delay_enter=100000", "reaper", errno.EBADF),
        ("dup3:error=EBADF:when=2:delay_enter=100000", "reaper", errno.EBADF),
        ("dup3:delay_enter=100000 close_range:signal=SIGKILL:when=1", "gate", 0),
        # strace makes it a call that does not exist, for which the reaper's own filter ends it
        ("execveat:error=EACCES:when=1:delay_enter=100000", "gate", 0),
    ],
)
def test_without_a_reaper_no_payload_runs(bed: Nursery, fault: str, step: str, number: int) -> None:
    """The delay gives a payload that does not wait for its reaper all the time to run."""
    told = bed.run(HELD, tuple(fault.split()))
    assert sound(told) == []
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", step, number), told


@pytest.mark.parametrize("nth", [0, -1], ids=["maps", "hot"])
def test_a_message_that_cannot_be_sent_ends_the_child_before_its_payload(bed: Nursery, nth: int) -> None:
    """Else the manager would wait for ever for the word that the maps are wanted, or take an exec for a failed start."""
    sends = [call for call in bed.calls(HELD) if (call.who, call.name) == ("payload", "sendto")]
    told = bed.run(HELD, (f"sendto:error=ENOBUFS:when={sends[nth].ordinal}",))
    assert sound(told) == []
    assert told["outcome"] == "failed", told
    assert "execve(" not in told["log"]


def test_a_degradation_that_cannot_be_told_is_not_kept_secret(bed: Nursery) -> None:
    told = bed.run(HELD | {"prefer": ["hostname"]}, ("sethostname:error=EPERM", "sendto:error=ENOBUFS:when=1"))
    assert sound(told) == []
    assert told["outcome"] == "failed" or [loss["feature"] for loss in told["degradations"]] == ["hostname"], told


@pytest.mark.parametrize(
    "name",
    ["chdir", "setsid", "mount", "sethostname", "pivot_root", "umount2", "unshare", "sendto", "setresuid", "prctl"],
)
def test_a_child_that_is_killed_in_its_set_up_has_not_started(bed: Nursery, name: str) -> None:
    calls = [call for call in bed.calls(HELD) if (call.who, call.name) == ("payload", name)]
    when = [call for call in calls if "PR_GET_SECCOMP" not in call.text][-1].ordinal  # that is after the last word
    told = bed.run(HELD, (f"{name}:signal=SIGKILL:when={when}",))
    assert sound(told) == []
    assert (told["outcome"], told["step"], told["errno"], told["output"]) == ("failed", "gate", 0, [])
    assert "killed" in told["text"]


@pytest.mark.parametrize("name", ["dup3", "close_range", "recvfrom"])
def test_a_child_that_is_killed_before_its_gate_has_not_started(bed: Nursery, name: str) -> None:
    told = bed.run({"card": "everything"}, (f"{name}:signal=SIGKILL:when=1",))
    assert sound(told) == []
    assert (told["outcome"], told["step"], told["errno"], told["output"]) == ("failed", "gate", 0, [])


def test_a_reaper_that_is_killed_before_it_has_a_payload_has_not_started(bed: Nursery) -> None:
    told = bed.run(HELD, ("clone3:signal=SIGKILL:when=1",))
    assert (told["outcome"], told["step"], sound(told)) == ("failed", "gate", []), told


def test_a_payload_that_is_killed_at_its_execve_has_started_and_was_killed(bed: Nursery) -> None:
    """The last word of the child was that it executes; a kill after it is the payload's own."""
    told = bed.run(HELD, ("execve:signal=SIGKILL:when=1",))
    assert sound(told) == []
    assert (told["outcome"], told["exit"], told["output"]) == ("started", "signal KILL", [])


def test_an_exit_that_fails_is_tried_again(bed: Nursery) -> None:
    told = bed.run(HELD, ("execve:error=ENOENT:when=1", "exit_group:error=EPERM:when=1"))
    assert (told["outcome"], told["step"], told["errno"], sound(told)) == ("failed", "exec", errno.ENOENT, [])


#: Calls whose failure the child may overlook, and why.
OVERLOOKED = {
    "close": "a descriptor is gone even when close(2) fails, and exec closes the rest",
    "clock_gettime": "a time stamp is lost",
    "mkdirat": "the mount that needs the directory says so",
    "rt_sigaction": "fails for numbers that are no signals",
    "exit_group": "is tried again",
    "futex": "it looks again",
    "getpid": "cannot fail",
    "getsid": "cannot fail for oneself",
    "recvfrom": "has a test above",
    "sendto": "has a test above",
}
#: The same in the child that becomes the reaper.
OVERLOOKED_THERE = {
    "chdir": "it is where the manager was",
    "openat": "it leaves the session, whether it has a terminal or not",
    "setpgid": "it leaves the session then",
    "setsid": "it stays in the manager's session",
    "prctl": "the payload sets its own death signal as well",
    "close_range": "it holds 0, 1 and 2 open",
    "seccomp": "a kernel without it has no filter that the payload could go around",
}
#: The calls of the child's report on itself: without it the manager looks from outside.
REPORT = {"openat", "read", "readlinkat", "uname", "sendmsg"}


def sweep(bed: Nursery, life: dict[str, Any], calls: list[Call]) -> list[str]:
    """Let each call fail with ENOMEM, and return what is not sound, a line for each call."""
    wrong = []
    for call in calls:
        told = bed.run(life, (f"{call.name}:error=ENOMEM:when={call.ordinal}",))
        found = sound(told)
        if told["outcome"] == "started" and call.name in REPORT:
            found += [f"a loss that is none: {loss}" for loss in told["degradations"]]
        elif told["outcome"] == "started" and not [d for d in told["degradations"] if d["errno"] == errno.ENOMEM]:
            found.append("nobody noticed")
        if told["outcome"] == "failed" and told["errno"] != errno.ENOMEM:
            found.append(f"told as {told['text']}")
        if found:
            wrong.append(f"{call.name}({call.text}: {found}")
    return wrong


def test_every_call_of_the_payloads_process_is_noticed_when_it_fails(bed: Nursery) -> None:
    named = {fault.name for fault in PAYLOAD}
    calls = [c for c in bed.calls(HELD) if c.who == "payload" and c.name not in named and c.name not in OVERLOOKED]
    assert "\n".join(sweep(bed, HELD, calls)) == ""


def test_a_report_that_cannot_be_made_is_told_when_something_depends_on_it(bed: Nursery) -> None:
    calls = [c for c in bed.calls(HELD) if c.who == "payload" and c.name in REPORT and "AT_FDCWD" not in c.text]
    for call in [c for c in calls if "\\1\\0\\0" not in c.text]:  # that is the sign of its reaper
        told = bed.run(HELD | {"require": ["hostname"]}, (f"{call.name}:error=EIO:when={call.ordinal}",))
        assert (told["outcome"], sound(told)) == ("failed", []), (call, told)
        assert (told["step"], told["errno"]) == ("report", errno.EIO), (call, told)


def test_every_call_of_the_reaper_to_be_is_noticed_when_it_fails(bed: Nursery) -> None:
    seen = {c.name for c in bed.calls(HELD) if c.who == "child"}
    tested = {"clone3", "dup3", "execveat"}
    assert seen <= {*OVERLOOKED, *OVERLOOKED_THERE, *tested}
    for name in OVERLOOKED_THERE:
        told = bed.run(HELD, (f"{name}:error=EPERM:when=1",), alone=True)
        assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told
