"""Namespaces made ahead: the same as new ones, each for one child, thrown away when they would differ, never missed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.soma import IdMap, Namespaces, Network, RunAs
from arje.incarnate import spares
from arje.incarnate.outcome import Outcome
from arje.incarnate.spares import EACH, MAPS, Spare, Spares
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit
from arje.kernel.capabilities import CapabilitySet
from arje.native.spares import Order
from tests.incarnate.conftest import card_of
from tests.incarnate.fault_tracer import Nursery, bed, sound

__all__ = ["bed"]  # a fixture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's net namespace belongs to its own user's")
#: Descriptors that an order needs: the watch and its directories, two namespaces of each kind, two while one is made.
ENOUGH = 16
FULL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, cgroup=True, user=True)
ONE = (IdMap(inside=0, outside=0, count=1),)
#: What of a process its namespaces decide, but for their numbers.
LOOK = (
    "grep -v -E '^(Pid|NSpid|Tgid|NStgid|PPid|NSpgid|NSsid|Ngid|Vm|Rss|.*ctxt|Hugetlb|State|FDSize|Mems|Cpus)' "
    "/proc/self/status; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/limits; "
    "cat /proc/net/if_inet6 /proc/net/route /proc/net/fib_trie; "
    "grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/tcp_rmem /proc/sys/user 2>&1; true"
)


#: What other tests of this process hold.
OTHERS = set[str]()


@pytest.fixture
def keeper(base: Path | None) -> Iterator[Incarnator]:
    before, tasks = links(), os.listdir("/proc/self/task")  # noqa: PTH208 - the names are wanted
    OTHERS.clear()
    OTHERS.update(before)
    made = Incarnator(CapabilitySet.detect(base), base, spares=EACH)
    yield made
    made.close()
    made.close()
    left = sorted(link for link in links() if link.startswith(("net:", "user:", "anon_inode:inotify", "/proc/sys")))
    assert left == [link for link in sorted(before) if link in left]
    assert os.listdir("/proc/self/task") == tasks  # noqa: PTH208


def links() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names are wanted
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def kept(kind: str) -> set[str]:
    return {link for link in links() if link.startswith(f"{kind}:")} - OTHERS


@contextlib.contextmanager
def alive(keeper: Incarnator, *command: str, **soma: Any) -> Iterator[Outcome]:
    """Run a program meanwhile; a program that reads its stdin waits until the end."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    outcome = keeper.incarnate(card_of(*(command or ("cat",)), **soma), StdioFds(reader, null, null))
    for fd in (reader, null):
        os.close(fd)
    try:
        yield outcome
    finally:
        os.close(writer)
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()


def says(keeper: Incarnator, script: str, **soma: Any) -> tuple[str, Outcome]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    outcome = keeper.incarnate(card_of("sh", "-c", script, **soma), StdioFds(null, writer, writer))
    for fd in (writer, null):
        os.close(fd)
    with os.fdopen(reader) as stream:
        text = stream.read()
    info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    assert info is not None
    assert outcome.exit_of(Exit.from_wait(info.si_code, info.si_status)) == Exit("exited", 0), text
    outcome.close()
    return text, outcome


def full(**more: Any) -> dict[str, Any]:
    return {"namespaces": FULL, "uid_map": ONE, "gid_map": ONE} | more


def test_nothing_is_made_before_a_start_has_needed_it(keeper: Incarnator) -> None:
    with alive(keeper, namespaces=Namespaces(pid=True, mount=True)):
        keeper.spares.settle()
        assert not kept("net")
    with alive(keeper, **full()) as first:
        keeper.spares.settle()
        assert len(kept("net")) == len(kept("user")) == EACH
        assert first.incarnation.namespaces["net"] not in kept("net")


def test_the_next_start_takes_what_was_made(keeper: Incarnator) -> None:
    with alive(keeper, **full()):
        keeper.spares.settle()
    ahead = kept("net") | kept("user")
    with alive(keeper, **full()) as second:
        assert second.incarnation.degradations == ()
        assert {second.incarnation.namespaces[kind] for kind in ("net", "user")} <= ahead


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "uid_map": (IdMap(inside=0, outside=100000, count=10),),
            "gid_map": (IdMap(inside=0, outside=200000, count=20),),
            "run_as": RunAs(user=5, group=6, groups=(7,)),
            "disable_nested_userns": True,
            "rlimits": (("nofile", 100, 200),),
        },
    ],
    ids=["root", "another user"],
)
def test_a_payload_sees_the_same_as_in_new_ones(keeper: Incarnator, more: dict[str, Any]) -> None:
    first, fresh = says(keeper, LOOK, **full(**more))
    keeper.spares.settle()
    ahead = kept("net") | kept("user")
    second, spare = says(keeper, LOOK, **full(**more))
    assert {spare.incarnation.namespaces[kind] for kind in ("net", "user")} <= ahead
    assert second == first
    granted = [[re.sub(r"\d+:\d+|\[\d+\]", "N", str(grant)) for grant in x.incarnation.grants] for x in (fresh, spare)]
    assert granted[0] == granted[1]


def test_they_belong_to_whom_new_ones_belong(keeper: Incarnator) -> None:
    ns_get_userns, ns_get_parent, ns_get_owner_uid = 0xB701, 0xB702, 0xB704  # ioctl_ns(2)
    owners = []
    for _ in range(2):
        with alive(keeper, **full()) as outcome:
            found = []
            for kind, call in (("net", ns_get_userns), ("user", ns_get_parent)):
                fd = os.open(f"/proc/{outcome.incarnation.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
                owner = fcntl.ioctl(fd, call)
                found.append(os.readlink(f"/proc/self/fd/{owner}"))
                if kind == "user":
                    found.append(str(int.from_bytes(fcntl.ioctl(fd, ns_get_owner_uid, bytes(4)), "little")))
                os.close(owner)
                os.close(fd)
            owners.append(found)
            keeper.spares.settle()
    assert owners == [[os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/user"), "0"]] * 2


def test_none_is_ever_given_to_two(keeper: Incarnator) -> None:
    with contextlib.ExitStack() as stack:
        seen = []
        for number in range(24):
            outcome = stack.enter_context(alive(keeper, **full()))
            seen += [outcome.incarnation.namespaces["net"], outcome.incarnation.namespaces["user"]]
            if number % 3 == 0:
                keeper.spares.settle()
        assert len(set(seen)) == len(seen)
        keeper.spares.settle()
        assert not (kept("net") | kept("user")) & set(seen)


def test_a_refused_start_uses_one_up(keeper: Incarnator) -> None:
    with alive(keeper, **full()):
        keeper.spares.settle()
    before = kept("net")
    with pytest.raises(Exception, match="nowhere"), alive(keeper, "/nowhere/at/all", **full()):
        pass
    assert len(before - kept("net")) == 1


def test_the_reaper_is_in_the_same_one(keeper: Incarnator) -> None:
    with alive(keeper, **full()):
        keeper.spares.settle()
    with alive(keeper, **full()) as outcome:
        leader = os.readlink(f"/proc/{outcome.incarnation.leader_pid}/ns/net")
        assert leader == outcome.incarnation.namespaces["net"]


@pytest.mark.parametrize(
    ("soma", "takes"),
    [
        ({}, (True, True)),
        ({"network": Network(mode="none")}, (False, True)),
        ({"rlimits": (("memlock", 1 << 16, 1 << 16),)}, (True, False)),
        ({"rlimits": (("nofile", 100, 100),)}, (True, True)),
        ({"namespaces": replace(FULL, net=False)}, (False, True)),
        ({"namespaces": replace(FULL, user=False), "uid_map": (), "gid_map": ()}, (True, False)),
    ],
    ids=["all", "no device up", "a limit of the user namespace", "another limit", "no net", "no user"],
)
def test_who_needs_another_kind_is_given_a_new_one(
    keeper: Incarnator, soma: dict[str, Any], takes: tuple[bool, bool]
) -> None:
    for _ in range(2):
        with alive(keeper, **full()):
            keeper.spares.settle()
    plan, _ = keeper.prepared(card_of("true", **(full() | soma)))
    with keeper.spares.lend(plan) as spare:
        assert (spare.net >= 0, spare.user >= 0) == takes


def test_one_that_is_reached_into_by_pid_is_new(keeper: Incarnator) -> None:
    with alive(keeper, **full()):
        keeper.spares.settle()
    plan, _ = keeper.prepared(card_of("true", **full()))
    for feature in ("network.veth", "network.pasta"):
        wish = replace(plan.wishes[0], feature=feature)
        with keeper.spares.lend(replace(plan, wishes=(*plan.wishes, wish))) as spare:
            assert spare.net == -1


def test_only_the_maps_that_were_wanted_last_are_kept(keeper: Incarnator) -> None:
    for outside in range(1000, 1000 + MAPS + 3):
        lines = (IdMap(inside=0, outside=outside, count=1),)
        with alive(keeper, namespaces=Namespaces(user=True), uid_map=lines, gid_map=lines):
            keeper.spares.settle()
    assert len(kept("user")) == MAPS * EACH


@pytest.mark.parametrize("name", ["ipv4/conf/all/log_martians", "ipv4/conf/default/log_martians", "ipv4/tcp_rmem"])
def test_settings_that_a_new_one_would_take_over_make_those_of_before_worthless(
    own_network: None, keeper: Incarnator, name: str
) -> None:
    with alive(keeper, **full()):
        keeper.spares.settle()
    stale = kept("net")
    path = Path("/proc/sys/net", name)
    path.write_text(path.read_text())  # the same again: a writer is enough
    with alive(keeper, **full()) as outcome:
        assert outcome.incarnation.namespaces["net"] not in stale
        keeper.spares.settle()
        assert len(kept("net")) == EACH
        assert not kept("net") & stale


class Slow(Order):
    """Is done when it is told."""

    told = False

    @property
    def done(self) -> bool:
        return self.told and super().done


def test_settings_that_change_while_one_is_made_make_it_worthless(
    own_network: None, keeper: Incarnator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(spares, "Order", Slow)
        with alive(keeper, **full()):
            path = Path("/proc/sys/net/ipv4/conf/all/log_martians")
            path.write_text(path.read_text())
        with alive(keeper, **full()):
            patched.setattr(Slow, "told", True)
            keeper.spares.settle()
            assert not kept("net")
            assert len(kept("user")) == EACH
    with alive(keeper, **full()):
        keeper.spares.settle()
        assert len(kept("net")) == EACH


def test_a_start_does_not_wait_for_what_is_being_made(keeper: Incarnator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "Order", Slow)
    for _ in range(3):
        with alive(keeper, **full()) as outcome:
            assert outcome.incarnation.degradations == ()
    assert Slow.told is False


# -- when there are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EPERM, errno.EMFILE])
def test_a_start_without_spares_is_what_it_ever_was(
    keeper: Incarnator, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    class Refused:
        done = True

        def __init__(self, *_: object) -> None:
            pass

        def end(self) -> tuple[list[int], list[int], int]:
            return [], [], error

    with monkeypatch.context() as patched:
        patched.setattr(spares, "Order", Refused)
        for _ in range(3):
            with alive(keeper, **full()) as outcome:
                assert outcome.incarnation.degradations == ()
                keeper.spares.settle()
                assert keeper.spares.refused == error
    with alive(keeper, **full()):
        keeper.spares.settle()
    assert keeper.spares.refused == 0
    assert len(kept("net")) == EACH


def test_too_few_descriptors_leave_none_open(keeper: Incarnator) -> None:
    """At every number of free descriptors: what could be made is kept, the rest is not half there."""
    plan, _ = keeper.prepared(card_of("true", **full()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(ENOUGH + 3):
        few = Spares()
        with few.lend(plan) as spare:
            assert spare == Spare()
        before = sorted(links())
        holes = [os.dup(0) for _ in range(40)]
        for fd in holes[:room]:
            os.close(fd)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (holes[-1] + 1, hard))
            few.refill()
            few.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in holes[room:]:
                os.close(fd)
        assert few.refused == (errno.EMFILE if room < ENOUGH else 0), room
        few.close()
        assert sorted(links()) == before


def test_no_thread_to_make_them_is_no_failure(keeper: Incarnator, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patched:
        patched.setattr(spares, "Order", no_room)
        with alive(keeper, **full()) as outcome:
            assert outcome.incarnation.degradations == ()
        assert keeper.spares.refused == errno.EAGAIN
    with alive(keeper, **full()):
        keeper.spares.settle()
    assert len(kept("net")) == EACH


def test_what_is_made_while_all_is_released_is_released_too(keeper: Incarnator) -> None:
    with alive(keeper, **full()):
        keeper.close()
    assert not kept("net") | kept("user")
    with alive(keeper, **full()) as outcome:
        assert outcome.incarnation.degradations == ()
    assert not kept("net") | kept("user")


def test_an_order_that_nobody_fetches_leaves_nothing() -> None:
    before = sorted(links())
    Order(2, 2, "0 0 1\n", "0 0 1\n")
    assert sorted(links()) == before


def test_maps_that_the_kernel_refuses_leave_nothing() -> None:
    before = sorted(links())
    assert Order(0, 2, "0 0 0\n", "0 0 1\n").end() == ([], [], errno.EINVAL)
    assert sorted(links()) == before
    with contextlib.suppress(ChildProcessError):  # other tests may have children here
        assert os.waitpid(-1, os.WNOHANG | 0x40000000) == (0, 0)  # __WALL


def test_who_may_not_make_them_is_told() -> None:
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        os._exit(0 if Order(2, 0).end() == ([], [], errno.EPERM) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_whoever_waits_for_children_does_not_hear_of_the_makers() -> None:
    order = Order(2, 2, "0 0 1\n", "0 0 1\n")
    while not order.done:
        with contextlib.suppress(ChildProcessError):  # other tests may have children here
            assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is None
    nets, users, error = order.end()
    assert (len(nets), len(users), error) == (2, 2, 0)
    for fd in (*nets, *users):
        os.close(fd)


def test_a_spare_that_cannot_be_entered_is_replaced_by_a_new_one(bed: Nursery) -> None:
    """The net namespace by the child, the user namespace by the payload."""
    told = bed.run({"card": "everything", "spares": EACH}, ("setns:error=EPERM",))
    assert told["log"].count("(INJECTED)") == 2
    assert (told["outcome"], told["degradations"], sound(told)) == ("started", [], []), told


def test_a_spare_whose_replacement_is_refused_as_well_is_told(bed: Nursery) -> None:
    told = bed.run({"card": "everything", "spares": EACH}, ("setns:error=EPERM", "unshare:error=ENOSPC"))
    assert (told["outcome"], told["step"], told["errno"], sound(told)) == ("failed", "unshare", errno.ENOSPC, []), told
