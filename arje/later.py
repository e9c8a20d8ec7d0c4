"""Modules that our libraries import and the manager does not use: they come when somebody asks them for something.

trio imports ssl, hmac and idna for its network streams, structlog asyncio for its asynchronous loggers, and what else there
is belongs to cards that few have; together they are an eighth of a manager's memory. ``importlib.util.LazyLoader`` does not
do: the second ``import`` of a module asks it for ``__spec__``, which loads it. A stand-in here has one of its own, and
every other question makes it the real module: nothing can tell it from one that was imported, but by the time it takes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Final

#: Asked for nothing while the manager is imported. No submodules: one that comes later is no attribute of its package.
UNUSED: Final = (
    *("ssl", "hmac", "asyncio", "idna", "uuid", "base64"),  # of trio and structlog
    *("difflib", "ipaddress", "tempfile", "shutil", "tomllib", "glob"),  # of our own
)


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions, as for __path__
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = importlib.import_module(self.__name__)
        self.__class__ = ModuleType  # type: ignore[assignment] # it never was anything else
        self.__dict__.update(real.__dict__)
        return getattr(real, name)


def put_off(names: Iterable[str] = UNUSED) -> None:
    """Let these modules be imported when they are used. Those that are there already stay."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Later(name)


@contextlib.contextmanager
def no_search_for_threads() -> Iterator[None]:
    """Let trio be imported without a process of its own: it asks ldconfig(8) where the C library is that names threads.

    Pid 1 has no ldconfig in a small root, and elsewhere the answer is always this one (glibc 2.34: one library for all).
    """
    import ctypes.util

    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: "libc.so.6" if name == "pthread" else find(name)
    try:
        yield
    finally:
        ctypes.util.find_library = find
