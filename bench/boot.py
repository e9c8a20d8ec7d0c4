"""From exec of init to 100 services, in an emulated machine: arje, beside busybox init, runit, systemd and bare Python.

Each round boots every one of them once; a boot takes seconds, so five rounds are the most. One boot more of each counts
instructions, 2 ns each, waits left out: what else the host does is not in that, and it is the same each time. The clock is
the machine's own, from the first instruction of its init to the first one of the hundredth service. A service is a static
program that adds a byte to a file and sleeps for ever; the one that finds a hundred bytes tells the time and the memory.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.main import CannotRun
from bench.measure import interleave, table
from vm import HERE, debian, image, layer
from vm.cpio import Tree
from vm.driven import Driven, NotSaid
from vm.kernel import NoMachine
from vm.machine import Setup

SERVICES: Final = 100
_COUNTED: Final = ("-icount", "shift=1,sleep=off")
_LONGEST: Final = 240.0  # seconds until a boot counts as failed

#: Tells when it began and becomes the init that its first argument names.
_FIRST: Final = r"""
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    int fd = open("/began", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dprintf(fd, "%lld", now.tv_sec * 1000000000LL + now.tv_nsec);
    close(fd);
    static char *words[] = {INIT, NULL};
    execv(words[0], words);
    return argc + !argv;
}
"""
_SERVICE: Final = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>
static long kib(const char *text, const char *name) { return atol(strstr(text, name) + strlen(name)); }
int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    int count = open("/run/count", O_RDWR | O_CREAT | O_APPEND, 0600);
    if (write(count, "x", 1) == 1 && lseek(count, 0, SEEK_END) == SERVICES) {
        char began[32] = "", memory[4096] = "";
        read(open("/began", O_RDONLY), began, sizeof began - 1);
        sleep(1);
        read(open("/proc/meminfo", O_RDONLY), memory, sizeof memory - 1);
        int console = open("/dev/console", O_WRONLY);
        dprintf(console, "\nUP %lld %ld\n", now.tv_sec * 1000000000LL + now.tv_nsec - atoll(began),
                kib(memory, "MemTotal:") - kib(memory, "MemAvailable:"));
        reboot(RB_POWER_OFF);
    }
    close(count);
    for (;;)
        pause();
}
"""


def measure(rounds: int) -> dict[str, object]:
    """Boot each of them in each round. Raises CannotRun, Interrupted."""
    rounds = min(rounds, 5)
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="arje-bench.") as directory:
        made = dict(_made(Path(directory), absent))
        sides = {name: _boot(path) for name, path in made.items()}
        try:
            counted = {name: _boot(path, *_COUNTED)() for name, path in made.items()}
            found = interleave(rounds, sides)
        except NotSaid as error:
            raise CannotRun(f"a machine did not come up: {error}") from error
        sizes = {name: path.stat().st_size for name, path in made.items()}
    return {"services": SERVICES, "boots": rounds, "absent": absent, "inits": _figures(found, counted, sizes)}


def _figures(
    found: dict[str, list[list[tuple[int, int]]]], counted: dict[str, list[tuple[int, int]]], sizes: dict[str, int]
) -> dict[str, dict[str, float]]:
    figures = {}
    for name, blocks in found.items():
        up, memory = zip(*(sample for block in blocks for sample in block), strict=True)
        figures[name] = {
            "up_s": round(statistics.median(up) / 1e9, 2),
            "fastest_s": round(min(up) / 1e9, 2),
            "counted_s": round(counted[name][0][0] / 1e9, 2),
            "used_mib": round(statistics.median(memory) / 1024, 1),
            "initramfs_mib": round(sizes[name] / 2**20, 1),
        }
    return figures


def render(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    rows = [("", "up s", "fastest", "× arje", "counted s", "× arje", "used MiB", "initramfs MiB")]
    inits = figures["inits"]
    for name, each in inits.items():
        times = f"{each['up_s'] / inits['arje']['up_s']:.2f}"
        counted = (f"{each['counted_s']:.2f}", f"{each['counted_s'] / inits['arje']['counted_s']:.2f}")
        cells = (f"{each['up_s']:.2f}", f"{each['fastest_s']:.2f}", times, *counted)
        rows.append((name, *cells, str(each["used_mib"]), str(each["initramfs_mib"])))
    head = f"exec of init → {figures['services']} services up, {figures['boots']} boots each, emulated (TCG), one processor"
    return "\n".join([head, table(rows), *(f"  {name}: {why}" for name, why in figures["absent"].items())])


def _boot(initramfs: Path, *more: str) -> Callable[[], list[tuple[int, int]]]:
    def once() -> list[tuple[int, int]]:
        with Driven(Setup(initramfs=initramfs, line=("rdinit=/first",), memory="768M", more=more)) as machine:
            told = machine.expect(r"^UP (\d+) (\d+)\n", _LONGEST)
            return [(int(told[1]), int(told[2]))]

    return once


# -- what each of them reads -----------------------------------------------------------------------------------------------


def _made(directory: Path, absent: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield each init that is to be had, and its initramfs."""
    for name, make in {
        "arje": _arje,
        "python": _python,
        "busybox": _busybox,
        "runit": _runit,
        "systemd": _systemd,
    }.items():
        path = directory / f"{name}.cpio"
        try:
            make(path)
        except (NoMachine, subprocess.CalledProcessError) as error:
            if name == "arje":
                raise CannotRun(str(error)) from error
            absent[name] = str(error)
        else:
            yield name, path


def _common(init: str) -> Tree:
    """Return what all of them have: the clock before the init, and the service."""
    tree = Tree()
    tree.file("/first", _program(_FIRST.replace("INIT", f'"{init}"')), 0o755)
    tree.file("/usr/bin/service", _program(_SERVICE.replace("SERVICES", str(SERVICES))), 0o755)
    return tree


def _program(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory, "program.c"), Path(directory, "program")
        path.write_text(source)
        subprocess.run(["gcc", "-static", "-Os", "-s", "-w", str(path), "-o", str(out)], check=True)
        return out.read_bytes()


def _numbers() -> range:
    return range(SERVICES)


def _arje(path: Path) -> None:
    tree = _common("/init")
    for number in _numbers():
        tree.file(f"{layer.CARDS}/s{number}.toml", b'[payload]\nexec = "/usr/bin/service"\n')
    tree.file(layer.CACHE, layer.compiled(tree), 0o600)
    layer.write(path, tree)


def _python(path: Path) -> None:
    """What a Python costs that does nothing but start them: the least that an init in Python can take."""
    tree = _common("/init")
    text = f"import os\nfor _ in range({SERVICES}):\n    os.posix_spawn('/usr/bin/service', ['service'], {{}})\n"
    tree.file("/usr/lib/bare/bare.py", f"{text}while True:\n    os.wait()\n".encode())
    tree.file(
        "/init",
        image.compiled_text(_STAGE0.read_text().replace('"-m", "arje"', '"-S", "/usr/lib/bare/bare.py"')),
        0o755,
    )
    layer.write(path, tree)


_STAGE0: Final = HERE / "stage0.c"


def _small(tree: Tree) -> Tree:
    """Give a tree busybox and a merged /usr."""
    image.furnish(tree)
    tree.file("/usr/bin/busybox", Path("/usr/bin/busybox").resolve().read_bytes(), 0o755)
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        tree.directory(f"/{name}")
    return tree


def _busybox(path: Path) -> None:
    tree = _small(_common("/sbin/init"))
    lines = "".join(f"::respawn:/usr/bin/service {number}\n" for number in _numbers())  # equal lines count as one
    mounts = "mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run"
    tree.file("/etc/inittab", f"::sysinit:/bin/sh -c '{mounts}'\n{lines}".encode())
    tree.link("/usr/sbin/init", "../bin/busybox")
    path.write_bytes(tree.encode())


def _runit(path: Path) -> None:
    tree = Tree()
    tree.copy(debian.root("runit"))
    tree = _small(_merged(tree, _common("/sbin/runit")))
    mounts = "mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run"
    tree.file("/etc/runit/1", f"#!/bin/sh\n{mounts}\nmkdir -p /run/runit\n".encode(), 0o755)
    tree.file("/etc/runit/2", b"#!/bin/sh\nexec runsvdir -P /srv/service\n", 0o755)
    tree.file("/etc/runit/3", b"#!/bin/sh\n", 0o755)
    for number in _numbers():
        tree.link(f"/srv/service/s{number}/run", "/usr/bin/service")
    path.write_bytes(tree.encode())


def _systemd(path: Path) -> None:
    tree = Tree()
    tree.copy(debian.root("systemd", "base-files", "base-passwd", "util-linux"))
    tree = _small(_merged(tree, _common("/usr/lib/systemd/systemd")))
    unit = "[Service]\nExecStart=/usr/bin/service\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"
    for number in _numbers():
        tree.file(f"/etc/systemd/system/s{number}.service", unit.encode())
        tree.link(f"/etc/systemd/system/multi-user.target.wants/s{number}.service", f"../s{number}.service")
    tree.link("/etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")
    tree.file("/etc/machine-id", b"5a27b1c4e6ff4a0d8f7b1d2c3e4f5a6b\n")
    tree.file("/etc/fstab", b"")
    for name in ("dev", "proc", "sys", "run", "var/log", "root"):
        tree.directory(f"/{name}")
    path.write_bytes(tree.encode())


def _merged(tree: Tree, other: Tree) -> Tree:
    tree.entries |= other.entries
    return tree
