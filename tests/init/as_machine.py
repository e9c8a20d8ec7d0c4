"""Runs arje's pid 1 as if no container were around it: ``python -m tests.init.as_machine "KERNEL LINE" [word…]``.

A pid namespace of the kernel's first kind is what a test without a kernel of its own cannot have. ``HANG`` in the
environment: the loop turns round in Python for ever where services are to be stopped, and never lets go of its lock.
"""

from __future__ import annotations

import os
import sys

from arje.init import kernel_line, pid1
from arje.init.duties import Duties


async def hang(self: Duties) -> None:
    while True:
        pass


if __name__ == "__main__":
    pid1.kind_of_container = lambda: ""
    if os.environ.pop("HANG", ""):
        Duties.stop = hang  # type: ignore[method-assign]
    kernel_line.read = lambda *_: sys.argv[1]
    sys.exit(pid1.main(sys.argv[2:]))
