"""The virtual machine: QEMU that emulates (KVM is seldom to be had), a serial console, and the guest's verdict."""

from __future__ import annotations

import codecs
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from vm import HERE, image
from vm.kernel import NoMachine

#: Seconds that a scenario may take, from QEMU's start to the verdict.
LIMIT: Final = 60.0
#: What the kernel is told. Each word but the first two saves time that only an emulated processor needs.
KERNEL_LINE: Final = "console=ttyS0 panic=-1 quiet tsc=reliable no_timer_check mitigations=off 8250.nr_uarts=1"
TIMED_OUT: Final = 124


class Said(NamedTuple):
    """How a run ended: the guest's verdict (0 is well, 124 is out of time) and all that its console showed."""

    verdict: int
    console: str
    seconds: float


def command(*words: str, memory: str = "512M", console: str = "stdio") -> list[str]:
    """Return QEMU's command that boots with words for the guest's init; ``console`` as in ``-serial``. Raises NoMachine."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise NoMachine("qemu-system-x86_64 is not installed: run tools/packages")
    return [
        *(qemu, "-accel", "tcg", "-cpu", "max", "-m", memory, "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-kernel", str(image.vmlinux()), "-initrd", str(image.initramfs())),
        *("-append", f"{KERNEL_LINE} -- {' '.join(words)}"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *("-serial", console),
    ]


def scenarios() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(path.stem for path in (HERE / "scenarios").glob("[!_]*.py"))


def run(name: str, *, limit: float = LIMIT, show: bool = False) -> Said:
    """Boot one scenario and wait for its verdict. ``show`` prints the console as it comes. Raises NoMachine."""
    words = command("scenario", name)
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
