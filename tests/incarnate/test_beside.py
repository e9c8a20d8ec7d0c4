"""Commands for a service: beside the running payload they see what it sees, before it they have a body like its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.card import Card
from arje.card.command import Command
from arje.card.files import Tmpfs
from arje.card.soma import Namespaces, RunAs
from arje.incarnate import beside
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from tests.conftest import needs_root
from tests.incarnate.conftest import card_of, said_by

KINDS = sorted(path.name for path in Path("/proc/self/ns").iterdir())
ALL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, cgroup=True)
Start = Callable[..., tuple[Card, Outcome]]


@pytest.fixture
def start(incarnator: Incarnator) -> Iterator[Start]:
    """Start a service that sleeps once it has said so; it can be joined."""
    started: list[Outcome] = []

    def start(script: str = "true", **soma: Any) -> tuple[Card, Outcome]:
        read, write = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        card = card_of("sh", "-c", f"{script}; echo; exec sleep infinity >/dev/null", **soma)
        outcome = incarnator.incarnate(card, StdioFds(null, write, null))
        os.close(write)
        os.close(null)
        assert os.read(read, 1) == b"\n"
        os.close(read)
        started.append(outcome)
        incarnator.neighbours = lambda label: outcome.incarnation if label == card.label else None
        return card, outcome

    yield start
    for outcome in started:
        outcome.kill_tree()
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()


def say(incarnator: Incarnator, card: Card, outcome: Outcome, script: str, **more: Any) -> str:
    assert outcome.plan is not None
    command = Command(exec="/bin/sh", argv=("-c", script), **more)
    privileged = incarnator.capabilities.privileged
    return said_by(incarnator, beside.inside(card, command, "test", outcome.plan, privileged=privileged))


@needs_root
@pytest.mark.parametrize("user", [False, True], ids=["", "with a user namespace"])
def test_a_command_beside_the_payload_is_in_every_namespace_of_it(
    incarnator: Incarnator, start: Start, user: bool
) -> None:
    card, outcome = start(namespaces=replace(ALL, user=user), hostname="its-own")
    theirs = {kind: os.readlink(f"/proc/{outcome.incarnation.pid}/ns/{kind}") for kind in KINDS}
    seen = say(incarnator, card, outcome, "cd /proc/self/ns; for i in *; do echo $i $(readlink $i); done; hostname")
    lines = seen.splitlines()
    assert lines[-1] == "its-own"
    assert dict(line.split() for line in lines[:-1]) == theirs


@needs_root
def test_a_command_sees_the_files_and_the_main_process_of_its_service(incarnator: Incarnator, start: Start) -> None:
    card, outcome = start("echo secret > /srv/file", namespaces=ALL, tmpfs=(Tmpfs(target="/srv"),))
    assert outcome.plan is not None
    pid = beside.main_pid(outcome.plan, outcome.incarnation.pid, privileged=True)
    assert pid == 2
    assert say(incarnator, card, outcome, f"cat /srv/file /proc/{pid}/comm").split() == ["secret", "sleep"]


@needs_root
@pytest.mark.parametrize("user", [False, True], ids=["", "with a user namespace"])
def test_a_command_has_the_ids_and_the_rules_of_its_service(incarnator: Incarnator, start: Start, user: bool) -> None:
    card, outcome = start(
        namespaces=replace(ALL, user=user),
        run_as=RunAs(user="nobody"),
        no_new_privs=True,
        rlimits=(("nofile", 77, 77),),
    )
    told = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapEff)' /proc/$1/status; ulimit -n"
    words = f"set -- self; {told}"
    mine = say(incarnator, card, outcome, words)
    theirs = say(incarnator, card, outcome, f"set -- 2; {told}")
    assert mine == theirs
    assert ("Uid:\t0" if user else "Uid:\t65534") in mine
    assert "NoNewPrivs:\t1" in mine
    assert mine.splitlines()[-1] == "77"


@needs_root
def test_a_privileged_command_is_outside_of_everything(incarnator: Incarnator, start: Start) -> None:
    card, outcome = start(namespaces=ALL, run_as=RunAs(user="nobody"))
    seen = say(incarnator, card, outcome, "readlink /proc/self/ns/mnt; id -u", privileged=True).split()
    assert seen == [os.readlink("/proc/self/ns/mnt"), "0"]


def test_a_command_before_the_payload_has_a_body_of_its_own_like_it(incarnator: Incarnator) -> None:
    spaces = Namespaces(user=True, mount=True, pid=True, uts=True)
    card = card_of("/bin/true", namespaces=spaces, hostname="mine", tmpfs=(Tmpfs(target="/srv"),))
    command = Command(exec="/bin/sh", argv=("-c", "hostname; stat -f -c %T /srv; echo $$"))
    assert said_by(incarnator, beside.of_command(card, command, "pre")).split() == ["mine", "tmpfs", "2"]


def test_where_a_manager_cannot_enter_a_pid_namespace_the_main_process_has_the_managers_number(
    incarnator: Incarnator, start: Start
) -> None:
    card, outcome = start(namespaces=Namespaces(user=True, mount=True, pid=True, uts=True), hostname="inside")
    assert outcome.plan is not None
    command = Command(exec="/bin/sh", argv=("-c", "hostname; readlink /proc/self/ns/uts"))
    made = beside.inside(card, command, "test", outcome.plan, privileged=False)
    assert made.soma.join.pid == ""
    assert made.soma.join.uts == card.label
    pid = beside.main_pid(outcome.plan, outcome.incarnation.pid, privileged=False)
    assert pid == outcome.incarnation.pid
