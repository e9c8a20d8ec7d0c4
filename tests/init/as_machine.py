"""Runs arje's pid 1 as if no container were around it: ``python -m tests.init.as_machine "KERNEL LINE" [word…]``.

A pid namespace of the kernel's first kind is what a test without a kernel of its own cannot have.
"""

from __future__ import annotations

import sys

from arje.init import kernel_line, pid1

if __name__ == "__main__":
    pid1.kind_of_container = lambda: ""
    kernel_line.read = lambda *_: sys.argv[1]
    sys.exit(pid1.main(sys.argv[2:]))
