"""``vm/run``: the machine's shell on this terminal, until it is left."""

from __future__ import annotations

import os
import sys

from vm import machine
from vm.kernel import NoMachine


def main() -> int:  # noqa: RET503 - exec does not return
    """Become QEMU with its console on this terminal. Returns only when there is no machine."""
    try:
        words = machine.command(machine.Setup(words=("shell",), init="vm.guest.init", console="mon:stdio"))
    except NoMachine as error:
        print(f"vm/run: {error}", file=sys.stderr)
        return 77
    os.execv(words[0], words)


if __name__ == "__main__":
    sys.exit(main())
