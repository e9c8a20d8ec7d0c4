"""What a payload may use and how urgent it is: granted, read back by somebody else, or one degradation with its cause.

This machine's cgroup2 has no controllers: what needs them is shown in the virtual machine (tests/vm/test_limits.py).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from arje.card.devices import IoMax
from arje.card.limits import RLIMITS
from arje.card.soma import CgroupLimits, IoPriority, Namespaces, RunAs, Scheduler
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Step
from arje.kernel import process, raises
from arje.kernel.capabilities import CGROUP_FILES
from tests.conftest import NOBODY, ROOT, python_for_nobody
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
#: In each of these the same is granted: no namespace, one with a reaper, and one that changes who may do what.
SPACES = [
    pytest.param(Namespaces(), id="none"),
    pytest.param(Namespaces(pid=True, mount=True), id="reaper"),
    pytest.param(Namespaces(user=True, pid=True, mount=True), id="user"),
]
LESS = {"nofile": 50, "nproc": 1000, "msgqueue": 4096, "sigpending": 100, "memlock": 1 << 16, "nice": 0, "rtprio": 0}
LIMITS = tuple((name, LESS.get(name, 1 << 33), LESS.get(name, 1 << 33)) for name in RLIMITS)


def granted(ran: Ran, feature: str) -> str:
    found = next(grant for grant in ran.incarnation.grants if grant.feature == feature)
    assert found.ok, found
    return found.granted


@contextmanager
def waiting(incarnator: Incarnator, *command: str, **soma: Any) -> Iterator[Outcome]:
    """A payload that waits to be killed."""
    with open("/dev/null", "r+") as null:
        fds = StdioFds(null.fileno(), null.fileno(), null.fileno())
        outcome = incarnator.incarnate(card_of(*(command or ("/bin/sleep", "1000")), **soma), fds)
    try:
        yield outcome
    finally:
        outcome.kill_tree()
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()


# -- the sixteen limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spaces", SPACES)
@needs_root
def test_all_sixteen_limits_are_what_the_payload_finds(incarnator: Incarnator, spaces: Namespaces) -> None:
    with waiting(incarnator, rlimits=LIMITS, namespaces=spaces) as outcome:
        assert outcome.incarnation.degradations == ()
        shown = dict(zip(RLIMITS, process.limits(outcome.incarnation.pid), strict=True))
        assert shown == {name: (soft, hard) for name, soft, hard in LIMITS}
        reported = {grant.feature: grant.granted for grant in outcome.incarnation.grants}
        assert {name: reported[f"rlimit.{name}"] for name in shown} == {n: f"{s} {h}" for n, (s, h) in shown.items()}


@pytest.mark.parametrize("name", ["nofile", "nproc", "memlock", "msgqueue", "nice", "rtprio", "sigpending"])
def test_a_limit_over_the_managers_own_is_foreseen_and_one_degradation(
    incarnator: Incarnator, run: Run, name: str
) -> None:
    own = resource.getrlimit(RLIMITS[name])[1]
    if own == resource.RLIM_INFINITY or incarnator.capabilities[raises.RLIMIT].available:
        pytest.skip("this manager may raise every limit")
    asked = {"rlimits": ((name, 0, own + 1),)}
    (lost,) = run("true", **asked).incarnation.degradations
    assert (lost.feature, lost.cause, lost.errno) == (f"rlimit.{name}", Cause.LIMIT, 1)
    assert f"own hard limit is {own}" in lost.detail
    (foreseen,) = incarnator.dry_run(card_of("true", **asked)).degradations
    assert (foreseen.feature, foreseen.cause) == (lost.feature, lost.cause)


def test_a_required_limit_that_cannot_be_raised_refuses_before_anything_runs(
    incarnator: Incarnator, run: Run, tmp_path: Path
) -> None:
    if incarnator.capabilities[raises.RLIMIT].available:
        pytest.skip("this manager may raise every limit")
    canary, own = tmp_path / "canary", resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for policy in ({"require": ("rlimit",)}, {"strict_caps": True}):
        with pytest.raises(IncarnationRefused) as refused:
            run("touch", str(canary), rlimits=(("nofile", 10, own + 1),), **policy)
        assert [loss.feature for loss in refused.value.degradations] == ["rlimit.nofile"]
    assert not canary.exists()


def test_more_open_files_than_the_kernel_has_is_a_matter_of_a_sysctl(run: Run) -> None:
    (lost,) = run("true", rlimits=(("nofile", 1, raises.nr_open() + 1),)).incarnation.degradations
    assert (lost.cause, lost.remedy.partition("=")[0]) == (Cause.SYSCTL, "sysctl fs.nr_open")


# -- urgency -----------------------------------------------------------------------------------------------------------


def _urgency(pid: int) -> tuple[int, str, int, int]:
    """What other programs say: nice, ionice(1), and the policy and priority of chrt(1)."""
    io = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True).stdout.strip()
    parameters = os.sched_getparam(pid)
    return os.getpriority(os.PRIO_PROCESS, pid), io, os.sched_getscheduler(pid), parameters.sched_priority


@pytest.mark.parametrize("spaces", SPACES)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"nice": 7}, (7, "none: prio 1", 0, 0)),
        ({"nice": -7}, (-7, "none: prio 2", 0, 0)),
        ({"ioprio": IoPriority(kind="realtime", level=3)}, (0, "realtime: prio 3", 0, 0)),
        ({"ioprio": IoPriority(kind="best-effort", level=7)}, (0, "best-effort: prio 7", 0, 0)),
        ({"ioprio": IoPriority(kind="idle")}, (0, "idle", 0, 0)),
        ({"scheduler": Scheduler(policy="batch"), "nice": 3}, (3, "", os.SCHED_BATCH, 0)),
        ({"scheduler": Scheduler(policy="idle")}, (0, "", os.SCHED_IDLE, 0)),
        ({"scheduler": Scheduler(policy="other")}, (0, "", os.SCHED_OTHER, 0)),
        ({"scheduler": Scheduler(policy="fifo", priority=12)}, (0, "", os.SCHED_FIFO, 12)),
        (
            {"scheduler": Scheduler(policy="rr", priority=1, reset_on_fork=True)},
            (0, "", os.SCHED_RR | os.SCHED_RESET_ON_FORK, 1),
        ),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else " ".join(f"{k}={v}" for k, v in value.items()),
)
@needs_root
def test_urgency_is_what_other_programs_see(
    incarnator: Incarnator, spaces: Namespaces, asked: dict[str, Any], shown: tuple[int, str, int, int]
) -> None:
    for probe in (raises.NICE, raises.IOPRIO, raises.SCHEDULER):
        if not incarnator.capabilities[probe].available:
            pytest.skip(f"{probe} is not to be had here")
    with waiting(incarnator, namespaces=spaces, **asked) as outcome:
        assert outcome.incarnation.degradations == ()
        nice, io, policy, priority = _urgency(outcome.incarnation.pid)
        assert (nice, policy, priority) == (shown[0], *shown[2:])
        if "ioprio" in asked:
            assert io == shown[1]
        reported = {grant.feature: grant.granted for grant in outcome.incarnation.grants}
        assert {name: reported[name] for name in asked} == {name: str(value) for name, value in asked.items()}
    assert _urgency(os.getpid())[0] == 0, "the manager's own"


@pytest.mark.parametrize("spaces", SPACES)
@needs_root
def test_the_oom_score_is_the_payloads_and_not_ours(incarnator: Incarnator, spaces: Namespaces) -> None:
    ours = Path("/proc/self/oom_score_adj").read_text()
    with waiting(incarnator, namespaces=spaces, oom_score_adj=321, run_as=RunAs(user=NOBODY)) as outcome:
        assert Path(f"/proc/{outcome.incarnation.pid}/oom_score_adj").read_text() == "321\n"
        (grant,) = [grant for grant in outcome.incarnation.grants if grant.feature == "oom_score_adj"]
        assert (grant.granted, grant.ok) == ("321", True)
    assert Path("/proc/self/oom_score_adj").read_text() == ours


def test_an_oom_score_below_what_we_may_give_is_refused_before_anything_runs(
    incarnator: Incarnator, run: Run, tmp_path: Path
) -> None:
    if incarnator.capabilities[raises.OOM].available:
        pytest.skip("this manager may protect its services from the OOM killer")
    canary = tmp_path / "canary"
    with pytest.raises(IncarnationRefused):
        run("touch", str(canary), oom_score_adj=-1000, require=("oom_score_adj",))
    assert not canary.exists()
    (lost,) = run("true", oom_score_adj=-1000).incarnation.degradations
    assert (lost.feature, lost.cause) == ("oom_score_adj", Cause.NO_CAPABILITY)


BEYOND: dict[str, tuple[dict[str, Any], str]] = {
    "nice": ({"nice": -5}, "no-capability"),
    "ioprio": ({"ioprio": "realtime:0"}, "no-capability"),
    "scheduler": ({"scheduler": "fifo:50"}, "no-capability"),
    "oom_score_adj": ({"oom_score_adj": -500}, "no-capability"),
    "rlimit.rtprio": ({"rlimits": {"rtprio": 50}}, "limit"),
}


@needs_root
@pytest.mark.parametrize("feature", BEYOND)
def test_what_is_beyond_an_ordinary_user_is_one_degradation_with_a_remedy(feature: str, place: Path) -> None:
    """In ``arje run``, which is an Incarnator of its own in a process of its own; required, nothing runs."""
    found = python_for_nobody()
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    (asked, cause), (python, more) = BEYOND[feature], found
    card = place / "card.toml"
    for policy, status, said in (("prefer", 7, ""), ("require", 153, "required isolation is not obtainable")):
        soma = "\n".join(f"{name} = {_toml(value)}" for name, value in asked.items())
        card.write_text(f'[payload]\nexec = "true"\n[soma]\n{soma}\n{policy} = ["{feature}"]\n')
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
        done = subprocess.run(
            [*user, "-m", "arje", "run", "--card", str(card), "--chdir", "/", "--", "sh", "-c", "exit 7"],
            cwd=ROOT, env=os.environ | more, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done
        assert said in done.stderr
        assert done.stderr.count(f"{feature}: asked") == 1, done.stderr
        assert cause in done.stderr or "EPERM" in done.stderr or "EACCES" in done.stderr


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"nice": 20}, "soma.nice"),
        ({"oom_score_adj": 1001}, "soma.oom_score_adj"),
        ({"ioprio": IoPriority(kind="urgent")}, "soma.ioprio"),
        ({"ioprio": IoPriority(kind="realtime", level=8)}, "soma.ioprio"),
        ({"scheduler": Scheduler(policy="fifo")}, "soma.scheduler"),
        ({"scheduler": Scheduler(policy="batch", priority=1)}, "soma.scheduler"),
        ({"scheduler": Scheduler(policy="deadline", runtime=2.0, period=1.0)}, "soma.scheduler"),
        ({"cgroup": CgroupLimits(cpu_idle=True, cpu_weight=3)}, "soma.cgroup.cpu_weight"),
    ],
)
def test_what_no_kernel_takes_is_refused_in_the_plan(run: Run, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(SetupFailed) as failed:
        run("true", **asked)
    assert (failed.value.step, failed.value.field) == (Step.PLAN, field)


# -- the cgroup --------------------------------------------------------------------------------------------------------

EVERY: dict[str, Any] = {
    "cpu_max": "50%",
    "cpu_weight": 50,
    "cpu_idle": True,
    "io_weight": 200,
    "io_max": (IoMax(device="1:0", rbps=1 << 20),),
    "memory_max": 1 << 28,
    "memory_high": 1 << 27,
    "memory_low": 1 << 20,
    "memory_min": 1 << 20,
    "memory_swap_max": 0,
    "memory_oom_group": True,
    "pids_max": 50,
    "cpuset": "0",
    "cpuset_mems": "0",
}


@pytest.mark.parametrize("name", CGROUP_FILES)
def test_a_limit_without_its_controller_is_one_degradation_or_refused(
    incarnator: Incarnator, base: Path | None, run: Run, name: str, tmp_path: Path
) -> None:
    feature, soma = f"cgroup.{name}", {"cgroup": CgroupLimits(**{name: EVERY[name]})}
    if incarnator.capabilities[feature].available:
        pytest.skip("the controller is here; see tests/vm")
    *none, lost = run("true", **soma, prefer=("cgroup",)).incarnation.degradations
    assert [loss.feature for loss in none] == (["cgroup"] if base is None else [])
    assert (lost.feature, lost.cause) == (feature, incarnator.capabilities[feature].cause)
    assert lost.cause in (Cause.CONTROLLER_MISSING, Cause.NOT_DELEGATED)
    foreseen = incarnator.dry_run(card_of("true", **soma)).degradations
    assert [loss.feature for loss in foreseen] == [loss.feature for loss in (*none, lost)]
    canary = tmp_path / "canary"
    with pytest.raises(IncarnationRefused) as refused:
        run("touch", str(canary), **soma, require=(feature,))
    assert [loss.feature for loss in refused.value.degradations if loss not in none] == [feature]
    assert not canary.exists()


@needs_root
def test_a_delegated_cgroup_belongs_to_the_services_user(run: Run, base: Path | None) -> None:
    if base is None:
        pytest.skip("no writable cgroup2 here")
    script = 'mkdir "$0/below" && echo $$ > "$0/below/cgroup.procs" && grep ^0: /proc/self/cgroup; stat -c %u "$0"'
    who, asked = RunAs(user=1234, group=1235), CgroupLimits(delegate=True)
    ran = run("sh", "-c", script, str(base / "test"), run_as=who, cgroup=asked)
    assert granted(ran, "cgroup.delegate") == "uid 1234 gid 1235"
    place, owner = ran.output.split()
    assert (place.endswith("/test/below"), owner) == (True, "1234")
    spaces = Namespaces(user=True, cgroup=True)
    ran = run("sh", "-c", script, str(base / "test"), run_as=who, cgroup=asked, namespaces=spaces)
    assert granted(ran, "cgroup.delegate") == "uid 1234 gid 1235"
    assert ran.output.split() == ["0::/below", "0"], "root inside is 1234 outside"


def test_delegation_that_cannot_be_had_refuses_unless_the_card_prefers_it(base: Path | None) -> None:
    if base is None:
        pytest.skip("no writable cgroup2 here")
    from arje.kernel.capabilities import CapabilitySet

    without = Incarnator(CapabilitySet.detect(None), None)
    card = card_of("true", cgroup=CgroupLimits(delegate=True))
    assert "cgroup.delegate" in without.dry_run(card).refusal


@pytest.fixture
def frozen(incarnator: Incarnator, base: Path | None) -> Iterator[Outcome]:
    if base is None:
        pytest.skip("no writable cgroup2 here")
    with waiting(incarnator, "/bin/sh", "-c", "sleep 1000 & wait") as outcome:
        assert not outcome.frozen
        assert outcome.freeze(frozen=True)
        yield outcome


def test_a_frozen_payload_is_frozen_as_the_kernel_says(frozen: Outcome) -> None:
    assert frozen.frozen
    assert "frozen 1" in Path(frozen.incarnation.cgroup, "cgroup.events").read_text()
    assert frozen.freeze(frozen=False)
    assert not frozen.frozen


def test_a_frozen_payload_can_be_killed(frozen: Outcome) -> None:
    assert frozen.kill_tree() == "cgroup.kill"
    os.waitid(os.P_PIDFD, frozen.pidfd, os.WEXITED | os.WNOWAIT)
