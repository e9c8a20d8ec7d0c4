"""Make another process hang: its first thread spins from here on, whatever it was doing, and holds whatever it held.

Two bytes, a jump to itself (``jmp .``), are written where that thread goes on in user space (ptrace(2)). Other threads run,
as they would beside a Python that is stuck in a library, or in itself.
"""

from __future__ import annotations

import ctypes
import os
import sys

_POKETEXT, _GETREGS, _DETACH, _SEIZE, _INTERRUPT = 4, 12, 17, 0x4206, 0x4207
_PEEKTEXT = 1
_WORDS, _RIP = 27, 16  # of struct user_regs_struct (<sys/user.h>)
_SPIN = 0xFEEB


def hang(pid: int) -> None:
    """Let a process hang. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ask(request: int, address: int = 0, data: object = None) -> int:
        ctypes.set_errno(0)
        answer: int = libc.ptrace(request, pid, address, data)
        if answer == -1 and (number := ctypes.get_errno()):
            raise OSError(number, os.strerror(number))
        return answer

    ask(_SEIZE)
    ask(_INTERRUPT)
    os.waitpid(pid, 0x40000000)  # __WALL
    registers = (ctypes.c_ulonglong * _WORDS)()
    ask(_GETREGS, 0, ctypes.addressof(registers))
    place = registers[_RIP]
    word = ask(_PEEKTEXT, place) & 0xFFFFFFFFFFFFFFFF
    ask(_POKETEXT, place, word & ~0xFFFF | _SPIN)
    ask(_DETACH)


if __name__ == "__main__":
    hang(int(sys.argv[1]))
