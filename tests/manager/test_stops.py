"""Stops that the kernel makes hard: set-ups that hang, processes that cannot be signalled, strays that nothing holds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arje.ctl.client import Client
from arje.supervisor.birth import SETUP
from tests.conftest import Manager, no_cgroup, sh
from tests.manager.dead_mount import DeadMount, dead_mount
from tests.manager.test_services import alive

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
SOON = '[supervision]\nstop_timeout = "100ms"\n'


@pytest.fixture
def dead(place: Path, manage: Manage) -> Iterator[DeadMount]:
    """It goes before the manager does: what hangs is let go."""
    with dead_mount(place / "dead") as mount:
        yield mount


CREDENTIALS = sh("true", 'namespaces = ["mount"]\ncredentials = {key = "secret"}') + SOON
ENV_FILE = "enabled = false\n[payload]\nexec = '/bin/true'\nenv_file = '{}'\n" + SOON


@pytest.mark.parametrize("what", ["directory", "env file"])
def test_a_mount_that_dies_below_the_runtime_directory_holds_one_start_and_not_the_manager(
    manage: Manage, place: Path, what: str
) -> None:
    """What it hangs at is read or made by a thread; everybody else is answered, and forecasts are as well in time."""
    manager = manage(
        {
            "directory": "enabled = false\n" + CREDENTIALS,
            "env-file": ENV_FILE.format(place / "0/run/credentials/env"),
            "beside": "enabled = false\n" + SLEEP,
        }
    )
    label = what.replace(" ", "-")
    with dead_mount(manager.runtime / "credentials") as mount:
        beside(manager, "Start", labels=[label])
        mount.asked()
        assert manager.show(label)["state"] == "starting"
        assert manager.call("Start", labels=["beside"])["results"][0]["result"] == "done"
        if what == "env file":
            beside(manager, "Forecast", label=label)
        assert manager.call("Ping")["pid"] == manager.process.pid
        began = time.monotonic()
        assert stop(manager, label)["result"] == "done"
        assert time.monotonic() - began < SETUP / 2, "the stop cut it short"
    assert stop(manager, "beside")["result"] == "done"
    started = manager.call("Start", labels=["directory"])["results"][0]
    assert started["result"] == "done", "the mount is gone, and it starts as ever"


def stop(manager: Manager, label: str) -> dict[str, Any]:
    found: dict[str, Any] = manager.call("Stop", labels=[label], force=False)["results"][0]
    return found


def hangs(dead: DeadMount) -> str:
    return "enabled = false\n" + sh("true", f'chdir = "{dead.path}/x"') + SOON


def beside(manager: Manager, method: str, **parameters: Any) -> threading.Thread:
    """Call from another client, and leave it waiting for the answer."""

    def call() -> None:
        client = Client(manager.socket, 60)
        client.call(method, **parameters)
        client.close()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_set_up_that_hangs_is_stopped(manage: Manage, dead: DeadMount) -> None:
    manager = manage({"a": hangs(dead)})
    asker = beside(manager, "Start", labels=["a"])
    dead.asked()
    assert manager.show("a")["state"] == "starting"
    assert stop(manager, "a")["result"] == "done"
    asker.join(30)
    assert not asker.is_alive()
    assert manager.show("a")["failure"]["reason"] == "timeout"


def test_a_set_up_that_hangs_does_not_keep_the_manager(manage: Manage, dead: DeadMount) -> None:
    manager = manage({"a": hangs(dead)})
    beside(manager, "Start", labels=["a"])
    dead.asked()
    manager.process.send_signal(signal.SIGTERM)
    assert manager.process.wait(20) == 0


def test_a_second_request_to_stop_kills_a_set_up_too(manage: Manage, dead: DeadMount) -> None:
    manager = manage({"a": hangs(dead).replace("100ms", "1000s"), "b": sh("trap 'echo heard' TERM; cat")})
    manager.settle("b")
    beside(manager, "Start", labels=["a"])
    dead.asked()
    manager.process.send_signal(signal.SIGTERM)
    manager.until("a", lambda a: a["state"] == "stopping")
    manager.process.send_signal(signal.SIGTERM)
    assert manager.process.wait(20) == 0


def test_a_set_up_that_does_not_even_die_is_given_up_and_buried_later(manage: Manage, dead: DeadMount) -> None:
    manager = manage({"a": hangs(dead), "b": SLEEP})
    beside(manager, "Start", labels=["a"])
    dead.take_questions()
    assert stop(manager, "a")["state"] == "stopped"
    failure = manager.show("a")["failure"]
    assert "does not die" in failure["detail"]
    assert "mount" in failure["hint"]
    assert manager.settle("b")["state"] == "running"


@pytest.mark.parametrize("card", ['only_if_exists = "{path}/x"\n', 'soma.stdio.stdout = "file:{path}/x"\n'])
def test_a_path_that_does_not_answer_holds_up_nobody(manage: Manage, dead: DeadMount, card: str) -> None:
    text = (
        card.format(path=dead.path) + 'enabled = false\npayload.exec = "/bin/true"\nsupervision.stop_timeout = "0s"\n'
    )
    manager = manage({"a": text})
    beside(manager, "Start", labels=["a"])
    dead.asked()
    manager.call("Ping")
    assert stop(manager, "a")["state"] == "stopped"


@no_cgroup
@pytest.mark.parametrize(
    "script", ["setsid sh -c 'echo $$; exec sleep 1000'", "sh -c 'echo $$; exec env -i sleep 1000'"]
)
def test_without_cgroups_a_stray_is_found_by_its_mark_or_its_session(manage: Manage, script: str) -> None:
    manager = manage({"a": sh(f"({script} &); exec sleep infinity", "new_session = true")}, user=True)
    manager.until("a", lambda a: len(a["processes"]) == 2)
    stray = int(manager.until("a", lambda a: bool(a["last_lines"]))["last_lines"][0]["text"])
    stop(manager, "a")
    assert not alive(stray)
    assert manager.show("a")["kill_method"] == "signal TERM, then subreaper walk"
    while manager.call("GetManager")["manager"]["orphans_reaped"] == 0:
        pass


@no_cgroup
def test_without_cgroups_a_service_that_ends_by_itself_leaves_no_stray(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "ready")
    (place / "ready").chmod(0o666)
    stray = f"(setsid sh -c 'echo $$; echo > {place}/ready; exec sleep 1000' &)"
    manager = manage({"a": sh(f"{stray}; read word < {place}/ready; exit 0")}, user=True)
    done = manager.until("a", lambda a: a["state"] == "done")
    assert not alive(int(manager.lines("a")[0]))
    assert done["kill_method"] == "subreaper walk"


@no_cgroup
def test_a_stray_that_hides_ends_with_the_manager(manage: Manage) -> None:
    manager = manage({"a": sh("(env -i setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep infinity")}, user=True)
    stray = int(manager.until("a", lambda a: bool(a["last_lines"]))["last_lines"][0]["text"])
    manager.until("a", lambda a: stray not in [process["pid"] for process in a["processes"]])  # its parent has gone
    stop(manager, "a")
    assert manager.stop() == 0
    assert not alive(stray)
    manager.await_said("killed what services have left")


def test_another_service_of_the_same_manager_is_no_stray(manage: Manage) -> None:
    manager = manage({"a": sh("(setsid sleep 1000 &); exec sleep infinity"), "b": SLEEP}, user=True)
    manager.until("a", lambda a: len(a["processes"]) == 2)
    before = manager.settle("b")
    stop(manager, "a")
    assert alive(before["pid"])
    assert manager.show("b")["pid"] == before["pid"]


@pytest.fixture
def setuid(place: Path) -> Path:
    """A program that becomes root whoever starts it."""
    if os.geteuid() != 0 or (compiler := shutil.which("gcc")) is None:
        pytest.skip("needs root and a C compiler")
    source = place / "s.c"
    source.write_text("#include <unistd.h>\nint main(void) { return setuid(0) || pause(); }\n")
    subprocess.run([compiler, "-o", str(place / "setuid"), str(source)], check=True)
    (place / "setuid").chmod(0o4755)
    return place / "setuid"


def test_a_process_that_may_not_be_signalled_is_told_and_not_waited_for(manage: Manage, setuid: Path) -> None:
    manager = manage({"a": f'[payload]\nexec = "{setuid}"\n'}, user=True)
    pid = manager.settle("a")["pid"]
    uid = Path(f"/proc/{pid}").stat
    while uid().st_uid != 0:
        pass
    result = stop(manager, "a")
    assert (result["result"], result["state"]) == ("failed", "stopping")
    assert result["detail"] == "cannot be signalled: it runs as uid 0"
    assert manager.call("Restart", labels=["a"])["results"][0]["state"] == "stopping"
    assert manager.call("Stop", labels=["a"])["results"][0]["result"] == "failed"
    os.kill(pid, signal.SIGKILL)
    assert manager.until("a", lambda a: a["state"] == "stopped")["last_exit"] == "signal KILL"


def test_a_stop_that_somebody_else_undoes_has_not_succeeded(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    script = f"trap 'echo asked; read word < {place}/go; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    manager = manage({"a": sh(script)})
    manager.await_line("a", "up")
    answers = []

    def ask() -> None:
        client = Client(manager.socket, 60)
        answers.append(client.call("Stop", labels=["a"], force=False)["results"][0])
        client.close()

    stopper = threading.Thread(target=ask)
    stopper.start()
    manager.await_line("a", "asked")
    starter = beside(manager, "Start", labels=["a"])
    manager.until("a", lambda a: a["wanted"])
    (place / "go").write_text("go\n")
    stopper.join()
    starter.join()
    assert answers[0]["result"] == "failed"
    assert "started again" in answers[0]["detail"]
    assert [wish["how"] for wish in manager.show("a")["activation"]] == ["started"]
    (place / "go").unlink()


def test_who_waits_to_start_again_does_not_while_the_manager_stops(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    script = f"trap 'echo asked; read word < {place}/go; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    flapping = (
        sh("exit 1", rest='before = ["slow"]\n') + '[supervision]\nrestart = "on-failure"\ninitial = 1000\nmax = 1000\n'
    )
    manager = manage({"slow": sh(script), "flapping": flapping})
    manager.await_line("slow", "up")
    manager.until("flapping", lambda s: s["state"] == "backoff")
    manager.process.send_signal(signal.SIGTERM)
    manager.await_line("slow", "asked")
    assert manager.show("flapping")["state"] == "stopped"
    (place / "go").write_text("go\n")
