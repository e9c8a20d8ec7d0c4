"""Living in another service's namespaces: the kernel's links say so, and a neighbour who is not there is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.join import Join
from arje.card.soma import IdMap, Namespaces, RunAs
from arje.errors import SetupFailed
from arje.incarnate.neighbours import nobody
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator
from arje.incarnation import Cause, Step
from tests.conftest import Manager, sh
from tests.incarnate.conftest import Ran, card_of
from tests.incarnate.test_readback import waiting

Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
LINKS = {"mount": "mnt"}
RANGE = (IdMap(inside=0, outside=100000, count=100),)


@contextmanager
def neighbour(incarnator: Incarnator, **soma: Any) -> Iterator[Outcome]:
    """A running service that the label ``other`` stands for."""
    with waiting(incarnator, **soma) as outcome:
        incarnator.neighbours = lambda label: outcome.incarnation if label == "other" else None
        try:
            yield outcome
        finally:
            incarnator.neighbours = nobody


def link(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{LINKS.get(kind, kind)}")


@needs_root
@pytest.mark.parametrize("kind", ["net", "uts", "ipc", "pid", "mount", "cgroup", "time"])
def test_a_service_lives_in_the_namespace_of_its_neighbour(incarnator: Incarnator, run: Run, kind: str) -> None:
    theirs = Namespaces(**{kind: True, "mount": kind in ("pid", "mount")})
    with neighbour(incarnator, namespaces=theirs, hostname="theirs" if kind == "uts" else "") as other:
        name = LINKS.get(kind, kind)
        ran = run("sh", "-c", f"readlink /proc/self/ns/{name}; uname -n", join=Join(**{kind: "other"}))
        expected = link(other.incarnation.pid, kind)
        assert ran.incarnation.degradations == ()
        grant = next(grant for grant in ran.incarnation.grants if grant.feature == f"join.{kind}")
        assert (grant.granted, grant.ok) == (expected, True)
        assert expected != link("self", kind)
        if kind != "pid":  # whose links a /proc of another pid namespace does not have
            assert ran.output.split()[0] == expected
        if kind == "uts":
            assert ran.output.split()[1] == "theirs"
        assert link("self", "pid") == os.readlink("/proc/self/ns/pid_for_children")  # the manager is where it was


@needs_root
def test_a_service_among_its_neighbours_processes_sees_them_and_ends_with_them(incarnator: Incarnator) -> None:
    with neighbour(incarnator, namespaces=Namespaces(pid=True, mount=True)) as other:
        soma = {"join": Join(pid="other", mount="other")}
        with waiting(incarnator, **soma) as ours:
            status = Path(f"/proc/{ours.incarnation.pid}/status").read_text()
            assert "NSpid:" in status
            assert len(next(line for line in status.splitlines() if line.startswith("NSpid")).split()) == 3
            other.kill_tree()
            info = os.waitid(os.P_PIDFD, ours.pidfd, os.WEXITED | os.WNOWAIT)
            assert info is not None
            assert info.si_status == 9


@needs_root
def test_the_user_namespace_of_a_neighbour_gives_its_ids(incarnator: Incarnator, run: Run, place: Path) -> None:
    place.chmod(0o777)
    with neighbour(incarnator, namespaces=Namespaces(user=True, net=True), uid_map=RANGE, gid_map=RANGE) as other:
        for who, uid in ((None, 0), (RunAs(user=5, group=6, groups=()), 5)):
            script = f"id -u; readlink /proc/self/ns/user; touch {place}/{uid}"
            ran = run(
                "sh", "-c", script, join=Join(user="other", net="other"), run_as=who, namespaces=Namespaces(mount=True)
            )
            assert ran.incarnation.degradations == ()
            assert ran.output.split() == [str(uid), link(other.incarnation.pid, "user")]
            assert (place / str(uid)).stat().st_uid == 100000 + uid


@pytest.mark.parametrize(
    ("soma", "step", "words"),
    [
        ({"join": Join(net="nobody")}, Step.PREPARE, "service 'nobody' is not running"),
        ({"join": Join(net="test")}, Step.PLAN, "it would join itself"),
        ({"join": Join(net="other"), "namespaces": Namespaces(net=True)}, Step.PLAN, "one of its own"),
    ],
)
@needs_root
def test_a_neighbour_that_cannot_be_is_named_with_its_field(
    run: Run, soma: dict[str, Any], step: Step, words: str
) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        run("true", **soma)
    assert (caught.value.step, caught.value.field) == (step, "soma.join.net")


@needs_root
def test_a_neighbour_that_lives_elsewhere_by_now_is_not_joined(incarnator: Incarnator, run: Run) -> None:
    """The number of a process that has ended may be somebody else's: the link is that of the report, or it is refused."""
    with neighbour(incarnator, namespaces=Namespaces(net=True)) as other:
        recycled = replace(other.incarnation, pid=os.getpid())
        incarnator.neighbours = lambda label: recycled
        with pytest.raises(SetupFailed, match="has left its net namespace"):
            run("true", join=Join(net="other"))


def test_an_ordinary_users_manager_is_told_what_it_lacks(incarnator: Incarnator) -> None:
    ordinary = Incarnator(replace(incarnator.capabilities, privileged=False), None)
    join = Join(net="other", pid="other")
    lost = ordinary.dry_run(card_of("true", join=join)).degradations
    assert {loss.feature: loss.cause for loss in lost} == dict.fromkeys(("join.net", "join.pid"), Cause.NO_CAPABILITY)
    lost = ordinary.dry_run(card_of("true", join=replace(join, user="other"))).degradations
    assert {loss.feature for loss in lost} == {"join.pid"}


@pytest.mark.parametrize(
    "user", [pytest.param(False, id="manager", marks=needs_root), pytest.param(True, id="ordinary user")]
)
def test_a_manager_finds_the_neighbour_by_its_label(manage: Callable[..., Manager], user: bool) -> None:
    space = 'namespaces = ["net", "user"]' if user else 'namespaces = ["net"]'
    both = 'join = {net = "first", user = "first"}' if user else 'join = {net = "first"}'
    after = 'after = ["first"]\nrequires = ["first"]'
    manager = manage(
        {
            "first": sh("exec sleep 1000", space),
            "second": sh("readlink /proc/self/ns/net; exec sleep 1000", both, after),
            "third": sh("true", both.replace("first", "fourth")),
        },
        user=user,
    )
    manager.settle("first", "second", "third")
    manager.await_line("second", "net:")
    net = manager.show("first")["namespaces"]["net"]
    assert manager.lines("second") == [net]
    assert "service 'fourth' is not running" in str(manager.show("third"))
