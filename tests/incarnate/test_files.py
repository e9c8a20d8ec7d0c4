"""What the payload sees of files, told by itself and by the kernel: granted, read back, refused, and not escaped from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import (
    Bind,
    Credential,
    IdMap,
    InjectedFile,
    Namespaces,
    Overlay,
    PivotRoot,
    Proc,
    RunAs,
    Soma,
    Symlink,
    Tmpfs,
)
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Step
from arje.kernel.capabilities import CapabilitySet
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed; test_files_user.py is for the others")
SPACES = Namespaces(mount=True, pid=True)
#: Root without a user namespace, and root with one, whose mounts are made before it is entered.
BOTH = pytest.mark.parametrize("spaces", [SPACES, Namespaces(mount=True, pid=True, user=True)], ids=["root", "user"])
USR = (Symlink(path="/bin", to="usr/bin"), Symlink(path="/lib", to="usr/lib"), Symlink(path="/lib64", to="usr/lib64"))


def sh(run: Run, script: str, **soma: object) -> Ran:
    soma.setdefault("namespaces", SPACES)
    return run("/bin/sh", "-c", f"exec 2>&1; {script}", **soma)


def granted(ran: Ran, feature: str) -> str:
    found = next(grant for grant in ran.incarnation.grants if grant.feature == feature)
    assert found.ok, (found, ran.incarnation.degradations)
    return found.granted


def points(mountinfo: str) -> dict[str, str]:
    """Return mount point → options of a mountinfo, the topmost mount of each."""
    return {line.split()[4]: line.split()[5] for line in mountinfo.splitlines() if " - " in line}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory that can be a root: the machine's /usr has the programs, to be bound."""
    top = tmp_path / "root"
    for name in ("usr", "proc", "tmp", "dev", "etc", "data"):
        (top / name).mkdir(parents=True)
    for link in USR:
        (top / link.path[1:]).symlink_to(link.to)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o055 != 0o055 and path.is_relative_to("/tmp"):
            path.chmod(0o755)
    return top


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A directory with another file system mounted in it."""
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", outer / "inner"], check=True)
    (outer / "file").write_text("outer\n")
    (outer / "inner/file").write_text("inner\n")
    yield outer
    subprocess.run(["umount", outer / "inner"], check=True)


# -- roots -------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_directory_becomes_the_root_and_the_old_one_is_out_of_reach(run: Run, root: Path, spaces: Namespaces) -> None:
    script = "echo /*; cat /proc/self/mountinfo; ls /proc/1/root /../..; ls -d /proc/*/root/work /proc/*/cwd/work"
    ran = sh(run, script, namespaces=spaces, root=str(root), binds=(Bind(source="/usr", read_only=True),))
    assert ran.output.splitlines()[0] == "/bin /data /dev /etc /lib /lib64 /proc /tmp /usr"
    assert sorted(points(ran.output)) == ["/", "/proc", "/usr"]
    assert "vmlinuz" not in ran.output
    assert ran.output.count("No such file") == 2  # both ls -d
    assert granted(ran, "root").endswith(str(root))
    assert granted(ran, "binds./usr").endswith("ro")


def test_a_root_that_is_missing_fails_before_anything_runs(run: Run) -> None:
    with pytest.raises(SetupFailed, match="make the directory") as caught:
        sh(run, "true", root="/no/such")
    assert (caught.value.step, caught.value.field) == (Step.ROOT, "soma.root")


def test_a_root_from_nothing_is_a_tmpfs_with_what_the_card_puts_in(run: Run) -> None:
    ran = sh(
        run,
        "echo /*; touch /new; cat /etc/motd; df -k / | tail -1",
        tmpfs=(Tmpfs(target="/", size=2**20),),
        binds=(Bind(source="/usr", read_only=True),),
        symlinks=USR,
        files=(InjectedFile(path="/etc/motd", content="hello\n"),),
        read_only_root=True,
        dev="minimal",
    )
    first, touch, motd, space = ran.output.splitlines()
    assert first == "/bin /dev /etc /lib /lib64 /proc /usr"
    assert "Read-only" in touch
    assert (motd, space.split()[1]) == ("hello", "1024")
    for feature in ("tmpfs./", "read_only_root", "symlinks./bin", "files./etc/motd", "dev"):
        granted(ran, feature)


@BOTH
def test_a_read_only_root_is_so_with_everything_mounted_below_it(run: Run, nested: Path, spaces: Namespaces) -> None:
    script = f"touch /x; touch {nested}/x; touch {nested}/inner/x; touch /tmp/ok && echo fine; cat /proc/self/mountinfo"
    binds = (Bind(source=str(nested), target="/mnt"),)
    ran = sh(run, script, namespaces=spaces, read_only_root=True, tmpfs=(Tmpfs(target="/opt"),), binds=binds)
    assert ran.output.count("Read-only file system") == 4
    own = {"/proc", "/opt", "/mnt", "/mnt/inner"}
    assert {point for point, how in points(ran.output).items() if "ro" not in how.split(",")} == own
    granted(ran, "read_only_root")


@BOTH
def test_an_overlay_on_a_tmpfs_is_the_root_and_forgets(run: Run, root: Path, spaces: Namespaces) -> None:
    overlay = Overlay(lower=(str(root),), tmpfs_upper=2**20)
    script = "echo x > /etc/new && cat /etc/new; df -k / | tail -1; echo /usr/*"
    binds = (Bind(source="/usr"),)
    ran = sh(run, script, namespaces=spaces, overlay=overlay, binds=binds)
    written, space, _ = ran.output.splitlines()
    assert (written, space.split()[1]) == ("x", "1024")
    assert not (root / "etc/new").exists()
    granted(ran, "overlay")


def test_an_overlay_without_an_upper_layer_is_read_only(run: Run, root: Path) -> None:
    (root / "usr").rmdir()
    (root / "usr").symlink_to("data/usr")  # in another layer's directory
    ran = sh(run, "touch /x; echo /e*", overlay=Overlay(lower=("/",)))
    assert "Read-only" in ran.output
    ran = sh(run, "touch /mnt/x; echo /mnt/*", overlay=Overlay(lower=(str(root), "/etc/apt"), merged="/mnt"))
    assert "Read-only" in ran.output
    assert "/mnt/data" in ran.output
    granted(ran, "overlay")


def test_what_is_written_to_the_upper_layer_stays(run: Run, root: Path, tmp_path: Path) -> None:
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    overlay = Overlay(lower=(str(root),), upper=str(tmp_path / "upper"), work=str(tmp_path / "work"))
    sh(run, "echo kept > /etc/kept", overlay=overlay, binds=(Bind(source="/usr"),))
    assert (tmp_path / "upper/etc/kept").read_text() == "kept\n"


def test_an_old_root_that_is_kept_is_where_the_card_says(run: Run, root: Path) -> None:
    pivot = PivotRoot(new_root=str(root), put_old_name="old")
    ran = sh(run, "cat /old/etc/hostname; echo /*", pivot_root=pivot, binds=(Bind(source="/usr"),))
    assert ran.output.splitlines()[0] == Path("/etc/hostname").read_text().strip()
    assert "/old" in ran.output.splitlines()[1]


INITRAMFS = """
import os
from arje.card.soma import Bind, Namespaces, PivotRoot, Tmpfs
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.kernel.capabilities import CapabilitySet
from tests.incarnate.conftest import card_of
tmpfs, binds = (Tmpfs(target="/"),), (Bind(source="/usr"), Bind(source="/lib"), Bind(source="/lib64"))
spaces = Namespaces(mount=True, pid=True)
script = "cat /proc/self/mountinfo; echo /proc/1/root/* /../../*; echo /proc/1/cwd/*"
card = card_of("/usr/bin/sh", "-c", script, namespaces=spaces, dev="minimal", tmpfs=tmpfs, binds=binds)
Incarnator(CapabilitySet.detect(None), None).incarnate(card, StdioFds(0, 1, 2))
os.wait()
"""


def test_a_root_that_cannot_be_pivoted_is_left_as_well() -> None:
    """In an initramfs pivot_root(2) says EINVAL; strace says it here, once for each process."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    inject = ["-f", "-o/dev/null", "-etrace=pivot_root", "-einject=pivot_root:error=EINVAL:when=1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    words = [strace, *inject, sys.executable, "-c", INITRAMFS]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert set(points(done.stdout)) == {"/", "/usr", "/lib", "/lib64", "/dev", "/dev/pts", "/dev/shm", "/proc"}
    here, there = done.stdout.splitlines()[-2:]
    own = {"dev", "lib", "lib64", "proc", "usr"}
    assert {word.rpartition("/")[2] for word in (*here.split(), *there.split())} == own


# -- binds -------------------------------------------------------------------------------------------------------------


@BOTH
def test_nothing_can_be_written_through_a_read_only_bind_nor_below_it(
    run: Run, nested: Path, spaces: Namespaces
) -> None:
    script = "cat /mnt/file /mnt/inner/file; touch /mnt/x; touch /mnt/inner/x; mount -o remount,rw /mnt/inner; echo $?"
    ran = sh(run, script, namespaces=spaces, binds=(Bind(source=str(nested), target="/mnt", read_only=True),))
    assert ran.output.split()[:2] == ["outer", "inner"]
    assert ran.output.count("Read-only file system") == 2
    assert granted(ran, "binds./mnt").endswith("ro")


def test_a_bind_that_is_not_recursive_leaves_out_what_is_mounted_below(run: Run, nested: Path) -> None:
    ran = sh(run, "ls /mnt/inner; cat /mnt/file", binds=(Bind(source=str(nested), target="/mnt", recursive=False),))
    assert ran.output.split() == ["outer"]


def test_a_source_is_found_whatever_is_mounted_over_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("found\n")
    (tmp_path / "link").symlink_to("../" * 20 + str(tmp_path)[1:] + "/file")
    binds = tuple(Bind(source=str(tmp_path / name), target=f"/tmp/{name}") for name in ("file", "link"))
    ran = sh(
        run, "cat /tmp/file /tmp/link; echo /tmp/*", private_tmp=True, binds=(*binds, Bind(source="/", target="/mnt"))
    )
    assert ran.output.split() == ["found", "found", "/tmp/file", "/tmp/link"]
    granted(ran, "binds./tmp/file")
    granted(ran, "binds./mnt")
    assert granted(ran, "private_tmp")


def test_an_optional_bind_may_be_missing_and_a_required_one_may_not(run: Run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    ran = sh(run, "true", binds=(Bind(source="/no/such", optional=True),))
    assert granted(ran, "binds./no/such") == "its source is missing"
    with pytest.raises(SetupFailed, match="source is missing") as caught:
        sh(run, f"touch {canary}", binds=(Bind(source="/no/such", target="/mnt"),))
    assert (caught.value.step, caught.value.field) == (Step.BIND, "soma.binds.0")
    assert not canary.exists()


def test_an_idmapped_bind_shows_the_owners_as_ids_of_the_service(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tmp_path.chmod(0o755)
    spaces, lines = Namespaces(mount=True, pid=True, user=True), (IdMap(inside=0, outside=100000, count=65536),)
    binds = (Bind(source=str(tmp_path), target="/mnt", idmapped=True), Bind(source=str(tmp_path), target="/opt"))
    script = (
        "stat -c %u /mnt/file /opt/file; touch /mnt/new; stat -c %u /mnt/new; grep -c '/mnt .*idmap' /proc/$$/mountinfo"
    )
    ran = sh(run, script, namespaces=spaces, uid_map=lines, gid_map=lines, binds=binds)
    assert ran.output.split() == ["0", "65534", "0", "1"]
    assert (tmp_path / "new").stat().st_uid == 0
    assert granted(ran, "idmapped./mnt") == "idmapped"


def test_a_file_system_that_cannot_be_id_mapped_is_named_or_is_one_degradation(run: Run) -> None:
    spaces = Namespaces(mount=True, pid=True, user=True)
    asked = {"namespaces": spaces, "binds": (Bind(source="/proc/sys", target="/mnt", idmapped=True),)}
    with pytest.raises(SetupFailed, match="cannot be id-mapped") as caught:
        sh(run, "true", **asked)
    assert caught.value.field == "soma.binds.0.idmapped"
    ran = sh(run, "ls /mnt | head -1", prefer=("idmapped",), **asked)
    assert [(loss.feature, loss.kind) for loss in ran.incarnation.degradations] == [("idmapped./mnt", "MountSkipped")]


# -- targets -----------------------------------------------------------------------------------------------------------


def test_a_target_that_is_a_symlink_is_refused(run: Run, root: Path) -> None:
    (root / "data/out").symlink_to("/etc")
    for target in ("/data/out", "/data/out/apt"):
        with pytest.raises(SetupFailed, match="symlink is on the way") as caught:
            sh(run, "true", root=str(root), binds=(Bind(source="/usr"), Bind(source="/srv", target=target)))
        assert (caught.value.step, caught.value.field) == (Step.BIND, "soma.binds.1")


def test_a_missing_mount_point_is_made_on_the_services_own_and_nowhere_else(run: Run, root: Path) -> None:
    usr, srv = Bind(source="/usr"), Bind(source="/srv", target="/data/a/b")
    with pytest.raises(SetupFailed, match="make the mount point") as caught:
        sh(run, "true", root=str(root), binds=(usr, srv))
    assert caught.value.field == "soma.binds.1"
    assert not (root / "data/a").exists()
    ran = sh(run, "echo /data/*/*", root=str(root), tmpfs=(Tmpfs(target="/data"),), binds=(usr, srv))
    assert ran.output.strip() == "/data/a/b"
    assert not (root / "data/a").exists()


def test_what_stands_on_a_mount_that_failed_is_not_made_on_the_machine_instead(run: Run, root: Path) -> None:
    (root / "dev").rmdir()
    (root / "dev").write_text("no directory")
    asked = {"binds": (Bind(source="/usr"), Bind(source="/dev/zero", target="/dev/a/zero"))}
    ran = sh(run, "echo /*", root=str(root), prefer=("binds",), dev="minimal", **asked)
    lost = {loss.feature: loss.detail for loss in ran.incarnation.degradations}
    assert set(lost) == {"dev", "binds./dev/a/zero"}
    assert "needs dev" in lost["binds./dev/a/zero"]


@pytest.mark.parametrize(
    ("field", "words", "soma"),
    [
        ("soma.binds.0", "leads upwards", {"binds": (Bind(source="/srv", target="/mnt/../etc"),)}),
        ("soma.binds.0", "not absolute", {"binds": (Bind(source="/srv", target="mnt"),)}),
        ("soma.binds.0.source", "not absolute", {"binds": (Bind(source="srv", target="/mnt"),)}),
        ("soma.binds.0", "use root", {"binds": (Bind(source="/srv", target="/"),)}),
        ("soma.binds.0", "hide /mnt of soma.tmpfs.0", {"binds": (Bind(source="/mnt"),), "tmpfs": (Tmpfs(target="/mnt"),)}),
        ("soma.binds.1", "hide /srv/a", {"binds": (Bind(source="/usr", target="/srv/a"), Bind(source="/srv"))}),
        ("soma.tmpfs.0", "out of range", {"tmpfs": (Tmpfs(target="/mnt", size=-1),)}),
        ("soma.root", "already", {"root": "/srv", "pivot_root": PivotRoot(new_root="/mnt")}),
        ("soma.root", "without that", {"root": "/"}),
        ("soma.overlay", "go together", {"overlay": Overlay(lower=("/usr",), upper="/srv")}),
        ("soma.overlay", "already", {"root": "/srv", "overlay": Overlay(lower=("/usr",))}),
        ("soma.pivot_root.put_old_name", "no name", {"pivot_root": PivotRoot(new_root="/srv", put_old_name="../x")}),
        ("soma.mqueue", "namespaces.ipc", {"mqueue": True}),
        ("soma.sysfs", "namespaces.net", {"sysfs": True, "namespaces": Namespaces(mount=True, user=True)}),
        ("soma.binds.0.idmapped", "namespaces.user", {"binds": (Bind(source="/srv", idmapped=True),)}),
        ("soma.proc.hidepid", "invisible", {"proc": Proc(hidepid="all")}),
        ("soma.symlinks.0", "others see", {"symlinks": (Symlink(path="/etc/x", to="y"),)}),
        ("soma.credentials.a/b", "no file name", {"credentials": (Credential(name="a/b", content="x"),)}),
        ("soma.credentials.a", "no content", {"credentials": (Credential(name="a"),)}),
        ("soma.files.0", "a source", {"files": (InjectedFile(path="/etc/x", content="x", source="/etc/y"),)}),
        ("soma.masked_paths", "upwards", {"masked_paths": ("/proc/../etc",)}),
        ("soma.binds.0", "namespaces.mount", {"namespaces": Namespaces(), "binds": (Bind(source="/srv"),)}),
        ("soma.private_tmp", "namespaces.mount", {"namespaces": Namespaces(), "private_tmp": True}),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_field(
    run: Run, tmp_path: Path, field: str, words: str, soma: dict[str, object]
) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(SetupFailed, match=words) as caught:
        sh(run, f"touch {canary}", **soma)
    assert (caught.value.step, caught.value.field) == (Step.PLAN, field)
    assert not canary.exists()


# -- file systems of its own -------------------------------------------------------------------------------------------


@BOTH
def test_a_tmpfs_has_its_size_mode_and_flags_and_belongs_to_the_service(run: Run, spaces: Namespaces) -> None:
    asked = (Tmpfs(target="/mnt", size=2**20 + 1, mode=0o750, noexec=True), Tmpfs(target="/mnt/a"))
    script = "df -k /mnt | tail -1; stat -c '%a %u' /mnt /mnt/a; grep ' /mnt ' /proc/self/mountinfo; touch /mnt/x"
    ran = sh(run, script, namespaces=spaces, tmpfs=asked, run_as=RunAs(user=1234, group=1234, groups=()))
    space, one, other, line = ran.output.splitlines()
    uid = "0" if spaces.user else "1234"
    assert space.split()[1] == "1028"  # whole pages
    assert (one, other) == (f"750 {uid}", f"755 {uid}")
    assert {"noexec", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert "size=1028k" in granted(ran, "tmpfs./mnt")


@BOTH
def test_a_private_tmp_is_empty_and_everybodys(run: Run, spaces: Namespaces) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp"):
        ran = sh(run, "ls /tmp /var/tmp; stat -c %a /tmp /var/tmp", namespaces=spaces, private_tmp=True)
    assert ran.output.split() == ["/tmp:", "/var/tmp:", "1777", "1777"]
    granted(ran, "private_tmp")


@BOTH
def test_a_minimal_dev_works_and_holds_nothing_else(run: Run, spaces: Namespaces) -> None:
    script = (
        "echo /dev/*; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo > /dev/full;"
        "echo ok > /dev/shm/x; cat < /dev/shm/x; ls /dev/pts; exec 3<>/dev/ptmx && ls /dev/pts; echo err > /dev/stderr"
    )
    ran = sh(run, script, namespaces=spaces, dev="minimal")
    names, zero, random, full, shm, pts, *rest = ran.output.splitlines()
    assert names == " ".join(
        f"/dev/{name}"
        for name in "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()  # noqa: SIM905
    )
    assert (zero, random, shm, pts) == ("3", "3", "ok", "ptmx")
    assert "error" in full  # ENOSPC, in the words of a shell
    assert rest == ["0", "ptmx", "err"]
    granted(ran, "dev")


def test_devices_of_the_card_lie_on_the_minimal_dev(run: Run) -> None:
    ran = sh(run, "ls -l /dev/fuller | cut -c1", dev="minimal", binds=(Bind(source="/dev/full", target="/dev/fuller"),))
    assert ran.output.strip() == "c"


def test_proc_hides_the_processes_of_others_and_the_system(run: Run) -> None:
    asked = Proc(hidepid="invisible", subset="pid")
    ran = sh(run, "ls -d /proc/1 /proc/sys; id -u", proc=asked, run_as=RunAs(user="nobody"))
    assert ran.output.count("No such file") == 2
    assert {"hidepid=invisible", "subset=pid"} <= set(granted(ran, "proc").split())


@BOTH
def test_sysfs_and_mqueue_are_those_of_its_namespaces(run: Run, spaces: Namespaces) -> None:
    names = {kind: True for kind in ("net", "ipc", *spaces.asked())}
    asked = {"sysfs": True, "mqueue": True, "devpts": True, "dev": "minimal"}
    ran = sh(run, "echo /sys/class/net/*; ls -d /dev/mqueue", namespaces=Namespaces(**names), **asked)
    assert ran.output.split() == ["/sys/class/net/lo", "/dev/mqueue"]
    for feature in ("sysfs", "mqueue", "dev"):
        granted(ran, feature)


def test_terminals_of_its_own(run: Run) -> None:
    ran = sh(run, "ls /dev/pts", devpts=True)
    assert ran.output.split() == ["ptmx"]
    granted(ran, "devpts")


# -- masks, and what is put in -----------------------------------------------------------------------------------------


def test_masked_files_read_empty_and_masked_directories_look_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    masks = ("/proc/kallsyms", "/sys/kernel", "/no/such", str(tmp_path / "secret"))
    script = f"wc -c < /proc/kallsyms; ls /sys/kernel; cat {tmp_path}/secret; echo x > {tmp_path}/secret; echo end"
    ran = sh(run, script, masked_paths=masks)
    assert ran.output.split()[0] == "0"
    assert ran.output.splitlines()[1:] == ["end"]  # what is written to /dev/null is gone
    assert (tmp_path / "secret").read_text() == "secret"
    assert granted(ran, "masked_paths") == "3 masked, 1 absent"


def test_read_only_paths_are_so_with_everything_below_them(run: Run, nested: Path) -> None:
    script = f"touch {nested}/x; touch {nested}/inner/x; touch {nested.parent}/fine && echo fine"
    ran = sh(run, script, read_only_paths=(str(nested), "-/no/such"))
    assert ran.output.count("Read-only file system") == 2
    assert "fine" in ran.output
    granted(ran, "read_only_paths")
    lost = sh(run, "true", read_only_paths=("/no/such",)).incarnation.degradations
    assert [loss.feature for loss in lost] == ["read_only_paths"]
    with pytest.raises(SetupFailed):
        sh(run, "true", read_only_paths=("/no/such",), require=("read_only_paths",))


@BOTH
def test_an_injected_file_covers_what_is_there_and_leaves_it_alone(
    run: Run, tmp_path: Path, spaces: Namespaces
) -> None:
    (tmp_path / "source").write_text("copied\n")
    before = Path("/etc/hostname").read_text()
    files = (
        InjectedFile(path="/etc/hostname", content="injected\n"),
        InjectedFile(path="/mnt/deep/copy", source=str(tmp_path / "source"), mode=0o600, owner=0),
    )
    script = "cat /etc/hostname /mnt/deep/copy; stat -c '%a %u' /mnt/deep/copy; echo x > /etc/hostname"
    ran = sh(run, script, namespaces=spaces, tmpfs=(Tmpfs(target="/mnt"),), files=files)
    assert ran.output.split()[:4] == ["injected", "copied", "600", "0"]
    assert "Read-only" in ran.output
    assert Path("/etc/hostname").read_text() == before
    granted(ran, "files./etc/hostname")
    granted(ran, "files./mnt/deep/copy")


def test_a_source_that_is_a_pipe_does_not_hang_the_start(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SetupFailed) as caught:
        sh(run, "true", files=(InjectedFile(path="/etc/hostname", source=str(tmp_path / "pipe")),))
    assert (caught.value.step, caught.value.field) == (Step.FILE, "soma.files.0")


@BOTH
def test_credentials_are_the_services_alone(run: Run, root: Path, tmp_path: Path, spaces: Namespaces) -> None:
    (tmp_path / "key").write_text("from a file")
    (tmp_path / "key").chmod(0o600)
    secrets = (Credential(name="token", content="s3cret"), Credential(name="key", source=str(tmp_path / "key")))
    script = (
        'cd "$CREDENTIALS_DIRECTORY" && pwd; cat token key; echo; stat -c "%a %u" . token; echo x > token; touch y;'
        "grep credentials /proc/self/mountinfo"
    )
    (root / "run").mkdir()
    asked = {"tmpfs": (Tmpfs(target="/run"),), "binds": (Bind(source="/usr"),), "credentials": secrets}
    ran = sh(run, script, namespaces=spaces, root=str(root), run_as=RunAs(user=1234, group=1234, groups=()), **asked)
    uid = "0" if spaces.user else "1234"
    lines = ran.output.splitlines()
    assert lines[:4] == ["/run/credentials/test", "s3cretfrom a file", f"500 {uid}", f"400 {uid}"]
    assert ran.output.count("Read-only") + ran.output.count("denied") == 2
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(lines[-1].split()[5].split(","))
    granted(ran, "credentials")


def test_a_cards_own_word_for_the_credentials_directory_is_no_drift(place: Path) -> None:
    """It wins in the environment; the secrets lie where they lay, and are found there."""
    script = f"echo $CREDENTIALS_DIRECTORY; cat {place}/credentials/test/token"
    payload = Native(exec="/bin/sh", argv=("-c", script), envp=(("CREDENTIALS_DIRECTORY", "/elsewhere"),))
    secret = (Credential(name="token", content="s3cret"),)
    soma = Soma(namespaces=SPACES, credentials=secret, read_only_root=True, strict_caps=True)
    incarnator = Incarnator(CapabilitySet.detect(None), None, variables={"RUNTIME_DIR": str(place)})
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    outcome = incarnator.incarnate(Card(label="test", payload=payload, soma=soma), StdioFds(null, writer, null))
    os.close(writer)
    os.close(null)
    with os.fdopen(reader) as stream:
        assert stream.read() == "/elsewhere\ns3cret"
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()
    assert outcome.incarnation.degradations == ()
    assert {"credentials", "read_only_root"} <= {grant.feature for grant in outcome.incarnation.grants if grant.ok}


def test_without_a_root_of_its_own_the_credentials_lie_in_the_managers_directory(place: Path) -> None:
    ours = Incarnator(CapabilitySet.detect(None), None, variables={"RUNTIME_DIR": str(place)})
    script = "echo $CREDENTIALS_DIRECTORY; cat $CREDENTIALS_DIRECTORY/token > " + str(place / "told")
    card = card_of(
        "/bin/sh", "-c", script, namespaces=SPACES, credentials=(Credential(name="token", content="s3cret"),)
    )
    with open("/dev/null", "r+b", buffering=0) as null:
        outcome = ours.incarnate(card, StdioFds(*[null.fileno()] * 3))
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()
    assert not outcome.incarnation.degradations
    assert (place / "told").read_text() == "s3cret"
    assert list((place / "credentials/test").iterdir()) == []  # nothing of it is to be seen outside


# -- policy ------------------------------------------------------------------------------------------------------------


def test_what_hides_may_degrade_and_what_shows_another_world_may_not(run: Run, root: Path) -> None:
    (root / "dev").rmdir()
    (root / "proc").rmdir()
    ran = sh(run, "echo ran", root=str(root), dev="minimal", binds=(Bind(source="/usr"),))
    assert ran.output.strip() == "ran"
    assert {loss.feature for loss in ran.incarnation.degradations} == {"dev", "proc"}
    with pytest.raises(SetupFailed) as caught:
        sh(run, "true", root=str(root), dev="minimal", binds=(Bind(source="/usr"),), require=("dev",))
    assert caught.value.field == "soma.dev"
    with pytest.raises((SetupFailed, IncarnationRefused)):
        sh(run, "true", root=str(root), tmpfs=(Tmpfs(target="/no/such"),), binds=(Bind(source="/usr"),))
    more = {"tmpfs": (Tmpfs(target="/no/such"),), "prefer": ("tmpfs",), "proc": False}
    ran = sh(run, "echo ran", root=str(root), binds=(Bind(source="/usr"),), **more)
    assert [loss.feature for loss in ran.incarnation.degradations] == ["tmpfs./no/such"]
