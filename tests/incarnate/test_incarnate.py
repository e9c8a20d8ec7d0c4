"""Real incarnations on this machine: what is granted, what is lost and why, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.soma import CgroupLimits, IdMap, Namespaces, Overlay, PivotRoot, RunAs, TimeOffsets
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Exit, Step
from tests.conftest import needs_root
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
ALL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, user=True, cgroup=True, time=True)


def granted(ran: Ran, feature: str) -> str:
    found = next(grant for grant in ran.incarnation.grants if grant.feature == feature)
    assert found.ok, found
    return found.granted


@needs_root
def test_all_eight_namespaces_are_granted_and_reported_as_an_independent_reader_sees_them(run: Run) -> None:
    ran = run("sh", "-c", "read line; readlink /proc/self/ns/*", namespaces=ALL)
    theirs = set(ran.output.split())
    reported = {granted(ran, kind if kind != "cgroup" else "cgroup-ns") for kind in ALL.__slots__}
    assert reported <= theirs
    assert len(reported) == 8


@needs_root
def test_a_service_that_runs_as_nobody_in_a_user_namespace_is_root_inside_and_nobody_outside(run: Run) -> None:
    ran = run(
        "sh",
        "-c",
        "id -u; id -G; cat /proc/self/uid_map",
        namespaces=Namespaces(user=True),
        run_as=RunAs(user="nobody"),
    )
    assert ran.output.split() == ["0", "0", "0", "65534", "1"]


STEPS = ("plan", "cgroup", "clone", "configure", "isolate", "report", "exec")


@needs_root
def test_the_time_of_every_step_is_told_and_together_they_are_the_whole(run: Run, base: Path | None) -> None:
    ran = run("/bin/true", namespaces=Namespaces(mount=True, pid=True, user=True))
    steps = dict(ran.incarnation.steps)
    assert tuple(steps) == STEPS
    assert all(ms > 0 for step, ms in steps.items() if step != "cgroup" or base)
    assert sum(steps.values()) == pytest.approx(ran.incarnation.setup_ms)


def test_a_child_whose_clock_is_another_one_does_not_spoil_the_times(run: Run) -> None:
    ran = run("/bin/true", namespaces=Namespaces(time=True), time_offsets=TimeOffsets(monotonic=86400.0))
    assert {"plan", "clone", "configure", "exec"} <= dict(ran.incarnation.steps).keys()
    assert all(0 <= ms <= ran.incarnation.setup_ms for _, ms in ran.incarnation.steps)
    assert sum(ms for _, ms in ran.incarnation.steps) == pytest.approx(ran.incarnation.setup_ms)


@needs_root
def test_the_maps_of_a_card_are_written_line_by_line(run: Run) -> None:
    lines = (IdMap(inside=0, outside=100000, count=10), IdMap(inside=10, outside=0, count=1))
    spaces = Namespaces(user=True, mount=True)
    ran = run("cat", "/proc/self/uid_map", namespaces=spaces, uid_map=lines, gid_map=lines)
    assert ran.output.split() == ["0", "100000", "10", "10", "0", "1"]


@needs_root
def test_run_as_changes_user_group_and_groups(run: Run) -> None:
    ran = run("sh", "-c", "id -u; id -g; id -G", run_as=RunAs(user=1234, group=1235, groups=(7, 8)))
    assert ran.output.split("\n")[:3] == ["1234", "1235", "1235 7 8"]


def test_limits_umask_affinity_and_working_directory_are_what_the_card_says(run: Run) -> None:
    script = "ulimit -n; ulimit -Hn; umask; pwd; grep -E 'NoNewPrivs|Cpus_allowed_list' /proc/self/status; ulimit -c"
    ran = run(
        "sh",
        "-c",
        script,
        rlimits=(("nofile", 100, 200),),
        umask=0o027,
        chdir="/usr",
        no_new_privs=True,
        dumpable=False,
        cpu_affinity=(0,),
    )
    assert ran.output.split() == ["100", "200", "0027", "/usr", "NoNewPrivs:", "1", "Cpus_allowed_list:", "0", "0"]
    assert not ran.incarnation.degradations


def test_cpus_that_are_not_there_are_a_degradation_that_says_what_was_obtained(run: Run) -> None:
    ran = run("true", cpu_affinity=(0, 1023))
    (lost,) = ran.incarnation.degradations
    assert (lost.feature, lost.obtained, lost.cause) == ("cpu_affinity", "0", Cause.LIMIT)


@needs_root
def test_a_time_namespace_has_its_offsets(run: Run) -> None:
    offsets = TimeOffsets(monotonic=-1.5, boottime=1000)
    ran = run("cat", "/proc/self/timens_offsets", namespaces=Namespaces(time=True), time_offsets=offsets)
    assert ran.output.split() == ["monotonic", "-2", "500000000", "boottime", "1000", "0"]


@needs_root
def test_overlay_and_pivot_root_work_with_commas_colons_and_backslashes_in_paths(run: Run, tmp_path: Path) -> None:
    top = tmp_path / "a,b:c\\d"
    for name in ("upper", "work", "merged"):
        (top / name).mkdir(parents=True)
    merged = str(top / "merged")
    overlay = Overlay(lower=("/",), upper=str(top / "upper"), work=str(top / "work"), merged=merged)
    spaces = Namespaces(mount=True, pid=True)
    ran = run(
        "sh", "-c", "echo kept > /written; ls /proc | head -2; test -e /old || echo gone",
        namespaces=spaces, overlay=overlay, pivot_root=PivotRoot(new_root=merged),
    )  # fmt: skip
    assert ran.output.split() == ["1", "2", "gone"]
    assert (top / "upper/written").read_text() == "kept\n"
    assert not Path("/written").exists()


@pytest.mark.parametrize(
    ("command", "soma", "step", "field", "words"),
    [
        (["/no/such"], {}, Step.EXEC, "payload.exec", "no such file"),
        (["/usr"], {}, Step.EXEC, "payload.exec", "directory"),
        (["true"], {"chdir": "/no/such"}, Step.CHDIR, "soma.chdir", "/no/such"),
        (["true", "a\0b"], {}, Step.PLAN, "payload.argv", "NUL"),
        (["true"], {"pivot_root": PivotRoot(new_root="/")}, Step.PLAN, "soma.pivot_root", "namespaces.mount"),
        (["true"], {"proc": True, "namespaces": Namespaces(mount=True)}, Step.PLAN, "soma.proc", "pid"),
        (["true"], {"proc": True, "namespaces": Namespaces(pid=True)}, Step.PLAN, "soma.proc", "mount"),
        (["true"], {"hostname": "x"}, Step.PLAN, "soma.hostname", "namespaces.uts"),
        (["true"], {"cpu_affinity": (1024,)}, Step.PLAN, "soma.cpu_affinity", "1023"),
        (["true"], {"run_as": RunAs(user="no-one")}, Step.PLAN, "soma.run_as.user", "no-one"),
        (["true"], {"require": ("nett",)}, Step.PLAN, "soma.require", "nett"),
    ],
)
def test_a_failed_start_names_step_field_and_remedy(
    run: Run, command: list[str], soma: dict[str, object], step: Step, field: str, words: str
) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        run(*command, **soma)
    assert (caught.value.step, caught.value.field) == (step, field)


def test_a_missing_interpreter_is_named(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(SetupFailed, match="interpreter '/no/such/interpreter' is missing"):
        run(str(script))


IMPOSSIBLE = {"cpu_affinity": (0, 1023)}


@pytest.mark.parametrize("how", [{"strict_caps": True}, {"require": ("cpu_affinity",)}])
def test_required_isolation_that_cannot_be_had_refuses_before_the_payload_runs(
    run: Run, tmp_path: Path, how: dict[str, object]
) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(IncarnationRefused) as caught:
        run("touch", str(canary), **IMPOSSIBLE, **how)
    assert [loss.feature for loss in caught.value.degradations] == ["cpu_affinity"]
    assert not canary.exists()


def test_a_forecast_says_what_a_start_then_does(incarnator: Incarnator, run: Run) -> None:
    asked = CgroupLimits(memory_max=1 << 30, pids_max=100)
    forecast = incarnator.dry_run(card_of("true", cgroup=asked))
    lost = {loss.feature: loss.cause for loss in run("true", cgroup=asked).incarnation.degradations}
    assert {loss.feature: loss.cause for loss in forecast.degradations} == lost
    assert forecast.refusal == ""
    assert forecast.operations[-1].startswith("exec: ")
    assert "NUL" in incarnator.dry_run(card_of("tr\0ue")).refusal


def test_a_thousand_times_true_is_a_thousand_times_exited_0(run: Run) -> None:
    assert {run("/bin/true").exit for _ in range(1000)} == {Exit("exited", 0)}


@needs_root
def test_killing_the_tree_leaves_no_process(incarnator: Incarnator) -> None:
    with open("/dev/null", "r+") as null:
        fd = null.fileno()
        outcome = incarnator.incarnate(
            card_of("sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"), StdioFds(fd, fd, fd)
        )
    assert outcome.kill_tree() in {"cgroup.kill", "subreaper walk"}
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    place = outcome.incarnation.cgroup
    outcome.close()
    outcome.close()
    assert not (place and Path(place).exists())
