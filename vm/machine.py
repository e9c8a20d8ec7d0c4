"""The virtual machine: QEMU that emulates (KVM is seldom to be had), a serial console, and how it ended.

A scenario inside the machine leaves its verdict at isa-debug-exit (:func:`run`); a machine in which arje is pid 1 is
watched and driven from outside (``driven.py``).
"""

from __future__ import annotations

import codecs
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from vm import HERE, image
from vm.kernel import NoMachine

#: Seconds that a scenario may take, from QEMU's start to the verdict: many times what it takes on an idle machine.
LIMIT: Final = 180.0
#: What the kernel is told. Each word but the first two saves time that only an emulated processor needs.
KERNEL_LINE: Final = "console=ttyS0 panic=-1 loglevel=4 tsc=reliable no_timer_check mitigations=off 8250.nr_uarts=1"
TIMED_OUT: Final = 124


@dataclass(frozen=True, slots=True)
class Setup:
    """A machine. ``line``: more words for the kernel, ``words`` for its init, which ``init`` names as a Python module, arje
    itself by default; ``disks``: images, the first is /dev/vda; ``initramfs``: another one; ``more``: words for QEMU."""

    words: Sequence[str] = ()
    line: Sequence[str] = ()
    init: str = ""
    initramfs: Path | None = None
    disks: Sequence[Path] = ()
    memory: str = "512M"
    cpus: int = 1
    kvm: bool = False
    console: str = "stdio"
    more: Sequence[str] = ()


class Said(NamedTuple):
    """How a run ended: the guest's verdict (0 is well, 124 is out of time) and all that its console showed."""

    verdict: int
    console: str
    seconds: float


def command(setup: Setup) -> list[str]:
    """Return QEMU's command. Raises NoMachine."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise NoMachine("qemu-system-x86_64 is not installed: run tools/packages")
    line = [KERNEL_LINE, *setup.line, *([f"ARJE_INIT={setup.init}"] if setup.init else []), "--", *setup.words]
    accelerator = ("-accel", "kvm", "-cpu", "host") if setup.kvm else ("-accel", "tcg", "-cpu", "max")
    disks = [f"file={disk},format=raw,if=none,id=disk{number}" for number, disk in enumerate(setup.disks)]
    return [
        *(qemu, *accelerator, "-m", setup.memory, "-smp", str(setup.cpus)),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-kernel", str(image.vmlinux()), "-initrd", str(setup.initramfs or image.initramfs())),
        *("-append", " ".join(line)),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *(word for number, disk in enumerate(disks) for word in _disk(number, disk)),
        *("-serial", setup.console),
        *setup.more,
    ]


def _disk(number: int, drive: str) -> tuple[str, ...]:
    return ("-drive", drive, "-device", f"virtio-blk-pci,drive=disk{number}")


def has_kvm() -> bool:
    """Whether the processor's own virtualization is there for us (kvm(4))."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def scenarios() -> list[str]:
    """Return the names of all scenarios that run in the machine."""
    return sorted(path.stem for path in (HERE / "scenarios").glob("[!_]*.py"))


def run(name: str, *, limit: float = LIMIT, show: bool = False) -> Said:
    """Boot one scenario and wait for its verdict. ``show`` prints the console as it comes. Raises NoMachine."""
    words = command(Setup(words=("scenario", f"vm.scenarios.{name}"), init="vm.guest.init"))
    began = time.monotonic()
    qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert qemu.stdout is not None
    said = []
    try:
        for text in _until(qemu.stdout.fileno(), began + limit):
            said.append(text)
            if show:
                sys.stdout.write(text)
                sys.stdout.flush()
        verdict = _verdict(qemu.wait(max(0.0, began + limit - time.monotonic())))
    except subprocess.TimeoutExpired:
        verdict = TIMED_OUT
    finally:
        qemu.kill()  # no effect when it has left by itself
        qemu.wait()
        qemu.stdout.close()
    return Said(verdict, "".join(said), time.monotonic() - began)


def _until(fd: int, end: float) -> Iterator[str]:
    """Yield what a console says, until it is closed or the time is over."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may come in two halves
    while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
        data = os.read(fd, 65536)
        if not data:
            return
        yield decoder.decode(data.replace(b"\r", b""))


def _verdict(status: int) -> int:
    """isa-debug-exit leaves with twice the guest's verdict plus one; anything else is a machine that died: 1."""
    return (status - 1) // 2 if status > 0 and status % 2 else 1
