"""What the first process reads and decides, file by file; and what needs no machine around it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from arje.ctl.main import as_called
from arje.init import (
    boot,
    console,
    consoles,
    entropy,
    fstab,
    identity,
    kernel_line,
    kernel_modules,
    realroot,
    requests,
    settings,
    shell,
    unmounting,
    watchdog,
)
from arje.init.boot import Scene, Step
from arje.init.kernel_line import Words, parse
from arje.init.unmounting import Mounted
from tests.conftest import ROOT

SCENE, CONTAINER = Scene(Words()), Scene(Words(), "docker")


# -- the kernel line ---------------------------------------------------------------------------------------------------


def test_the_kernel_line_says_what_is_wanted_and_the_later_word_counts() -> None:
    line = 'BOOT_IMAGE=/vmlinuz arje.target=a arje.target="b" arje.cards=/x:/y console=tty0 console=ttyS0,115200 quiet'
    words = parse(f"{line} single arje.watchdog=15 modules_load=a,b -- emergency", ["arje.log=/var/log/arje"])
    assert (words.target, words.cards, words.consoles) == ("b", (Path("/x"), Path("/y")), ("tty0", "ttyS0"))
    assert (words.shell, words.quiet, words.watchdog, words.modules) == ("emergency", True, 15.0, ("a", "b"))
    assert (words.log, words.slips) == ("/var/log/arje", ())


@pytest.mark.parametrize("word", ["single", "s", "S", "1", "rescue", "arje.rescue"])
def test_every_name_of_the_rescue_shell_is_known(word: str) -> None:
    assert parse(word).shell == kernel_line.RESCUE


@pytest.mark.parametrize(
    "word", ["arje.target", "arje.targets=x", "arje.watchdog=soon", "arje.guard=-1", "arje.cards="]
)
def test_a_word_of_ours_that_means_nothing_is_a_slip_and_no_error(word: str) -> None:
    assert parse(f"root=/dev/sda1 {word} splash").slips == (word,)


def test_an_open_quote_ends_nothing() -> None:
    assert parse('arje.target=a "b').target == "a"


def test_every_word_of_the_table_is_one_that_is_read() -> None:
    told = re.findall(r"``([a-z_.A-Z-]+)=?", kernel_line.__doc__ or "")
    values = {"arje.watchdog": "1", "arje.guard": "1"}
    for word in told:
        if word not in ("arje.", "kmsg", "console", "null", "force", "default"):
            assert parse(f"{word}={values.get(word, 'x')}") != Words() or parse(word) != Words(), word


# -- steps -------------------------------------------------------------------------------------------------------------


def fails(scene: Scene) -> str:
    raise OSError(1, "Operation not permitted", "/dev")


def broken(scene: Scene) -> str:
    raise ZeroDivisionError


def test_what_becomes_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (
        Step("done", "d", "o", lambda scene: "it", anywhere=True),
        Step("there", "t", "o", lambda scene: "", anywhere=True),
        Step("refused", "r", "o", fails, anywhere=True),
        Step("host", "h", "o", lambda scene: "it"),
        Step("broken", "b", "o", broken, anywhere=True),
    )
    monkeypatch.setattr(boot, "STEPS", steps)
    assert [each.result for each in boot.take(SCENE)] == ["done", "there", "failed", "done", "failed"]
    inside = boot.take(CONTAINER)
    assert [each.result for each in inside] == ["done", "there", "skipped", "skipped", "failed"]
    assert inside[2].detail == "/dev: EPERM (Operation not permitted)"
    assert [each.name for each in boot.failed(inside)] == ["broken"]


def test_every_step_says_what_it_does_and_what_is_so_without_it() -> None:
    assert all(step.what and step.otherwise and step.name for step in boot.STEPS)
    assert len({step.name for step in boot.STEPS}) == len(boot.STEPS)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_of_sysctl_files_of_one_name_the_first_counts_and_a_link_to_null_hides(tmp_path: Path) -> None:
    etc, usr = tmp_path / "etc", tmp_path / "usr"
    for directory in (etc, usr):
        directory.mkdir()
    (usr / "10.conf").write_text("kernel.a = 1\n")
    (etc / "10.conf").write_text("# mine\n; too\nkernel.a=2\n-net.ipv4.conf.eth0/1.x = 3\nnet/ipv4/b.c=4\n")
    (usr / "20.conf").write_text("kernel.gone = 1\n")
    (etc / "20.conf").symlink_to("/dev/null")
    last = tmp_path / "sysctl.conf"
    last.write_text("kernel.a = 5 6\n")
    assert list(settings.sysctls((str(etc), str(usr)), last)) == [
        ("kernel/a", "5 6", False),
        ("net/ipv4/conf/eth0.1/x", "3", True),
        ("net/ipv4/b.c", "4", False),
    ]


def test_a_glob_sets_what_nobody_names(tmp_path: Path) -> None:
    (tmp_path / "1.conf").write_text("-kernel.panic_on_oops\nkernel.panic_on_*= 1\nkernel.panic_on_warn = 0\n")
    found = {key: value for key, value, _ in settings.sysctls((str(tmp_path),), tmp_path / "none")}
    assert "kernel/panic_on_oops" not in found
    assert found["kernel/panic_on_warn"] == "0"


def test_modules_are_read_from_files_and_from_the_kernel_line(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("# no\nloop\n\nveth\n")
    assert kernel_modules.names((str(tmp_path),), ("loop", "zram")) == ["loop", "zram", "veth"]


def test_fstab_is_read_with_its_comments_and_its_short_lines(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text("# a\n\n/dev/vda1 / ext4 rw,noatime 0 1\nUUID=1 none swap sw\nshort line\n")
    assert [fields[1] for fields in fstab.lines(tmp_path / "fstab")] == ["/", "none"]
    assert fstab.lines(tmp_path / "none") == []


# -- the machine's id, and its seed ------------------------------------------------------------------------------------


def test_a_machine_gets_an_id_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FILE", tmp_path / "etc/machine-id")
    (tmp_path / "etc").mkdir()
    made = identity.provide(SCENE)
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert identity.FILE.read_text() == f"{made}\n"
    assert identity.provide(SCENE) == ""
    identity.FILE.unlink()
    identity.FILE.write_text("uninitialized\n")
    wanted = "0123456789abcdef0123456789abcdef"
    assert identity.provide(Scene(Words(machine_id=wanted))) == wanted
    identity.FILE.unlink()
    monkeypatch.setenv("container_uuid", "01234567-89ab-cdef-0123-456789abcdef")
    assert identity.provide(CONTAINER) == wanted


def seeded(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[bytes]:
    counted: list[bytes] = []
    monkeypatch.setattr(entropy, "FILE", path)
    monkeypatch.setattr(entropy, "add", counted.append)
    return counted


def test_a_seed_is_replaced_before_it_is_used_and_counted_only_when_that_is_wanted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = seeded(monkeypatch, place / "lib/random-seed")
    assert entropy.stir(SCENE) == ""  # the first run has none, and makes one
    first = entropy.FILE.read_bytes()
    assert (len(first), entropy.FILE.stat().st_mode & 0o777) == (512, 0o600)
    assert entropy.stir(SCENE) == "512 bytes, not counted"
    second = entropy.FILE.read_bytes()
    assert first != second
    assert not counted
    assert entropy.stir(Scene(Words(random_credit="force"))) == "512 bytes, counted as entropy"
    assert counted == [second]
    assert entropy.FILE.read_bytes() != second


def test_a_seed_without_a_mark_is_not_counted_and_none_is_that_could_not_be_replaced(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = seeded(monkeypatch, place / "random-seed")
    entropy.FILE.write_bytes(b"x" * 512)
    assert entropy.stir(Scene(Words(random_credit="yes"))) == "512 bytes, not counted"

    def refuse() -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(entropy, "save", refuse)
    told = entropy.stir(Scene(Words(random_credit="force")))
    assert told == "512 bytes, not counted, and not replaced: the disk is read-only"
    assert not counted


# -- shells and consoles -----------------------------------------------------------------------------------------------


def test_root_is_asked_for_a_password_where_there_is_one(tmp_path: Path) -> None:
    for name in ("bin/sh", "usr/sbin/sulogin", "etc/shadow"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("root:*:1::\n")
    assert shell.command(trusted=False, root=tmp_path) == ["/usr/sbin/sulogin"]
    assert shell.command(trusted=True, root=tmp_path) == ["/bin/sh", "-l"]
    (tmp_path / "etc/shadow").unlink()
    assert shell.command(trusted=False, root=tmp_path) == ["/bin/sh", "-l"]
    (tmp_path / "bin/sh").rename(tmp_path / "bin/busybox")
    assert shell.command(trusted=False, root=tmp_path) == ["/bin/busybox", "sh", "-l"]
    (tmp_path / "bin/busybox").unlink()
    assert shell.command(trusted=False, root=tmp_path) == []


def test_people_log_in_where_the_kernel_line_says_else_where_the_kernel_s_console_is(tmp_path: Path) -> None:
    for name in ("tty1", "ttyS0", "hvc0"):
        (tmp_path / name).touch()
    active = tmp_path / "active"
    active.write_text("tty0 ttyS0\n")
    words = Words(consoles=("tty0", "hvc0", "ttyS9"))
    assert consoles.terminals(words, active, tmp_path) == ["tty1", "hvc0"]
    assert consoles.terminals(Words(), active, tmp_path) == ["tty1", "ttyS0"]
    assert consoles.terminals(Words(), tmp_path / "none", tmp_path) == []


def test_a_log_line_has_its_level_in_the_kernel_s_log() -> None:
    assert console._priority(b'level=warning event="x"') == 4
    assert console._priority(b"no level at all") == 6


def test_every_signal_of_the_table_is_told_in_its_essay() -> None:
    told = requests.__doc__ or ""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGPWR", "SIGWINCH", "SIGUSR1", "RTMIN+0", "RTMIN+13", "RTMIN+22"):
        assert name in told
    assert set(requests.IN_CONTAINER) < set(requests.ON_MACHINE)


# -- letting go --------------------------------------------------------------------------------------------------------


class Mounts:
    """Mounts that can be let go of only when nothing stands on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *places: str, held: dict[str, str] | None = None) -> None:
        self.there = [Mounted(place, "ext4", False) for place in places]
        self.held = held or {}
        self.read_only: list[str] = []
        monkeypatch.setattr(unmounting, "mounts", lambda: self.there[::-1])
        monkeypatch.setattr(unmounting, "detach_loops", lambda: 0)
        monkeypatch.setattr(unmounting.machine, "umount", self.umount)
        monkeypatch.setattr(unmounting.machine, "mount", self.mount)

    def umount(self, place: str) -> None:
        names = [mount.place for mount in self.there]
        if self.held.get(place) in names:
            raise OSError(16, "Device or resource busy")
        self.there = [mount for mount in self.there if mount.place != place]

    def mount(self, source: str, place: str, flags: int) -> None:
        if place == "/broken":
            raise OSError(5, "Input/output error")
        self.read_only.append(place)


def test_what_holds_another_is_let_go_of_first_however_they_were_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = Mounts(monkeypatch, "/", "/image", "/overlay", held={"/overlay": "/image", "/image": "/none"})
    assert unmounting.unmount() == []
    assert [mount.place for mount in mounts.there] == ["/"]
    assert mounts.read_only == ["/"]


def test_what_stays_becomes_read_only_and_what_cannot_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"/busy": "/busy", "/broken": "/broken"}
    mounts = Mounts(monkeypatch, "/", "/busy", "/broken", held=held)
    assert unmounting.unmount() == ["/broken (ext4): Input/output error"]
    assert mounts.read_only == ["/busy", "/"]


def test_swap_areas_are_read_with_their_spaces(tmp_path: Path) -> None:
    (tmp_path / "swaps").write_text("Filename\tType\n/dev/vda2 partition 1\n/a\\040b file 2\n")
    assert list(unmounting.swap_areas(tmp_path / "swaps")) == ["/dev/vda2", "/a b"]


def test_loop_devices_are_detached_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backing = tmp_path / "loop7/loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.touch()
    asked = []

    def ioctl(fd: int, request: int) -> None:
        asked.append((os.readlink(f"/proc/self/fd/{fd}"), request))
        backing.unlink()

    (tmp_path / "device").touch()
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *more: real(tmp_path / "device" if path == "/dev/loop7" else path, *more)
    )
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert unmounting.detach_loops(tmp_path) == 1
    assert asked == [(str(tmp_path / "device"), 0x4C01)]


def test_an_init_is_found_through_links_that_mean_the_new_root(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "sbin").symlink_to("/usr/lib")
    (tmp_path / "usr/lib/real").write_text("#!/bin/sh\n")
    (tmp_path / "usr/lib/real").chmod(0o755)
    (tmp_path / "usr/lib/init").symlink_to("../lib/./real")
    assert realroot.find_init(str(tmp_path)) == "/sbin/init"
    assert realroot.find_init(str(tmp_path), "/usr/lib/real") == "/usr/lib/real"
    (tmp_path / "usr/lib/real").chmod(0o644)
    with pytest.raises(Exception, match="has no init that could be executed"):
        realroot.find_init(str(tmp_path))
    (tmp_path / "loop").symlink_to("/loop")
    with pytest.raises(Exception, match="looked for /loop"):
        realroot.find_init(str(tmp_path), "/loop")


# -- the watchdog, and the guard ---------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A watchdog that takes every time but makes 20 s of 15, as a driver may."""
    path = tmp_path / "watchdog"
    path.touch()
    monkeypatch.setattr(fcntl, "ioctl", lambda fd, request, data: struct.pack("i", 20))
    return path


async def test_a_watchdog_is_petted_three_times_in_its_own_time(device: Path, autojump_clock: trio.abc.Clock) -> None:
    with trio.move_on_after(61):
        await watchdog.pet(15, str(device))
    assert len(device.read_bytes()) == 10  # at once, and every 20/3 s
    watchdog.keeper.let_go(stop=False)


async def test_a_loop_that_stands_still_pets_nobody(device: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.pet, 0.02, str(device))
        await trio.testing.wait_all_tasks_blocked()
        petted = device.stat().st_size
        end = trio.current_time() + 0.2
        while trio.current_time() < end:
            pass
        assert device.stat().st_size == petted
        nursery.cancel_scope.cancel()
    watchdog.keeper.let_go(stop=False)


def test_only_a_magic_close_stops_a_watchdog(device: Path) -> None:
    watchdog.keeper.dog = dog = watchdog.Watchdog(15, str(device))
    assert dog.seconds == 20
    watchdog.keeper.pet()
    watchdog.keeper.let_go(stop=True)
    assert device.read_bytes() == b"\0V"
    watchdog.keeper.pet()  # there is none any more
    watchdog.keeper.dog = watchdog.Watchdog(15, str(device))
    watchdog.keeper.let_go(stop=False)
    assert b"V" not in device.read_bytes()[2:]


async def test_a_machine_without_a_watchdog_says_so_and_goes_on(tmp_path: Path) -> None:
    with trio.fail_after(5):
        await watchdog.pet(15, str(tmp_path / "none"))


GUARD = """
import sys
from arje.native import machine
machine.guard(0.3, status=7)
if sys.argv[1:] == ["called off"]:
    import time
    machine.guard(0)
    time.sleep(0.6)
    sys.exit(3)
while True:
    pass
"""


@pytest.mark.parametrize(("words", "status"), [([], 7), (["called off"], 3)])
def test_the_guard_ends_a_python_that_hangs_and_can_be_called_off(words: list[str], status: int) -> None:
    spaces = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]  # it kills all that it can
    done = subprocess.run([*spaces, sys.executable, "-c", GUARD, *words], cwd=ROOT, check=False, timeout=30)
    assert done.returncode == status


# -- other names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words", "meant"),
    [
        ("/sbin/reboot", [], ["reboot"]),
        ("/sbin/reboot", ["-f"], ["reboot", "--force"]),
        ("halt", ["-p", "-d"], ["poweroff"]),
        ("/usr/sbin/poweroff", ["--no-wall", "--help"], ["poweroff", "--help"]),
        ("arjectl", ["reboot", "-f"], ["reboot", "-f"]),
    ],
)
def test_the_programs_that_hands_know_are_arjectl_by_other_names(
    program: str, words: list[str], meant: list[str]
) -> None:
    assert as_called(program, words) == meant
