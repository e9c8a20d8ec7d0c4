"""Commands as services: ``arjectl run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from arje.ctl.arguments import parse
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]


def labels(manager: Manager) -> list[str]:
    return sorted(service["label"] for service in manager.call("List")["services"])


def gone(manager: Manager, label: str) -> None:
    while label in labels(manager):
        pass


def files(manager: Manager) -> list[str]:
    return sorted(str(file.relative_to(manager.runtime)) for file in (manager.runtime / "transient.d").rglob("*.toml"))


def test_a_command_runs_as_a_service_and_its_card_goes_with_its_end(manage: Manage) -> None:
    manager = manage({})
    done = manager.ctl("run", "--", "sleep", "infinity")
    assert (done.returncode, done.stdout) == (0, "run-1: running\n")
    assert files(manager) == ["transient.d/run-1.toml"]
    assert manager.show("run-1")["command"] == ["sleep", "infinity"]
    assert manager.call("Plan")["plan"]["changes"] == []
    assert manager.call("Apply")["plan"]["applied"]
    assert manager.settle("run-1")["state"] == "running"
    assert manager.ctl("stop", "run-1").returncode == 0
    gone(manager, "run-1")
    assert files(manager) == []


def test_its_exit_status_and_what_it_writes_are_passed_on(manage: Manage) -> None:
    manager = manage({})
    done = manager.ctl("run", "--wait", "--", "sh", "-c", "echo out; echo err >&2; seq 500; exit 7")
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["out", *map(str, range(1, 501))]
    assert done.stderr == "err\n"
    assert manager.ctl("run", "--wait", "true").returncode == 0
    assert manager.ctl("run", "--wait", "--", "sh", "-c", "kill -KILL $$").returncode == 137
    gone(manager, "run-1")
    assert labels(manager) == []


def test_a_command_that_cannot_start_says_why_and_leaves_nothing(manage: Manage) -> None:
    manager = manage({})
    for words in (["--wait"], []):
        done = manager.ctl("run", *words, "--", "/no/such/program")
        assert done.returncode == 1
        assert "/no/such/program" in done.stdout + done.stderr
    gone(manager, "run-1")
    gone(manager, "run-2")
    assert files(manager) == []


def test_a_card_gives_the_body_and_the_command_line_the_command(manage: Manage, place: Path) -> None:
    card = place / "body.toml"
    card.write_text('[payload]\nexec = "/bin/false"\n[soma]\nnamespaces = ["uts"]\nhostname = "inside"\n')
    manager = manage({})
    done = manager.ctl("run", "job", "--card", str(card), "--wait", "--", "sh", "-c", "uname -n; exec sleep 0")
    assert (done.returncode, done.stdout) == (0, "inside\n")
    card.write_text("[payload]\nexecc = 1\n")
    done = manager.ctl("run", "--card", str(card), "--", "true")
    assert done.returncode == 6
    assert "payload.execc" in done.stderr
    assert "did you mean 'exec'?" in done.stderr
    gone(manager, "job")
    assert files(manager) == []


def test_a_label_that_is_taken_is_refused(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    done = manager.ctl("run", "--label", "a", "--", "true")
    assert done.returncode == 6
    assert "'a' is a service already" in done.stderr
    assert manager.ctl("run").returncode == 2


def test_one_that_remains_can_be_looked_at_and_run_again(manage: Manage) -> None:
    manager = manage({})
    assert manager.ctl("run", "job", "--remain", "--wait", "--", "sh", "-c", "echo hi; exit 3").returncode == 3
    found = manager.show("job")
    assert (found["state"], found["last_exit"], found["card_on_disk"]) == ("failed", "exited 3", "same")
    assert found["card_file"] == str(manager.runtime / "cards.d" / "job.toml")
    assert manager.lines("job") == ["hi"]
    manager.ctl("start", "job")
    (manager.runtime / "cards.d" / "job.toml").unlink()
    assert manager.call("Apply")["plan"]["applied"]
    assert labels(manager) == []


def test_a_client_that_goes_leaves_the_command_alone(manage: Manage) -> None:
    from arje.ctl.client import Client

    manager = manage({})
    client = Client(manager.socket, 30)
    reply = next(client.follow("Run", label="job", command=["sh", "-c", "echo up; exec sleep infinity"]))
    assert reply["line"]["text"] == "up"
    client.close()
    assert manager.settle("job")["state"] == "running"


def test_what_a_manager_that_died_has_left_does_not_run_again(manage: Manage) -> None:
    manager = manage({})
    assert manager.stop() == 0
    (manager.runtime / "transient.d").mkdir(exist_ok=True)
    (manager.runtime / "transient.d" / "run-1.toml").write_text(sh("exec sleep infinity"))
    second = Manager(manager.directory)
    try:
        assert labels(second) == []
        assert files(second) == []
    finally:
        assert second.stop() == 0


def test_the_words_of_a_command_are_its_own() -> None:
    for words, label, command in (
        (["run", "--", "sh", "-c", "x"], [], ["sh", "-c", "x"]),
        (["run", "--wait", "ls", "--all", "-n"], [], ["ls", "--all", "-n"]),
        (["run", "job", "--wait", "--", "stop", "--json"], ["job"], ["stop", "--json"]),
        (["--json", "run", "--label", "x", "start"], [], ["start"]),
    ):
        args = parse(words)
        assert (args.verb, args.labels, args.command) == ("run", label, command)
