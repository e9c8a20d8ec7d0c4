"""``arje run`` with the options of sandbox launchers: what the command sees, and which option a bad value is told of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import NOBODY, ROOT, needs_root, python_for_nobody
from tests.zygote import ran

Runner = Callable[..., subprocess.CompletedProcess[str]]


def as_we_are(*words: str) -> subprocess.CompletedProcess[str]:
    return ran("arje", "run", *words)


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    found = python_for_nobody()
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    python, more = found
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command = [*drop, python, "-m", "arje", "run", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
    )


@pytest.fixture(params=[as_we_are, pytest.param(as_nobody, marks=needs_root)], ids=["as-we-are", "as-nobody"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


@pytest.fixture
def data(place: Path) -> Path:
    """A directory that everybody may write to, with a file in it."""
    directory = place / "data"
    directory.mkdir()
    (directory / "file").write_text("hi\n")
    directory.chmod(0o777)
    return directory


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_bind_is_seen_where_it_is_said_and_writes_through(run: Runner, data: Path) -> None:
    done = run("--tmpfs", "/mnt", "--bind", f"{data}:/mnt/d", "sh", "-c", "cat /mnt/d/file; echo new > /mnt/d/other")
    assert (done.returncode, done.stdout, (data / "other").read_text()) == (0, "hi\n", "new\n"), done


def test_a_read_only_bind_is_read_only(run: Runner, data: Path) -> None:
    done = run("--ro-bind", str(data), "sh", "-c", f"cat {data}/file; touch {data}/x")
    assert (done.stdout, "Read-only file system" in done.stderr) == ("hi\n", True), done


@pytest.mark.parametrize("option", ["--bind", "--ro-bind"])
def test_a_source_that_is_missing_fails_but_for_try(run: Runner, option: str) -> None:
    failed = run(option, "/no/such/source:/mnt", "true")
    assert (failed.returncode, option in failed.stderr) == (126, True), failed
    assert run(f"{option}-try", "/no/such/source:/mnt", "sh", "-c", "exit 5").returncode == 5


def test_a_relative_source_is_one_of_the_working_directory() -> None:
    done = as_we_are("--ro-bind", "pyproject.toml:/etc/hostname", "cat", "/etc/hostname")
    assert done.stdout == (ROOT / "pyproject.toml").read_text()


def test_a_root_is_built_of_parts(run: Runner) -> None:
    links = [f"--symlink=usr/{name}:/{name}" for name in ("bin", "lib", "lib64")]
    words = ["--tmpfs", "/", "--ro-bind", "/usr", *links, "--dev", "--proc", "--unshare", "pid", "--file"]
    done = run(*words, "/etc/hostname:/note", "sh", "-c", "echo /*; pwd; cat /note; echo $$; ls /dev/null")
    seen, where, note, pid, null = done.stdout.splitlines()
    assert seen.split() == ["/bin", "/dev", "/lib", "/lib64", "/note", "/proc", "/usr"]
    assert (where, pid, null) == ("/", "2", "/dev/null")
    assert note == Path("/etc/hostname").read_text().strip()


def test_tmp_is_private_and_the_root_read_only(run: Runner, place: Path) -> None:
    done = run("--private-tmp", "--read-only-root", "sh", "-c", f"touch /tmp/mine; ls /tmp; touch {place}/x")
    assert (done.stdout, "Read-only file system" in done.stderr) == ("mine\n", True), done
    assert not Path("/tmp/mine").exists()


def test_a_tmpfs_has_the_size_that_is_said(run: Runner) -> None:
    assert run("--tmpfs", "/mnt:4M", "df", "--output=size,target", "/mnt").stdout.split()[-2:] == ["4096", "/mnt"]


def test_an_overlay_takes_what_is_written(data: Path) -> None:
    done = as_we_are("--overlay", f"{data},tmpfs=4M,at=/mnt", "sh", "-c", "cat /mnt/file; echo x > /mnt/y; ls /mnt")
    assert done.stdout.split() == ["hi", "file", "y"]
    assert not (data / "y").exists()


def test_a_directory_can_be_the_root(place: Path) -> None:
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("no static program here to live in a root of its own")
    (place / "sh").write_bytes(busybox.read_bytes())
    (place / "sh").chmod(0o755)
    assert as_we_are("--root", str(place), "/sh", "-c", "echo /*; pwd").stdout.split() == ["/sh", "/"]


def test_what_is_masked_is_empty(run: Runner, data: Path) -> None:
    assert run("--mask", str(data), "ls", str(data)).stdout == ""


# -- network, filters, rights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "flags"), [("none", "0x8"), ("loopback", "0x9")])
def test_the_network_is_what_is_said(run: Runner, word: str, flags: str) -> None:
    script = "wc -l < /proc/net/dev; python3 -c 'import socket,fcntl;s=socket.socket();"
    script += 'print(hex(fcntl.ioctl(s,0x8913,b"lo".ljust(40,bytes(1)))[16]&9))\''
    assert run("--net", word, "sh", "-c", script).stdout.split() == ["3", flags]


def test_the_hosts_network_is_the_hosts() -> None:
    mine = os.readlink("/proc/self/ns/net")
    assert as_we_are("--net", "host", "readlink", "/proc/self/ns/net").stdout.strip() == mine


def test_system_calls_are_filtered(run: Runner, data: Path) -> None:
    done = run("--seccomp", "@system-service,~chdir,unlink:EROFS,unlinkat:EROFS", "sh", "-c", f"cd /; rm {data}/file")
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr, done
    assert "cd: " in done.stderr


def test_files_are_confined(run: Runner, data: Path, place: Path) -> None:
    place.chmod(0o777)
    words = ["--landlock-ro", "/", "--landlock-exec", "/", "--landlock-rw", str(data), "--landlock-rw", "/dev/null"]
    done = run(*words, "sh", "-c", f"echo a > {data}/x && cat {data}/x; echo a > {place}/y")
    assert (done.stdout, (place / "y").exists()) == ("a\n", False), done


def test_ports_are_confined(run: Runner) -> None:
    script = "import socket\nfor p in (45671, 45672):\n s=socket.socket()\n try: s.bind(('127.0.0.1',p)); print(p)\n"
    script += " except PermissionError: print('no')"
    done = run("--net", "loopback", "--landlock-tcp-bind", "45671", "python3", "-c", script)
    if "degraded: landlock" in done.stderr:
        pytest.skip("landlock knows no ports here")
    assert done.stdout.split() == ["45671", "no"], done


@needs_root
@pytest.mark.parametrize(("word", "bits"), [("none", 0), ("net_raw,chown", 1 << 13 | 1)])
def test_capabilities_are_these_and_no_others(word: str, bits: int) -> None:
    done = as_we_are("--cap", word, "grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status")
    assert [int(line.split()[1], 16) for line in done.stdout.splitlines()] == [bits] * 3


@needs_root
def test_bounding_and_ambient_are_said_apart() -> None:
    words = ["--user", "nobody", "--cap-bounding", "net_raw,chown", "--cap", "net_raw", "--ambient", "net_raw"]
    done = as_we_are(*words, "grep", "-E", "Cap(Eff|Bnd|Amb)", "/proc/self/status")
    assert [int(line.split()[1], 16) for line in done.stdout.splitlines()] == [1 << 13, 1 << 13 | 1, 1 << 13]


def test_ids_inside_are_what_is_said(run: Runner) -> None:
    assert run("--uid", "1234", "--gid", "77", "sh", "-c", "id -u; id -g").stdout.split() == ["1234", "77"]


@needs_root
def test_maps_are_line_by_line() -> None:
    words = ["--uid-map", "0:65534", "--uid-map", "5:6:2", "--gid-map", "0:65534", "--uid", "6"]
    done = as_we_are(*words, "sh", "-c", "id -u; cat /proc/self/uid_map")
    assert done.stdout.split() == ["6", "0", "65534", "1", "5", "6", "2"]


# -- process and environment -------------------------------------------------------------------------------------------


def test_the_process_is_as_it_is_said(run: Runner, place: Path) -> None:
    words = ["--hostname", "box", "--umask", "027", "--chdir", str(place), "--new-session"]
    script = "uname -n; umask; pwd; [ $(ps -o sid= -p $$) = $$ ] && echo leads"
    assert run(*words, "sh", "-c", script).stdout.split() == ["box", "0027", str(place), "leads"]


def test_unshare_is_another_word_for_namespaces(run: Runner) -> None:
    done = run("--unshare", "uts", "--unshare", "ipc,pid", "sh", "-c", "readlink /proc/self/ns/uts /proc/self/ns/ipc")
    theirs = done.stdout.split()
    assert len(theirs) == 2
    assert set(theirs).isdisjoint(os.readlink(f"/proc/self/ns/{kind}") for kind in ("uts", "ipc")), done


def test_the_environment_is_ours_the_files_and_the_options(run: Runner, place: Path) -> None:
    file = place / "env"
    file.write_text("# said\nA=1\nexport B='two words' # behind\nC=\"a\\tb\"\nD=from file\n")
    words = ["--clear-env", "--env-file", str(file), "--env-file=-/no/such/file", "--env", "D=said", "--env", "PATH"]
    lines = run(*words, "env").stdout.splitlines()
    assert [line for line in lines if not line.startswith("ARJE_")] == [
        *("A=1", "B=two words", "C=a\tb", "D=said"),
        f"PATH={os.environ['PATH']}",
    ]


def test_options_go_over_the_card_and_lists_grow(data: Path, tmp_path: Path) -> None:
    card = tmp_path / "c.toml"
    soma = f'namespaces = ["mount", "uts"]\nhostname = "card"\numask = "077"\nbinds = ["{data}:/mnt:ro"]'
    card.write_text(f'[payload]\nexec = "/bin/true"\n[soma]\n{soma}\nseccomp = "@system-service"\n')
    words = ["--card", str(card), "--hostname", "option", "--ro-bind", f"{data}:/srv", "--seccomp", "~unlinkat"]
    done = as_we_are(*words, "sh", "-c", "uname -n; umask; cat /mnt/file /srv/file; rm -f /dev/shm/none; echo end")
    assert done.stdout.split() == ["option", "0077", "hi", "hi", "end"], done


@needs_root
def test_the_command_ends_with_who_started_it(place: Path) -> None:
    note, command = place / "pid", f"{sys.executable} -m arje run --die-with-parent"
    with subprocess.Popen(
        ["sh", "-c", f"{command} sh -c 'echo $$ > {note}; echo up; exec sleep 1000' & read never"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "up\n"
        watched = os.pidfd_open(int(note.read_text()))
        shell.kill()
        assert shell.stdout.read() == "", "everybody has closed it"
    os.close(watched)
    assert not Path(f"/proc/{note.read_text().strip()}").exists()


# -- what is told ------------------------------------------------------------------------------------------------------


def test_a_plan_is_told_and_nothing_runs(run: Runner, place: Path) -> None:
    place.chmod(0o777)
    done = run("--plan", "--tmpfs", "/mnt", "--umask", "077", "touch", str(place / "canary"))
    assert (done.returncode, (place / "canary").exists()) == (0, False), done
    assert "mount-tmpfs: tmpfs on /mnt" in done.stdout
    assert "umask: 0077" in done.stdout
    assert done.stdout.splitlines()[-1] == "would start"


def test_a_plan_that_would_be_refused_says_so() -> None:
    done = as_nobody("--plan", "--strict", "--cpus", "0", "--nice", "-5", "true")
    assert (done.returncode, "would be refused" in done.stdout) == (153, True), done


def test_a_report_says_what_was_granted(run: Runner) -> None:
    done = run("--report", "2", "--quiet", "--unshare", "uts,mount", "--hostname", "box", "true")
    told = json.loads(done.stderr)
    assert told["verdict"] == "started"
    assert {grant["feature"]: grant["ok"] for grant in told["grants"]}["hostname"] is True
    assert told["degradations"] == []


def test_a_report_of_a_refusal_has_its_cause(place: Path) -> None:
    place.chmod(0o777)
    done = as_nobody("--report", str(place / "r"), "--require", "nice", "--nice", "-5", "touch", str(place / "canary"))
    told = json.loads((place / "r").read_text())
    assert (done.returncode, told["verdict"], (place / "canary").exists()) == (153, "refused", False)
    assert [loss["feature"] for loss in told["degradations"]] == ["nice"]


def test_quiet_says_nothing_of_what_is_lost() -> None:
    assert "degraded: nice" in as_nobody("--nice", "-5", "true").stderr
    quiet = as_nobody("--quiet", "--nice", "-5", "true")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert as_nobody("--prefer", "umask", "true").returncode == 0


def test_help_shows_the_options_in_groups() -> None:
    said = as_we_are("--help").stdout
    for group in ("namespaces and process:", "files:", "network:", "filters:", "user and rights:", "limits:"):
        assert group in said


@pytest.mark.parametrize(
    ("words", "option", "said"),
    [
        (["--bind", ":/x"], "--bind", "is no bind"),
        (["--ro-bind", "/a:/b:/c"], "--ro-bind", "is no bind"),
        (["--bind", "/etc:relative"], "--bind", "is not absolute"),
        (["--bind", "/etc:/mnt/../x"], "--bind", "leads upwards"),
        (["--tmpfs", "/mnt:huge"], "--tmpfs", "huge"),
        (["--symlink", "x"], "--symlink", "TO:PATH"),
        (["--file", "/etc/hostname"], "--file", "SRC:DST"),
        (["--overlay", "/a,uper=/b"], "--overlay", "uper=/b"),
        (["--overlay", "/a,upper=/b"], "--overlay", "upper and work go together"),
        (["--proc-hidepid", "some"], "--proc-hidepid", "no hidepid"),
        (["--net", "nonne"], "--net", "loopback"),
        (["--net", "veth:"], "--net", "names no bridge"),
        (["--net", "pasta:x"], "--net", "x"),
        (["--seccomp", "@system-servise"], "--seccomp", "did you mean '@system-service'?"),
        (["--seccomp", ","], "--seccomp", "names no system call"),
        (["--seccomp", "chmod:EPERMM"], "--seccomp", "did you mean 'EPERM'?"),
        (["--seccomp-log"], "--seccomp-log", "filters nothing"),
        (["--landlock-scope", "signals"], "--landlock-scope", "did you mean 'signal'?"),
        (["--landlock-tcp-bind", "99999"], "--landlock-tcp-bind", "out of range"),
        (["--cap", "net_ra"], "--cap", "did you mean 'net_raw'?"),
        (["--cap-bounding", "all"], "--cap-bounding", "all"),
        (["--run-as", ":x"], "--run-as", "names no user"),
        (["--user", "nobody:"], "--user", "names no user"),
        (["--user", "no-such-user"], "--user", "no-such-user"),
        (["--uid", "x"], "--uid", "'x'"),
        (["--uid", "1", "--user", "nobody"], "--uid", "--run-as names a user too"),
        (["--uid-map", "0"], "--uid-map", "INSIDE:OUTSIDE"),
        (["--unshare", "pdi"], "--unshare", "did you mean 'pid'?"),
        (["--namespaces", "mount,usr"], "--namespaces", "'usr'"),
        (["--hostname", "a b"], "--hostname", "a b"),
        (["--umask", "9"], "--umask", "octal"),
        (["--require", "nett"], "--require", "did you mean 'net'?"),
        (["--controlling-tty", "tty1"], "--controlling-tty", "/dev/tty1"),
        (["--env", "=x"], "--env", "name of a variable"),
        (["--env-file", "/no/such/file"], "--env-file", "/no/such/file"),
        (["--report", "77"], "--report", "Bad file descriptor"),
        (["--report", "/no/such/dir/x"], "--report", "No such file"),
        (["--card", "/no/such/card.toml"], "/no/such/card.toml", "cannot be read"),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_the_option(words: list[str], option: str, said: str) -> None:
    done = as_we_are(*words, "--", "touch", "/dev/shm/arje-canary")
    assert (done.returncode, option in done.stderr, said in done.stderr) == (2, True, True), done
    assert "Traceback" not in done.stderr
    assert not Path("/dev/shm/arje-canary").exists()


def test_an_env_file_is_wrong_by_line(tmp_path: Path) -> None:
    file = tmp_path / "env"
    for text, line, said in [("A=1\n\nB\n", 3, "NAME=VALUE"), ('A="x\n', 1, "not closed"), ("A='x'y\n", 1, "behind")]:
        file.write_text(text)
        done = as_we_are("--env-file", str(file), "true")
        assert (done.returncode, f"{file}:{line}: --env-file" in done.stderr, said in done.stderr) == (2, True, True)
