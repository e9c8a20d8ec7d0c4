"""The manager runs without its docstrings and asserts: 1.6 of 24 MB, for as long as it runs.

Python leaves them out when it is started with ``-OO``, so the manager starts itself once more, in 12 ms, as the same
process with the same descriptors. Whoever debugs it says ``PYTHONOPTIMIZE=1``, which is heeded as any choice is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path


def start_again(words: Sequence[str]) -> None:
    """Replace a manager that has just started, if it may be; ``words`` are its arguments. Raises OSError."""
    if may_start_again(words, Path(__file__)):
        os.execv(sys.executable, [sys.executable, "-OO", *sys.orig_argv[1:]])


def may_start_again(words: Sequence[str], module: Path) -> bool:
    """Whether this is a manager with its texts, and Python has, or may keep, what it compiles without them.

    A command, as in ``arje run``, comes first among the words; a manager has options only. A machine does not wait for its
    pid 1 to compile.
    """
    if words[:1] and not words[0].startswith("-"):
        return False
    if sys.flags.optimize or not sys.executable or sys.dont_write_bytecode:
        return False
    kept = Path(cache_from_source(str(module), optimization=2))
    return kept.exists() or (os.getpid() != 1 and os.access(kept.parent, os.W_OK))
