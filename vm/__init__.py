"""A real kernel in QEMU, for what this machine's kernel cannot show: an initramfs root, cgroup v2 with all controllers.

``build`` makes the kernel and the initramfs, ``scenario NAME`` boots one check, ``run`` boots a shell. On the host:
``kernel``, ``image``, ``bytecode``, ``cpio``, ``machine``. In the machine: ``stage0.c``, ``guest/``, ``scenarios/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: This directory, and where everything that is made goes. Git ignores it; removing it is always safe.
HERE: Final = Path(__file__).parent
BUILD: Final = HERE / ".build"
