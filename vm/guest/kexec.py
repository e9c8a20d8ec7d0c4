"""Load a kernel for kexec, as ``kexec -s -l`` does (kexec_file_load(2)): ``KERNEL INITRD COMMAND_LINE``."""

from __future__ import annotations

import ctypes
import os
import sys

_KEXEC_FILE_LOAD = 320  # x86-64


def load(kernel: str, initrd: str, line: str) -> None:
    """Load them. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    text = line.encode() + b"\0"
    fds = [os.open(path, os.O_RDONLY) for path in (kernel, initrd)]
    if libc.syscall(_KEXEC_FILE_LOAD, *fds, ctypes.c_ulong(len(text)), text, ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), kernel)


if __name__ == "__main__":
    load(*sys.argv[1:4])
