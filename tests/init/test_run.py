"""``arje run``: one command in a sandbox."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, cgroups
from tests.zygote import ran


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return ran("arje", "run", *words)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
@pytest.mark.parametrize("spaces", ["mount", "mount,pid"])
def test_the_status_of_the_command_is_passed_on(script: str, status: int, spaces: str) -> None:
    assert run("--namespaces", spaces, "--", "sh", "-c", script).returncode == status


def test_the_command_keeps_its_descriptors_directory_and_environment() -> None:
    done = run("--", "sh", "-c", "pwd; echo err >&2; echo $PATH")
    assert done.stdout.splitlines() == [str(ROOT), os.environ["PATH"]]
    assert done.stderr.strip() == "err"


def test_a_command_that_is_not_there_is_127_and_a_broken_set_up_126() -> None:
    assert run("--", "/no/such/program").returncode == 127
    done = run("--chdir", "/no/such/place", "--", "true")
    assert done.returncode == 126
    assert "soma.chdir" in done.stderr


def test_what_is_asked_is_there() -> None:
    done = run(
        "--namespaces",
        "mount,pid,uts",
        "--hostname",
        "box",
        "--run-as",
        "nobody",
        "--",
        "sh",
        "-c",
        "uname -n; id -u; echo $$",
    )
    assert done.stdout.split() == ["box", "65534", "2"]


def test_strict_refuses_what_cannot_be_had(tmp_path: Path) -> None:
    card = tmp_path / "c.toml"
    card.write_text('[payload]\nexec = "/bin/true"\n[soma]\ncpu_affinity = [0]\ncgroup = {memory_max = "64M"}\n')
    if (Path("/sys/fs/cgroup/cgroup.controllers")).exists():
        pytest.skip("memory can be limited here")
    strict = run("--card", str(card), "--strict", "--", "touch", str(tmp_path / "canary"))
    assert strict.returncode == 153
    assert "cgroup.memory_max" in strict.stderr
    assert not (tmp_path / "canary").exists()
    degraded = run("--card", str(card), "--", "sh", "-c", "exit 5")
    assert degraded.returncode == 5
    assert "degraded: cgroup.memory_max" in degraded.stderr


def test_a_signal_reaches_the_command() -> None:
    command = [sys.executable, "-m", "arje", "run", "--namespaces", "pid,mount", "--"]
    script = "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.01; done"
    with subprocess.Popen([*command, "sh", "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "heard\n"
        assert process.wait(30) == 3


def test_the_first_word_that_is_no_option_begins_the_command() -> None:
    assert run("ls", "-d", "/").stdout == "/\n"
    assert run("--no-new-privs", "sh", "-c", "echo --hostname").stdout == "--hostname\n"


@pytest.mark.parametrize("spaces", ["mount", "mount,pid"])
def test_ctrl_c_on_the_terminal_reaches_the_command_once(spaces: str) -> None:
    script = "n=0; trap 'n=$((n+1)); echo heard $n' INT; trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done"
    words = [sys.executable, "-m", "arje", "run", "--namespaces", spaces, "--", "bash", "-c", script]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    said = b""
    while b"up" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"heard" not in said:
        said += os.read(terminal, 1000)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    with contextlib.suppress(OSError):  # EIO: the last one has left the terminal
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert b"heard 1" in said
    assert b"heard 2" not in said


def test_nothing_is_left_of_a_command_that_forks_away(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    hide = 'mount -t tmpfs none /sys/fs/cgroup; exec "$@"'  # no cgroup: the tree has to be walked
    command = [sys.executable, "-m", "arje", "run", "--", "sh", "-c", f"(setsid sleep 1000 & echo $! > {note})"]
    done = subprocess.run([*prefix, hide, "sh", *command], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0
    assert not Path(f"/proc/{note.read_text().strip()}").exists()


def test_closed_descriptors_are_not_filled_with_the_manager_s_own() -> None:
    look = f"exec <&-; exec {sys.executable} -m arje run -- readlink /proc/self/fd/0"
    done = subprocess.run(["sh", "-c", look], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "/dev/null\n"


def test_no_cgroup_stays_behind() -> None:
    for words in (["--", "true"], ["--strict", "--namespaces", "pid", "--hostname", "x", "--", "true"]):
        with subprocess.Popen([sys.executable, "-m", "arje", "run", *words], cwd=ROOT) as process:
            process.wait(60)
        assert cgroups(f"arje-run-{process.pid}") == []


def test_a_bad_card_is_named_by_file_and_line(tmp_path: Path) -> None:
    card = tmp_path / "c.toml"
    card.write_text('[payload]\nexec = "/bin/true"\n[soma]\nnamespace = ["pid"]\n')
    done = run("--card", str(card), "--", "true")
    assert done.returncode == 2
    assert f"{card}:4" in done.stderr
    assert "namespaces" in done.stderr


def test_no_command_is_a_usage_error() -> None:
    assert run("--strict").returncode == 2
