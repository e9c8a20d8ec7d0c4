"""Python for the machine: the interpreter below this environment's, what of its library a daemon may use, and packages.

Whoever built that interpreter: Debian's python3 with its python3-minimal, or another. Python and its packages lie where a
Python below /usr looks for them. Without OpenSSL, which is 5 MB: nothing of arje's speaks TLS, trio asks for ``ssl`` only
when it is used (arje/later.py), and ``hashlib`` has its sums without it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vm.kernel import NoMachine

VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
NAME: Final = f"python{VERSION}"
STDLIB: Final = f"/usr/lib/{NAME}"
#: What the standard library carries and a machine without a screen, a compiler and tests never imports.
_LEFT_OUT: Final = {
    *("test", "tests", "_tests", "__pycache__", "site-packages", "dist-packages", "idlelib", "tkinter", "turtledemo"),
    *("lib2to3", "ensurepip", "pydoc_data", "distutils", "msilib", "venv", "lib-dynload", "unittest", "wsgiref"),
    *("sqlite3", "curses", "dbm", "xmlrpc", "xml", "multiprocessing"),
}
_LEFT_OUT_FILES: Final = re.compile(
    r"(_test.*|xx.*|_xx.*|_ctypes_test.*|_tkinter.*|_sqlite3.*|_?curses.*|readline.*|nis\..*|_g?dbm.*|_codecs_.*|_ssl\..*"
    r"|_hashlib.*|audioop.*|ossaudiodev.*|pyexpat.*|_elementtree.*|_multiprocessing.*|_crypt\..*)\.so"
    r"|(turtle|pydoc|pdb|doctest|cgi|mailbox|imaplib|nntplib|smtpd|telnetlib|ftplib|poplib|aifc|wave|sunau|pickletools)\.py"
    r"|config-.*"
)
#: cffi's own Python is needed where a module is compiled only; its backend is needed always.
_NOT_IMPORTED: Final = {"cffi", "pycparser"}


def interpreter() -> dict[str, Path]:
    """Return the interpreter and its standard library, by their places in the machine."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    found = {f"/usr/bin/{NAME}": executable}
    stdlib = Path(sysconfig.get_path("stdlib"))
    for directory, below, names in os.walk(stdlib):
        below[:] = [name for name in below if name not in _LEFT_OUT and not name.startswith("config-")]
        for name in names:
            if name.endswith(".py") and not _LEFT_OUT_FILES.fullmatch(name):
                found[f"{STDLIB}/{Path(directory, name).relative_to(stdlib)}"] = Path(directory, name)
    for path in Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so"):
        if not _LEFT_OUT_FILES.fullmatch(path.name):
            found[f"{STDLIB}/lib-dynload/{path.name}"] = path
    return found


def site_packages() -> str:
    """Return where a Python below /usr looks for packages: Debian's has a place of its own."""
    return site.getsitepackages(["/usr"])[-1]


def packages() -> dict[str, Path]:
    """Return the files of every package that arje imports, and of those that these import. Raises NoMachine."""
    found: dict[str, Path] = {}
    waiting, seen = ["arje"], set(_NOT_IMPORTED)
    while waiting:
        package = importlib.metadata.distribution(waiting.pop())
        for line in package.requires or ():
            requirement, _, marker = line.partition(";")
            name = re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")
            if "extra" not in marker and name not in seen and _is_installed(name):
                seen.add(name)
                waiting.append(name)
        if package.name == "arje":
            continue  # it is the other layer
        for file in package.files or ():
            if (
                file.suffix in (".py", ".so")
                and not _LEFT_OUT & set(file.parts)
                and file.parts[:2] != ("pydantic", "v1")
            ):
                found[f"{site_packages()}/{file}"] = Path(str(file.locate()))
    backend = importlib.util.find_spec("_cffi_backend")
    if backend is None or backend.origin is None:
        raise NoMachine("cffi is not installed in this environment: run make")
    found[f"{site_packages()}/{Path(backend.origin).name}"] = Path(backend.origin)
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def sources(top: Path) -> Iterator[Path]:
    """Yield the files of a package that its program needs."""
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name != "__pycache__"]
        yield from (Path(directory, name) for name in names if name.endswith((".py", ".so", ".varlink", ".toml")))
