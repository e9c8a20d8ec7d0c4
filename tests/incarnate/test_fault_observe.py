"""A watch has no bad error path either: its calls fail one by one, in the child, in the manager and in the watching thread.

Whatever fails, nothing hangs and nothing is left; the payload runs, or has not run and the start says why. Only when the
watching thread itself loses its listener can the payload not go on, as its calls wait for an answer.
"""

from __future__ import annotations

import errno
import subprocess
from typing import Any

import pytest

from arje.incarnate import calls
from arje.incarnate.observe import Observer
from arje.kernel import seccomp
from arje.native import notices
from tests.incarnate.fault_tracer import Nursery, bed, sound

__all__ = ["bed"]  # a fixture

LIFE = {"observe": True}
THREAD = "payload"  # the third process that strace sees, as there is no reaper


def test_a_watch_without_a_fault_sees_what_the_payload_does(bed: Nursery) -> None:
    told = bed.run(LIFE)
    assert sound(told) == []
    assert (told["outcome"], told["exit"]) == ("started", "exited 7")
    assert {"execve", "openat", "write", "read"} <= set(told["seen"])


def faulted(bed: Nursery, who: str, name: str, text: str, error: str, nth: int = 0, **more: Any) -> dict[str, Any]:
    life = LIFE | more
    when = bed.find(life, who, name, text, nth)
    told = bed.run(life, (f"{name}:error={error}:when={when}",), alone=who == "manager")
    assert "(INJECTED" in told["log"]
    assert sound(told) == []
    return told


@pytest.mark.parametrize("error", ["EPERM", "EBUSY", "ENOMEM", "EACCES"])
def test_a_filter_that_cannot_be_set_is_told(bed: Nursery, error: str) -> None:
    """EBUSY: an outer watch is there already (seccomp(2))."""
    told = faulted(bed, "child", "seccomp", "NEW_LISTENER", error)
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "observe", getattr(errno, error)), told


def test_a_kernel_without_killable_waits_is_watched_all_the_same(bed: Nursery) -> None:
    """Before Linux 5.19 there is no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV."""
    told = faulted(bed, "child", "seccomp", "NEW_LISTENER", "EINVAL")
    assert (told["outcome"], told["exit"]) == ("started", "exited 7")
    assert "execve" in told["seen"]


def test_a_listener_that_cannot_be_told_of_is_told(bed: Nursery) -> None:
    """Nobody would answer; so the child's own word of it must not wait for an answer, and ends it."""
    sends = [call for call in bed.calls(LIFE) if (call.who, call.name) == ("child", "sendto")]
    told = bed.run(LIFE, (f"sendto:error=ENOBUFS:when={sends[0].ordinal}",))
    assert sound(told) == []
    assert told["outcome"] == "failed", told


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("pidfd_open", "", "EMFILE"),
        ("pidfd_open", "", "ENOMEM"),
        ("pidfd_getfd", "", "EPERM"),
        ("pidfd_getfd", "", "EMFILE"),
        ("pidfd_getfd", "", "ENOSYS"),
    ],
)
def test_a_listener_that_cannot_be_taken_is_told(bed: Nursery, name: str, text: str, error: str) -> None:
    told = faulted(bed, "manager", name, text, error)
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "observe", getattr(errno, error)), told


def test_a_thread_that_cannot_be_made_is_told(bed: Nursery) -> None:
    told = faulted(bed, "manager", "clone3", "CLONE_THREAD", "EAGAIN")
    assert (told["outcome"], told.get("step"), told.get("errno")) == ("failed", "observe", errno.EAGAIN), told


@pytest.mark.parametrize("nth", [0, 1, 5])
@pytest.mark.parametrize(
    ("name", "text"), [("ioctl", "NOTIF_RECV"), ("ioctl", "NOTIF_SEND"), ("poll", "POLLIN")], ids=str
)
def test_a_watch_that_breaks_ends_whom_it_watched_and_is_not_silent(
    bed: Nursery, name: str, text: str, nth: int
) -> None:
    told = faulted(bed, THREAD, name, text, "ENOMEM", nth)
    assert told["outcome"] == "failed" or told["exit"] != "exited 7", told


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [("poll", "POLLIN", "EINTR"), ("ioctl", "NOTIF_RECV", "ENOENT"), ("ioctl", "NOTIF_RECV", "EINTR")],
)
def test_an_interruption_and_a_caller_that_is_gone_are_no_faults(
    bed: Nursery, name: str, text: str, error: str
) -> None:
    """A signal that kills who waits makes its notice void (seccomp_unotify(2))."""
    told = faulted(bed, THREAD, name, text, error, 1)
    assert (told["outcome"], told["exit"]) == ("started", "exited 7"), told


@pytest.mark.parametrize("name", ["openat", "execve", "connect", "mkdir", "kill"])
def test_what_cannot_be_looked_at_is_counted_and_let_through(name: str) -> None:
    """The number of a process that has ended: its memory, root and rights are gone."""
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    observer = Observer()
    observer.seen.started = True
    assert observer._judge(notices.Notice(1, ended.pid, seccomp.number_of(name), (1, 2, 3, 4, 5, 6))) == 0
    assert observer.seen.calls == {name}
    assert observer.seen.unread == (name in calls.NOTES)


@pytest.mark.parametrize("nofile", range(9, 24))  # what the driver itself has open, and on
def test_a_manager_without_descriptors_fails_the_start_or_sees_less(bed: Nursery, nofile: int) -> None:
    told = bed.run(LIFE | {"nofile": nofile})
    assert sound(told) == []
    assert told["outcome"] in {"started", "failed"}, told
