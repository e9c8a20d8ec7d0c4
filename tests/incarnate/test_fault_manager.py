"""The manager's half of a spawn has no bad error path either: its calls fail, and so does the machine around it.

Which call is which is found in a dry run, between two marks of the driver. Faults at close(2), munmap(2), wait and exit are
not tried: there is no kernel that leaves the descriptor, the mapping or the zombie behind, so the leak would be strace's.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tests.incarnate.fault_tracer import Nursery, bed, between_marks, sound

__all__ = ["bed"]  # a fixture

LIFE = {"card": "everything"}


def fail(bed: Nursery, name: str, text: str, error: str, nth: int = 0, **request: Any) -> dict[str, Any]:
    """Live with one fault of the manager's."""
    when = bed.find(LIFE, "manager", name, text, nth)
    told = bed.run({**LIFE, **request}, (f"{name}:error={error}:when={when}",), alone=True)
    (line,) = [line for line in told["log"].splitlines() if "(INJECTED)" in line]
    assert text in line or "pipe2" in line  # it shows no flags when it fails
    assert sound(told) == []
    return told


def ended(told: dict[str, Any]) -> tuple[str, str, int]:
    return told["outcome"], told.get("step", ""), told.get("errno", 0)


@pytest.mark.parametrize(
    ("name", "text", "error", "nth"),
    [
        ("mmap", "PROT_NONE", "ENOMEM", 0),
        ("mprotect", "65536, PROT_READ", "ENOMEM", 0),
        ("mprotect", "65536, PROT_READ", "ENOMEM", 1),
        ("socketpair", "SOCK_SEQPACKET", "EMFILE", 0),
        ("setsockopt", "SO_PASSCRED", "ENOMEM", 0),
        ("pipe2", "O_CLOEXEC", "ENFILE", 0),
        ("eventfd2", "EFD_CLOEXEC", "ENFILE", 0),
        *(("clone3", "", error, 0) for error in ("EAGAIN", "ENOMEM", "EPERM", "ENOSPC")),
    ],
)
def test_what_a_clone_needs_and_does_not_get_is_told(bed: Nursery, name: str, text: str, error: str, nth: int) -> None:
    assert ended(fail(bed, name, text, error, nth)) == ("failed", "clone", getattr(errno, error))


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("memfd_create", "arje-reaper", "EACCES"),
        ("openat", "/proc/self/fd/", "EMFILE"),
        ("write", "ELF", "ENOSPC"),
    ],
)
def test_a_reaper_whose_image_cannot_be_made_is_told(bed: Nursery, name: str, text: str, error: str) -> None:
    assert ended(fail(bed, name, text, error)) == ("failed", "prepare", getattr(errno, error))


@pytest.mark.parametrize("error", ["EBUSY", "EACCES", "EOPNOTSUPP", "ENOSYS"])
def test_a_cgroup_that_cannot_be_cloned_into_is_entered_late(bed: Nursery, error: str) -> None:
    told = fail(bed, "clone3", "", error)
    assert (told["outcome"], told["degradations"]) == ("started", []), told


@pytest.mark.parametrize("how", ["prefer", "require"])
def test_a_cgroup_that_cannot_be_entered_late_is_lost(bed: Nursery, how: str) -> None:
    late = bed.run(LIFE | {"dry": True}, ("clone3:error=EBUSY:when=1", "openat:delay_exit=1"), alone=True)["log"]
    opens = [line for line in late.splitlines() if line.startswith("openat(")]
    when = 1 + next(i for i, line in enumerate(opens) if "cgroup.procs" in line)
    told = bed.run(
        LIFE | {how: ["cgroup", "cgroup-ns"]},
        ("clone3:error=EBUSY:when=1", f"openat:error=EACCES:when={when}"),
        alone=True,
    )
    assert sound(told) == []
    lost = [(loss["feature"], loss["errno"]) for loss in told["degradations"]]
    if how == "require":
        assert told["outcome"] == "refused" or ended(told) == ("failed", "cgroup", errno.EACCES), told
    else:
        assert told["outcome"] == "started", told
        assert ("cgroup", errno.EACCES) in lost


def test_every_namespace_that_clone3_refuses_is_a_degradation(bed: Nursery) -> None:
    """The first clone3 and the probe of the net namespace fail."""
    told = bed.run(LIFE, ("clone3:error=ENOSPC:when=1..4+3",), alone=True)
    assert sound(told) == []
    assert told["outcome"] == "started"
    assert [loss["feature"] for loss in told["degradations"]] == ["net", "loopback"]
    assert {loss["errno"] for loss in told["degradations"]} == {errno.ENOSPC}


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM", "EPERM"])
def test_a_machine_that_makes_no_process_at_all_is_told(bed: Nursery, error: str) -> None:
    told = bed.run({"card": "pid"}, (f"clone3:error={error}",), alone=True)
    assert sound(told) == []
    assert ended(told) == ("failed", "clone", getattr(errno, error))


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_a_moment_without_room_for_a_process_costs_no_isolation(bed: Nursery, error: str) -> None:
    """clone3 and the probe after it fail, then there is room again."""
    told = bed.run({"card": "pid"}, (f"clone3:error={error}:when=1..2",), alone=True)
    assert sound(told) == []
    assert ended(told) == ("failed", "clone", getattr(errno, error)), told


def test_an_oom_score_that_is_refused_after_exec_is_one_degradation(bed: Nursery) -> None:
    told = fail(bed, "openat", '"oom_score_adj"', "EACCES")
    assert told["outcome"] == "started"
    assert [(loss["feature"], loss["errno"]) for loss in told["degradations"]] == [("oom_score_adj", errno.EACCES)]


def test_an_oom_score_that_is_required_and_refused_after_exec_ends_the_payload_again(bed: Nursery) -> None:
    """What can be foreseen was refused before; this cannot be, as the score is written when the payload has begun."""
    when = bed.find(LIFE, "manager", "openat", '"oom_score_adj"')
    told = bed.run({**LIFE, "require": ["oom_score_adj"]}, (f"openat:error=EACCES:when={when}",), alone=True)
    assert ended(told) == ("failed", "report", errno.EACCES)
    assert [what for what in sound(told) if "the payload had run" not in what] == []


@pytest.mark.parametrize("how", ["prefer", "require"])
@pytest.mark.parametrize(("name", "error"), [("chown", "EPERM"), ("newfstatat", "EACCES")])
def test_a_cgroup_that_cannot_be_given_away_is_told(bed: Nursery, name: str, error: str, how: str) -> None:
    life = {"card": "delegate", how: ["cgroup.delegate"]}
    when = bed.find(life, "manager", name, "fault-")
    told = bed.run(life, (f"{name}:error={error}:when={when}",), alone=True)
    assert sound(told) == []
    assert told["outcome"] == ("started" if how == "prefer" else "refused"), told
    assert [loss["feature"] for loss in told["degradations"]] == ["cgroup.delegate"]


@pytest.mark.parametrize(
    ("name", "text", "error", "feature"),
    [
        ("mkdir", "fault-", "EACCES", "cgroup"),
        ("openat", "fault-.*O_PATH", "EMFILE", "cgroup"),
        ("prlimit64", "RLIMIT_NOFILE", "EPERM", "rlimit.nofile"),
        ("prlimit64", "RLIMIT_CORE", "EPERM", "dumpable"),
        ("sched_setaffinity", "", "EINVAL", "cpu_affinity"),
        ("sched_getaffinity", "", "EPERM", "cpu_affinity"),
        ("setpriority", "", "EPERM", "nice"),
        ("ioprio_set", "", "EPERM", "ioprio"),
        ("openat", "timens_offsets", "EACCES", "time_offsets"),
        ("write", "monotonic 10", "EINVAL", "time_offsets"),
    ],
)
class TestWhatTheManagerDoesForTheWaitingChild:
    def test_is_refused_when_it_is_required(self, bed: Nursery, name: str, text: str, error: str, feature: str) -> None:
        told = bed.run({**LIFE, "require": [feature]}, (self.fault(bed, name, text, error),), alone=True)
        assert sound(told) == []
        assert told["outcome"] in {"refused", "failed"}, told
        if told["outcome"] == "refused":
            assert [loss["feature"] for loss in told["degradations"]] == [feature]

    def test_is_one_degradation_when_it_is_not(
        self, bed: Nursery, name: str, text: str, error: str, feature: str
    ) -> None:
        told = bed.run({**LIFE, "prefer": [feature]}, (self.fault(bed, name, text, error),), alone=True)
        assert sound(told) == []
        assert told["outcome"] == "started", told
        lost = [(loss["feature"], loss["errno"]) for loss in told["degradations"]]
        assert lost == [(feature, getattr(errno, error))]

    def fault(self, bed: Nursery, name: str, text: str, error: str) -> str:
        return f"{name}:error={error}:when={bed.find(LIFE, 'manager', name, text)}"


@pytest.mark.parametrize(("name", "error"), [("openat", "EACCES"), ("write", "EPERM")])
@pytest.mark.parametrize("file", ["gid_map", "uid_map"])
def test_maps_that_cannot_be_written_are_told(bed: Nursery, name: str, error: str, file: str) -> None:
    calls = [call for call in bed.calls(LIFE) if call.who == "manager"]
    at = next(
        i
        for i, call in enumerate(calls)
        if call.name == "openat" and f'{file}"' in call.text and "O_WRONLY" in call.text
    )
    call = next(call for call in calls[at:] if call.name == name)
    told = bed.run(LIFE, (f"{name}:error={error}:when={call.ordinal}",), alone=True)
    assert sound(told) == []
    assert (*ended(told), told.get("field")) == ("failed", "id-map", getattr(errno, error), "soma.uid_map")


@pytest.mark.parametrize("file", ["setgroups", "gid_map", "uid_map"])
def test_an_ordinary_users_maps_that_cannot_be_written_are_told(bed: Nursery, file: str) -> None:
    life = {"card": "user", "user": True}
    when = bed.find(life, "manager", "openat", f'{file}", O_WRONLY')
    told = bed.run(life, (f"openat:error=EACCES:when={when}",), alone=True)
    assert sound(told) == []
    assert (*ended(told), told.get("field")) == ("failed", "id-map", errno.EACCES, "soma.uid_map")


@pytest.mark.parametrize("nth", [0, 1], ids=["gate", "maps"])
def test_a_gate_that_cannot_be_opened_is_told(bed: Nursery, nth: int) -> None:
    told = fail(bed, "sendto", "MSG_NOSIGNAL", "ENOBUFS", nth)
    assert ended(told) == ("failed", "gate", errno.ENOBUFS), told


@pytest.mark.parametrize(("name", "nth"), [("sendto", 0), ("sendto", 1), ("recvmsg", 0), ("recvmsg", 1), ("poll", 0)])
def test_an_interrupted_call_goes_on(bed: Nursery, name: str, nth: int) -> None:
    told = fail(bed, name, "", "EINTR", nth)
    assert (told["outcome"], told["degradations"]) == ("started", []), told


@pytest.mark.parametrize(("name", "error"), [("recvmsg", "ENOMEM"), ("poll", "ENOMEM")])
def test_a_channel_that_cannot_be_read_ends_the_start(bed: Nursery, name: str, error: str) -> None:
    told = fail(bed, name, "", error)
    assert told["outcome"] == "failed", told
    assert told["errno"] == errno.ENOMEM


def test_a_child_that_cannot_be_signalled_is_killed_by_its_cgroup(bed: Nursery) -> None:
    told = bed.run(LIFE, ("execve:error=ENOENT:when=1", "pidfd_send_signal:error=EPERM:when=1"))
    assert sound(told) == []
    assert ended(told) == ("failed", "exec", errno.ENOENT), told
    told = bed.run(LIFE, (_uid_map(bed), "pidfd_send_signal:error=EPERM"), alone=True)
    assert sound(told) == []
    assert ended(told) == ("failed", "id-map", errno.EPERM), told


def _uid_map(bed: Nursery) -> str:
    return f"openat:error=EPERM:when={bed.find(LIFE, 'manager', 'openat', 'uid_map.*O_WRONLY')}"


def test_a_cgroup_that_is_busy_is_emptied_and_removed(bed: Nursery) -> None:
    told = bed.run(LIFE, ("execve:error=ENOENT:when=1", "rmdir:error=EBUSY:when=1"))
    assert (*ended(told), sound(told)) == ("failed", "exec", errno.ENOENT, [])


#: Calls of which a fault means nothing or is not real, and why.
LEFT_OUT = {
    "close": "see above",
    "munmap": "see above",
    "waitid": "see above; somebody else's reaping has a real test below",
    "rt_sigprocmask": "cannot fail with these arguments",
    "ioctl": "Python asks whether a file is a terminal, and takes every answer",
    "lseek": "Python asks whether a file is a pipe, and takes every answer",
    "access": "the marks",
    "brk": "malloc goes on with mmap",
    "mmap": "is tested above; others are Python's own memory",
    "madvise": "is a hint",
    "recvmsg": "is tested above; a late one finds that the payload runs already",
    "poll": "is tested above",
    "getpid": "cannot fail",
    "geteuid": "cannot fail",
    "getegid": "cannot fail",
    "getuid": "cannot fail",
}


def test_every_call_of_the_manager_may_fail_and_nothing_is_left_behind(bed: Nursery) -> None:
    wrong = []
    for call in between_marks(bed.calls(LIFE)):
        if call.name in LEFT_OUT:
            continue
        told = bed.run(LIFE, (f"{call.name}:error=ENFILE:when={call.ordinal}",), alone=True)
        if found := sound(told):
            wrong.append(f"{call.name}({call.text}: {found}")
    assert "\n".join(wrong) == ""


class TestWithoutStrace:
    """What the kernel itself refuses."""

    @pytest.mark.parametrize("limit", range(5, 24))
    def test_few_descriptors_are_told_and_none_is_lost(self, bed: Nursery, limit: int) -> None:
        """The manager has three, a socket and its mounts, the driver four pipes; a spawn needs some, its child more."""
        told = bed.run({"card": "pid", "nofile": limit + 9})
        assert sound(told) == []
        if told["outcome"] != "started":
            assert told["outcome"] == "failed", told
            assert told["errno"] == errno.EMFILE, told

    def test_a_child_with_too_few_descriptors_says_so(self, bed: Nursery) -> None:
        told = bed.run({"card": "plain", "nofile": 13})
        assert (*ended(told), sound(told)) == ("failed", "descriptors", errno.EMFILE, []), told

    def test_an_ordinary_user_with_too_many_processes_is_told(self, bed: Nursery) -> None:
        told = bed.run({"card": "plain", "user": True, "nproc": 1})
        assert (*ended(told), sound(told)) == ("failed", "clone", errno.EAGAIN, []), told

    @pytest.mark.parametrize("fault", [(), ("execve:error=ENOENT:when=1",), ("setresuid:error=EPERM:when=1",)])
    def test_somebody_else_may_have_reaped_the_child(self, bed: Nursery, fault: tuple[str, ...]) -> None:
        """SIGCHLD is ignored, so the kernel reaps."""
        told = bed.run({**LIFE, "hold": True, "reaped": True}, fault)
        assert sound(told) == []
        assert told["outcome"] == ("failed" if fault else "started"), told
