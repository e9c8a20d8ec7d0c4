"""Services as a manager keeps them: they start in order, are restarted, stop with all that they started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Manager, needs_cgroup, no_cgroup, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
ONCE = '[supervision]\nkind = "one-shot"\n'


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_service_runs_and_stops_on_its_signal(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    running = manager.settle("a")
    assert running["state"] == "running"
    assert alive(running["pid"])
    assert manager.call("Stop", labels=["a"], force=False)["results"][0]["result"] == "done"
    stopped = manager.show("a")
    assert (stopped["state"], stopped["last_exit"], stopped["kill_method"]) == (
        "stopped",
        "signal TERM",
        "signal TERM",
    )
    assert not alive(running["pid"])


def test_a_service_in_a_pid_namespace_stops_on_sigterm(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity", 'namespaces = ["pid", "mount"]')})
    manager.settle("a")
    manager.call("Stop", labels=["a"], force=False)
    stopped = manager.show("a")
    assert (stopped["last_exit"], stopped["kill_method"]) == ("signal TERM", "signal TERM")


@needs_cgroup
@pytest.mark.parametrize("spaces", ["", 'namespaces = ["pid", "mount"]'], ids=["bare", "pid namespace"])
def test_who_does_not_heed_the_signal_is_killed_with_all_its_children(manage: Manage, spaces: str) -> None:
    card = sh("trap '' TERM; setsid sh -c 'trap \"\" TERM; exec sleep 1000' & echo up; wait; wait", spaces)
    manager = manage({"a": card + '[supervision]\nstop_timeout = "100ms"\n'})
    manager.await_line("a", "up")
    processes = manager.until("a", lambda a: any("sleep" in p["command"] for p in a["processes"]))["processes"]
    manager.call("Stop", labels=["a"], force=False)
    stopped = manager.show("a")
    assert stopped["last_exit"] == "signal KILL"
    assert stopped["kill_method"] == "cgroup.kill after 0.1 s"
    assert not any(alive(process["pid"]) for process in processes)


@no_cgroup
@pytest.mark.parametrize(
    ("spaces", "method"), [("", "subreaper walk"), ('namespaces = ["user", "pid", "mount"]', "pid namespace")]
)
def test_without_cgroups_the_tree_is_killed_in_another_way_that_is_shown(
    manage: Manage, spaces: str, method: str
) -> None:
    card = sh("trap '' TERM; setsid sh -c 'trap \"\" TERM; exec sleep 1000' & echo up; wait; wait", spaces)
    manager = manage({"a": card + '[supervision]\nstop_timeout = "100ms"\n'}, user=True)
    manager.await_line("a", "up")
    processes = manager.until("a", lambda a: any("sleep" in p["command"] for p in a["processes"]))["processes"]
    manager.call("Stop", labels=["a"], force=False)
    assert manager.show("a")["kill_method"] == f"{method} after 0.1 s"
    assert not any(alive(process["pid"]) for process in processes)


def test_what_a_dead_service_leaves_behind_is_killed(manage: Manage) -> None:
    manager = manage({"a": sh("setsid sleep 1000 & echo $!; exit 0")})
    manager.until("a", lambda a: a["state"] == "done")
    assert not alive(int(manager.lines("a")[0]))


def test_a_crash_is_restarted_with_growing_waits_until_the_limit(manage: Manage) -> None:
    supervision = (
        '[supervision]\nrestart = "on-failure"\ninitial = "1ms"\nmax = "4ms"\n'
        "[supervision.rate_limit]\nstarts = 4\ninterval = 600\n"
    )
    manager = manage({"a": sh("exit 3") + supervision})
    failed = manager.until("a", lambda a: a["state"] == "failed")
    assert failed["failure"]["reason"] == "start-limit"
    assert failed["restarts"] == 3
    waits = [h["detail"] for h in failed["history"] if h["state"] == "backoff"]
    assert [wait.rpartition("again in ")[2] for wait in waits] == ["0.001 s", "0.002 s", "0.004 s"]
    result = manager.call("Start", labels=["a"])["results"][0]  # a start by hand always goes through
    assert result["result"] in ("done", "failed")
    assert manager.until("a", lambda a: a["state"] == "failed")["restarts"] == 3


def test_a_restart_gives_a_new_process_and_keeps_what_depends_on_it(manage: Manage) -> None:
    manager = manage({"db": SLEEP, "web": sh("exec sleep infinity", rest='requires = ["db"]')})
    db, web = manager.settle("db"), manager.settle("web")
    assert manager.call("Restart", labels=["db"])["results"][0]["result"] == "done"
    assert manager.show("db")["pid"] != db["pid"]
    assert manager.show("web")["pid"] == web["pid"]


def test_dependencies_start_first_and_stop_last(manage: Manage, place: Path) -> None:
    note = place / "note"

    def card(name: str, rest: str) -> str:
        return sh(
            f"echo +{name} >> {note}; trap 'echo -{name} >> {note}; exit 0' TERM; while :; do sleep 0.01; done",
            rest=rest,
        )

    manager = manage({"c": card("c", 'requires = ["b"]'), "b": card("b", 'after = ["a"]'), "a": card("a", "")})
    for label in "abc":
        manager.settle(label)
    manager.until("c", lambda _: note.read_text().split() == ["+a", "+b", "+c"] if note.exists() else False)
    assert manager.stop() == 0
    assert note.read_text().split()[3:] == ["-c", "-b", "-a"]


def test_a_service_that_others_run_on_is_stopped_only_by_force(manage: Manage) -> None:
    manager = manage({"db": SLEEP, "web": sh("exec sleep infinity", rest='requires = ["db"]')})
    manager.settle("web")
    refused = manager.call("Stop", labels=["db"], force=False)["results"][0]
    assert (refused["result"], refused["detail"]) == ("dependents", "web")
    assert manager.show("db")["state"] == "running"
    assert manager.call("Stop", labels=["db"], force=True)["results"][0]["result"] == "done"
    assert manager.show("web")["state"] == "stopped"


def test_starting_pulls_in_what_is_required(manage: Manage) -> None:
    manager = manage({"db": "enabled = false\n" + SLEEP, "web": 'enabled = false\nrequires = ["db"]\n' + SLEEP})
    manager.call("Start", labels=["web"])
    assert manager.show("db")["state"] == "running"
    assert manager.show("db")["cause"]["who"] != ""


def test_a_one_shot_that_is_done_lets_others_start(manage: Manage) -> None:
    manager = manage({"init": sh("echo made") + ONCE, "web": sh("exec sleep infinity", rest='requires = ["init"]')})
    assert manager.settle("web")["state"] == "running"
    init = manager.show("init")
    assert (init["state"], init["last_exit"], init["up"]) == ("done", "exited 0", True)


def test_a_missing_condition_skips_and_says_so(manage: Manage) -> None:
    manager = manage({"a": 'only_if_exists = "/no/such"\n' + SLEEP})
    skipped = manager.settle("a")
    assert skipped["state"] == "stopped"
    assert "/no/such" in skipped["cause"]["detail"]


@pytest.mark.parametrize(
    ("payload", "soma", "step", "errno", "field"),
    [
        ('exec = "/no/such/binary"', "", "exec", "ENOENT", "payload.exec"),
        ('exec = "/etc"', "", "exec", "EACCES", "payload.exec"),
        ('exec = "/etc/passwd"', "", "exec", "EACCES", "payload.exec"),
        ('exec = "/bin/true"', 'chdir = "/no/such/place"', "chdir", "ENOENT", "soma.chdir"),
        ('exec = "/bin/true"', 'pivot_root = {new_root = "/tmp"}', "plan", "", "soma.pivot_root"),
        ('exec = "/bin/true"', 'namespaces = ["pid"]\nproc = true', "plan", "", "soma.proc"),
        ('exec = "/bin/true"', 'run_as = "no-such-user"', "plan", "", "soma.run_as.user"),
        ('exec = "/bin/true"', 'stdio = {stdout = "file:/no/such/dir/x"}', "prepare", "ENOENT", "soma.stdio.stdout"),
    ],
)
def test_a_start_that_fails_names_step_errno_and_field(
    manage: Manage, payload: str, soma: str, step: str, errno: str, field: str
) -> None:
    manager = manage({"a": f"[payload]\n{payload}\n[soma]\n{soma}\n"})
    failed = manager.settle("a")
    failure = failed["failure"]
    assert failed["state"] == "failed"
    assert (failure["reason"], failure["step"], failure["errno_name"], failure["field"]) == (
        "setup",
        step,
        errno,
        field,
    )


def test_a_missing_interpreter_is_told_from_a_missing_binary(manage: Manage, place: Path) -> None:
    script = place / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    manager = manage({"a": f'[payload]\nexec = "{script}"\n'})
    failure = manager.settle("a")["failure"]
    assert (failure["step"], failure["errno_name"]) == ("exec", "ENOENT")
    assert "interpreter" in failure["hint"]


@pytest.mark.parametrize("name", ["a,b", "a:b", "a\\\\b", "a b"])
def test_an_overlay_takes_any_path(manage: Manage, place: Path, name: str) -> None:
    real = place / name.replace("\\\\", "\\")
    for part in ("lower", "upper", "work", "merged"):
        (real / part).mkdir(parents=True)
    (real / "lower" / "found").write_text("yes\n")
    base = f"{place}/{name}"
    overlay = "\n".join(f'{part} = "{base}/{part}"' for part in ("upper", "work", "merged"))
    soma = f'namespaces = ["mount"]\n[soma.overlay]\nlower = ["{base}/lower"]\n{overlay}'
    manager = manage({"a": f'[payload]\nexec = "/bin/cat"\nargv = ["{base}/merged/found"]\n[soma]\n{soma}\n{ONCE}'})
    assert manager.settle("a")["state"] == "done", manager.show("a")
    assert manager.lines("a") == ["yes"]


def test_a_missing_overlay_directory_is_named(manage: Manage) -> None:
    overlay = '[soma.overlay]\nlower = ["/no/such"]\nupper = "/no/up"\nwork = "/no/work"\nmerged = "/mnt"'
    manager = manage({"a": sh("true", f'namespaces = ["mount"]\n{overlay}')})
    failure = manager.settle("a")["failure"]
    assert (failure["errno_name"], failure["field"]) == ("ENOENT", "soma.overlay")


def test_a_strict_card_that_cannot_be_had_runs_no_instruction(manage: Manage, place: Path) -> None:
    canary = place / "canary"
    impossible = 'strict_caps = true\ncgroup = {memory_max = "64M"}\n'
    manager = manage({"a": sh(f"touch {canary}", impossible)}, user=True)
    refused = manager.settle("a")
    assert refused["failure"]["reason"] == "isolation-refused"
    assert {loss["feature"] for loss in refused["isolation"]["degradations"]} >= {"cgroup.memory_max"}
    assert not canary.exists()


def test_the_log_keeps_streams_odd_bytes_and_lines_without_end(manage: Manage, place: Path) -> None:
    script = "echo out; echo err >&2; printf 'a\\377b\\n'; head -c 40000 /dev/zero | tr '\\0' x; printf last"
    manager = manage({"a": sh(script) + ONCE})
    manager.settle("a")
    lines = manager.call("Logs", labels=["a"], lines=100)["lines"]
    assert {(line["stream"], line["text"]) for line in lines} >= {
        ("stdout", "out"),
        ("stderr", "err"),
        ("stdout", "a\ufffdb"),
    }
    assert sum(line["text"].count("x") for line in lines) == 40000
    assert [line["text"] for line in lines if line["stream"] == "stdout"][-1].endswith("last")
    assert b"] stdout: a\xffb\n" in (manager.runtime / "logs" / "a.log").read_bytes()


def test_orphans_are_reaped_and_counted(manage: Manage) -> None:
    manager = manage({"a": sh("(sh -c 'sleep 0.01; echo gone' &) ; read forever < /dev/tty || exec sleep infinity")})
    manager.await_line("a", "gone")
    while manager.call("GetManager")["manager"]["orphans_reaped"] == 0:
        pass
    assert manager.show("a")["state"] == "running"


def test_a_thousand_true_are_a_thousand_exited_zero(manage: Manage) -> None:
    manager = manage({f"t{n}": f'[payload]\nexec = "/bin/true"\n{ONCE}' for n in range(1000)})
    manager.call("Wait", labels=[])
    services = manager.call("List", labels=[], full=False)["services"]
    assert len(services) == 1000
    assert {(s["state"], s["last_exit"]) for s in services} == {("done", "exited 0")}
    assert len(os.listdir(f"/proc/{manager.process.pid}/task")) < 50  # noqa: PTH208


def test_the_signals_of_a_dead_service_are_named(manage: Manage) -> None:
    manager = manage({"a": sh("kill -SEGV $$")})
    failed = manager.until("a", lambda a: a["state"] == "failed")
    assert failed["failure"]["reason"] in ("signal", "core-dump")
    assert "SEGV" in failed["last_exit"]


def test_a_second_request_to_stop_kills_at_once(manage: Manage) -> None:
    manager = manage({"a": sh("trap 'echo heard' TERM; echo up; while :; do sleep 0.01; done")})
    manager.await_line("a", "up")
    manager.process.send_signal(signal.SIGTERM)
    manager.await_line("a", "heard")
    manager.process.send_signal(signal.SIGTERM)
    assert manager.process.wait(9) == 0  # the card would allow ten seconds


def test_a_virtual_card_is_up_when_what_it_requires_is(manage: Manage) -> None:
    manager = manage({"g": 'payload = "virtual"\nrequires = ["a"]\n', "a": SLEEP})
    assert manager.settle("g")["state"] == "running"
    assert manager.show("a")["state"] == "running"


def test_why_tells_the_chain_across_services(manage: Manage) -> None:
    manager = manage({"a": sh("exit 1") + ONCE, "b": 'requires = ["a"]\n' + SLEEP})
    manager.until("a", lambda a: a["state"] == "failed")
    chain = manager.call("Why", label="b")["chain"]
    assert [link["label"] for link in chain] == ["b", "a"]
    assert "exited 1" in chain[1]["detail"]


def test_why_tells_who_wants_what_runs(manage: Manage) -> None:
    manager = manage({"a": "enabled = false\n" + SLEEP, "b": 'requires = ["a"]\n' + SLEEP, "c": SLEEP})
    manager.settle("b", "c")
    assert manager.call("Why", label="a")["chain"][0]["detail"].endswith("needed by b, which is enabled in cards.d")
    manager.ctl("restart", "c")
    assert "; restarted by uid " in manager.ctl("why", "c").stdout
    manager.ctl("stop", "c")
    assert "enabled in" not in manager.ctl("why", "c").stdout


def test_a_manager_without_descriptors_fails_services_and_not_itself(manage: Manage) -> None:
    manager = manage({f"s{n}": SLEEP for n in range(20)}, prefix=("prlimit", "--nofile=80"))
    manager.call("Wait", labels=[])

    def states() -> dict[str, int]:
        found: dict[str, int] = manager.call("GetManager")["manager"]["counts"]
        return found

    first = states()
    assert set(first) == {"running", "failed"}
    services = manager.call("List", labels=[], full=False)["services"]
    failures = [service["failure"] for service in services if service["state"] == "failed"]
    assert {(failure["reason"], failure["errno_name"]) for failure in failures} == {("resources", "EMFILE")}
    assert all("RLIMIT_NOFILE" in failure["hint"] for failure in failures)
    for label in [service["label"] for service in services if service["state"] == "running"]:
        manager.call("Restart", labels=[label])
    assert states() == first
    assert manager.ctl("status").returncode == 0


def test_the_wish_that_a_service_runs_by_is_remembered_longer_than_its_history(manage: Manage) -> None:
    keep = '[supervision]\nrestart = "on-failure"\ninitial = 0\nrate_limit = {starts = 30, interval = 600}\n'
    manager = manage({"a": sh("exit 1") + keep})
    failed = manager.until("a", lambda a: a["state"] == "failed")
    assert not any(moment["who"] == "cards.d" for moment in failed["history"])
    assert [(wish["how"], wish["who"]) for wish in failed["activation"]] == [("enabled", "cards.d")]
