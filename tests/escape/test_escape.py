"""A payload that wants out, in cages as cards ask for them: each attempt is stopped, and by what is expected to."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arje.card.soma import Bind, Capabilities, CgroupLimits, Credential, IdMap, Namespaces, RunAs, Symlink, Tmpfs
from arje.errors import SetupFailed
from tests.incarnate.conftest import Ran
from tests.incarnate.test_readback import waiting

Run = Callable[..., Ran]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to build what must not be reached")
HERE = Path(__file__).parent
NOBODY = RunAs(user=65534, group=65534, groups=())
#: Errnos of what is not there, and of what is not allowed.
AWAY = {"ENOENT", "ESRCH", "ENOTDIR"}
NO = {"EPERM", "EACCES", "EINVAL", "EROFS", "ENOSPC", "EBUSY"}
ALL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, cgroup=True)
#: Root inside, with every capability of its user namespace: the strongest payload that is not the machine's root.
ROOT_INSIDE = {
    "namespaces": Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, cgroup=True, user=True),
    "uid_map": (IdMap(inside=0, outside=100000, count=65536),),
    "gid_map": (IdMap(inside=0, outside=100000, count=65536),),
}
#: An ordinary user without any capability.
USER_INSIDE = {"namespaces": ALL, "run_as": NOBODY, "capabilities": Capabilities(bounding=(), keep=(), ambient=())}
#: The machine's root without any capability. To the files of /proc/sys it is their owner all the same.
WITHOUT_POWERS = {
    "namespaces": ALL,
    "capabilities": Capabilities(bounding=(), keep=(), ambient=()),
    "read_only_paths": ("/proc/sys",),
}
CAGES = {"root inside": ROOT_INSIDE, "a user": USER_INSIDE, "root without capabilities": WITHOUT_POWERS}


def cage(**more: Any) -> dict[str, Any]:
    """A root from nothing with the machine's programs, and the attempts."""
    links = (("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64"))
    soma: dict[str, Any] = {
        "tmpfs": (Tmpfs(target="/"), Tmpfs(target="/tmp", mode=0o1777)),
        "symlinks": tuple(Symlink(path=path, to=to) for path, to in links),
        "dev": "minimal",
        "no_new_privs": True,
    }
    binds = (
        Bind(source="/usr", target="/usr", read_only=True),
        Bind(source=str(HERE / "attempts.py"), target="/attempts.py", read_only=True),
    )
    return soma | more | {"binds": (*binds, *more.get("binds", ()))}


def attempts(run: Run, soma: dict[str, Any], told: dict[str, Any], *names: str, file: str = "/attempts.py") -> Any:
    """Make attempts in a cage; the payload must still be there to tell."""
    ran = run("/usr/bin/python3", file, json.dumps(told), *names, **soma)
    assert ran.incarnation.degradations == ()
    assert ran.exit.ok, ran.output
    return json.loads(ran.output)


def stopped(found: dict[str, str], errnos: set[str]) -> None:
    assert {name: said for name, said in found.items() if said not in errnos} == {}


@pytest.fixture
def secret(place: Path) -> Path:
    """A file that everybody outside may read."""
    (place / "secret").write_text("the secret")
    return place / "secret"


@pytest.fixture
def protected(place: Path) -> Iterator[Path]:
    """A directory with a mount below it, both writable for everybody, and a file to be masked."""
    for directory in (place / "protected", place / "protected/below"):
        directory.mkdir()
        directory.chmod(0o777)
    (place / "protected/masked").write_text("what is hidden")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777", "tmpfs", str(place / "protected/below")], check=True)
    yield place / "protected"
    subprocess.run(["umount", str(place / "protected/below")], check=True)


@pytest.mark.parametrize("who", CAGES)
def test_the_old_root_is_out_of_reach_for_everybody(run: Run, secret: Path, who: str) -> None:
    names = ("dotdot", "root_of_others", "descriptors", "unmount_the_root", "move_the_root", "chroot_and_back")
    host = os.open("/", os.O_RDONLY)
    os.set_inheritable(host, True)
    try:
        found = attempts(run, cage(**CAGES[who]), {"secret": str(secret)}, *names)
    finally:
        os.close(host)
    stopped(found, AWAY | NO)
    assert {found[name] for name in ("dotdot", "root_of_others", "descriptors")} == {"ENOENT"}


@pytest.mark.parametrize("who", CAGES)
def test_mountinfo_shows_the_mounts_of_the_card_and_nothing_of_the_host(run: Run, place: Path, who: str) -> None:
    ran = run("/bin/cat", "/proc/self/mountinfo", **cage(**CAGES[who]))
    points = {line.split()[4] for line in ran.output.splitlines()}
    asked = {"/", "/tmp", "/usr", "/attempts.py", "/proc", *CAGES[who].get("read_only_paths", ())}
    assert {point for point in points if not point.startswith("/dev")} == asked | {
        point for point in points if point.startswith("/usr/")
    }
    assert str(place) not in ran.output


@pytest.mark.parametrize("who", CAGES)
def test_devices_handles_and_the_kernels_own_files_are_out_of_reach(run: Run, secret: Path, who: str) -> None:
    names = ("device_node", "memory_of_the_machine", "by_handle", "core_pattern")
    stopped(attempts(run, cage(**CAGES[who]), {"secret": str(secret)}, *names), AWAY | NO)


@pytest.mark.parametrize("who", CAGES)
def test_nothing_is_written_through_read_only_mounts_and_masks_stay_on(run: Run, protected: Path, who: str) -> None:
    bind = Bind(source=str(protected), target="/protected", read_only=True)
    soma = cage(**CAGES[who], binds=(bind,), masked_paths=("/protected/masked",))
    told = {"read_only": "/protected", "below": "below", "masked": "/protected/masked"}
    names = ("write_below", "remount_where_i_am", "remount_writable", "unmask", "bind_around_the_mask")
    stopped(attempts(run, soma, told, *names), NO)
    assert not (protected / "written").exists()
    assert not (protected / "below/written").exists()


@pytest.mark.parametrize("who", CAGES)
def test_processes_outside_cannot_be_signalled_traced_or_read(run: Run, secret: Path, who: str) -> None:
    names = ("kill_outside", "trace_outside", "memory_outside", "files_outside", "descriptors_outside")
    outside = subprocess.Popen(["sleep", "60"])
    try:
        # a number that is somebody's inside would be another process: none gets that far there
        stopped(attempts(run, cage(**CAGES[who]), {"secret": str(secret), "outside": outside.pid}, *names), AWAY)
    finally:
        outside.kill()
        outside.wait()


def test_without_a_pid_namespace_another_users_processes_are_only_seen(run: Run, secret: Path) -> None:
    soma = {"run_as": NOBODY, "no_new_privs": True}
    names = ("kill_outside", "trace_outside", "memory_outside", "files_outside", "descriptors_outside", "become_root")
    told = {"secret": str(secret), "outside": os.getpid()}
    script = secret.with_name("attempts.py")
    shutil.copy(HERE / "attempts.py", script)
    stopped(attempts(run, soma, told, *names, file=str(script)), NO)


#: Starts a command as a service whose descriptors are the starter's terminal, and waits for it.
TYPIST = """
import os, sys
from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import RunAs, Soma
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.kernel.capabilities import CapabilitySet
payload = Native(exec="/usr/bin/python3", argv=tuple(sys.argv[1:]))
card = Card(label="typist", payload=payload, soma=Soma(run_as=RunAs(user=65534, group=65534, groups=())))
outcome = Incarnator(CapabilitySet.detect(None), None).incarnate(card, StdioFds(0, 1, 2))
os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
"""


def test_the_terminal_of_the_starter_cannot_be_typed_at(place: Path) -> None:
    """The payload has it as its input, but a session of its own: by default every service has."""
    script = place / "attempts.py"
    shutil.copy(HERE / "attempts.py", script)
    names = ("type_at_the_terminal", "take_the_terminal", "open_the_terminal")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", TYPIST, str(script), "{}", *names])
    said = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while data := os.read(terminal, 4096):
            said += data
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, said
    found = json.loads(next(line for line in said.decode().splitlines() if line.startswith("{")))
    stopped(found, {"EPERM", "EIO", "ENXIO"})


def test_the_reaper_survives_its_payload(run: Run) -> None:
    for soma in CAGES.values():
        assert attempts(run, cage(**soma), {}, "kill_the_reaper") == {"kill_the_reaper": "EPERM"}


@pytest.mark.parametrize("who", ["a user", "root without capabilities"])
def test_raw_sockets_take_a_capability(run: Run, who: str) -> None:
    stopped(attempts(run, cage(**CAGES[who]), {}, "raw_socket", "packet_socket"), NO)


@pytest.mark.parametrize("who", CAGES)
def test_abstract_sockets_end_at_the_net_namespace(run: Run, who: str) -> None:
    name = f"arje-escape-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        found = attempts(run, cage(**CAGES[who]), {"abstract": name}, "abstract_socket")
    assert found == {"abstract_socket": "ECONNREFUSED"}


def test_nested_user_namespaces_stay_away_when_they_are_disabled(run: Run) -> None:
    soma = cage(**ROOT_INSIDE, disable_nested_userns=True)
    stopped(attempts(run, soma, {}, "nested_user_namespace", "lift_the_limit"), NO)


def test_a_setuid_program_in_a_bind_gives_nothing(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    shutil.copy("/usr/bin/id", tmp_path / "id")
    (tmp_path / "id").chmod(0o4755)
    soma = cage(**USER_INSIDE, binds=(Bind(source=str(tmp_path), target="/programs"),))
    assert run("/programs/id", "-u", **soma).output == "65534\n"
    if not os.statvfs(tmp_path).f_flag & os.ST_NOSUID:  # it was no_new_privs that stopped it
        assert run("/programs/id", "-u", **soma | {"no_new_privs": False, "capabilities": None}).output == "0\n"


def test_a_delegated_cgroup_is_not_left_upwards(run: Run, base: Path | None, secret: Path) -> None:
    if base is None:
        pytest.skip("there is no writable cgroup2 here")
    script = secret.with_name("attempts.py")
    shutil.copy(HERE / "attempts.py", script)
    soma = {"run_as": NOBODY, "cgroup": CgroupLimits(delegate=True), "namespaces": Namespaces(cgroup=True)}
    found = attempts(run, soma, {"cgroup": str(base / "test")}, "leave_the_cgroup", file=str(script))
    stopped(found, NO)


def test_credentials_of_one_user_are_closed_to_another(run: Run, incarnator: Any, place: Path) -> None:
    soma = cage(namespaces=Namespaces(mount=True), run_as=RunAs(user=1234, group=1234, groups=()))
    soma |= {"credentials": (Credential(name="key", content="the secret"),)}
    with waiting(incarnator, **soma) as holder:
        key = f"/proc/{holder.incarnation.pid}/root/run/credentials/test/key"
        assert Path(key).read_text() == "the secret"  # the machine's root
        ran = run("/bin/cat", key, run_as=NOBODY)
    assert "Permission denied" in ran.output


def test_a_link_on_the_way_to_a_target_does_not_lead_the_mount_out(run: Run, place: Path) -> None:
    outside, root = place / "outside", place / "root"
    (outside / "dir").mkdir(parents=True)
    root.mkdir()
    (root / "way").symlink_to("../outside")
    (root / "absolute").symlink_to(outside)
    before = Path("/proc/self/mountinfo").read_text().count(str(outside))
    for target in ("/way/dir", "/absolute/dir", "/way/new"):
        soma = {"namespaces": Namespaces(mount=True), "root": str(root), "binds": (Bind(source="/usr", target=target),)}
        with pytest.raises(SetupFailed, match=r"ELOOP|ENOENT|ENOTDIR|EXDEV") as caught:
            run("/bin/true", **soma)
        assert caught.value.field == "soma.binds.0"
    assert Path("/proc/self/mountinfo").read_text().count(str(outside)) == before
    assert [path.name for path in outside.iterdir()] == ["dir"]
