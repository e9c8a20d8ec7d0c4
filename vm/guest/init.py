"""Pid 1 of the machine, after stage 0: runs what the kernel's command line says and ends the machine with its verdict.

``scenario MODULE`` runs the checks of one, ``shell`` gives a shell on the console. The verdict leaves through QEMU's
isa-debug-exit: what is written there is doubled and one is added. Without that device the machine just goes off.
"""

from __future__ import annotations

import os
import sys
import termios
import traceback

EXIT_PORT = 0xF4


def main(words: list[str]) -> int:
    """Do what the words say. Returns the verdict: 0 is well."""
    if words[:1] == ["scenario"]:
        from vm.guest.checks import run_scenario

        return run_scenario(words[1])
    if words[:1] == ["shell"]:
        return shell()
    print(f"init: nothing to do for {words}", flush=True)
    return 2


def shell() -> int:
    """Give a shell with job control on the console, until it ends."""
    script = "exec setsid cttyhack sh"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], dict(os.environ))
    while os.wait()[0] != pid:
        pass
    return 0


def power_off(verdict: int) -> None:
    """End the machine. Nothing comes after this."""
    sys.stdout.flush()
    termios.tcdrain(1)  # or the last line stays in the serial port
    with open("/dev/port", "r+b", buffering=0) as port:
        port.seek(EXIT_PORT)
        port.write(bytes([verdict]))
    os.execv("/bin/poweroff", ["poweroff", "-f"])


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 3
    if os.getpid() != 1:
        sys.exit(code)
    power_off(code)
