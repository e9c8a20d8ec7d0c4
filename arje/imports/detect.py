"""Which tool a file or directory is for, by what is in it; and the reader of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports import compose, dinit, openrc, procfile, runit, s6, s6rc, supervisord, sysv
from arje.imports.draft import Place, Read
from arje.imports.ini import is_supervisord
from arje.imports.source import entries, text_of

#: Kind → how one of it is read, and whether it is a directory.
KINDS: Final[dict[str, tuple[Callable[[Path, Read], None], bool]]] = {
    "supervisord": (supervisord.read, False),
    "runit": (runit.read, True),
    "s6": (s6.read, True),
    "s6-rc": (s6rc.read, True),
    "dinit": (dinit.read, False),
    "openrc": (openrc.read, False),
    "sysv": (sysv.read, False),
    "compose": (compose.read, False),
    "procfile": (procfile.read, False),
}
#: What stands in directories of services and is none.
_NO_SERVICES: Final = ("README", "skeleton", "functions.sh", "rc", "rcS", "rc.local", "depend")


def kind_of(path: Path) -> str:
    """Return which tool's a path is; empty for none that is known. Raises CardError."""
    if path.is_dir():
        if s6rc.is_definition(path):
            return "s6-rc"
        return ("s6" if s6.is_directory(path) else "runit") if runit.is_directory(path) else ""
    text = text_of(path)
    first = text.partition("\n")[0]
    tests: tuple[tuple[str, bool], ...] = (
        ("openrc", openrc.is_script(first)),
        ("sysv", sysv.is_script(text)),
        ("compose", compose.is_compose(path, text)),
        ("supervisord", is_supervisord(text)),
        ("procfile", path.name.startswith("Procfile")),
        ("dinit", not first.startswith("#!") and dinit.is_description(text)),
        ("procfile", procfile.is_procfile(text)),
    )
    return next((kind for kind, fits in tests if fits), "")


def read(path: Path, found: Read, kind: str = "", *, depth: int = 0) -> None:
    """Read a path as ``kind``, or as what it looks like; a directory of services is each of its entries."""
    try:
        is_one = (path / "run").exists() or (path / "type").exists()
        if path.is_dir() and depth < 2 and not is_one and not (kind and KINDS[kind][1] and depth):
            for entry in entries(path):
                if _is_service(entry, kind):
                    read(entry, found, kind, depth=depth + 1)
                elif entry.name not in _NO_SERVICES:
                    found.lost(Place(str(entry)), entry.name, "it is no service of a kind that is known here")
            return
        is_kind = kind or kind_of(path)
        if not is_kind:
            found.wrong(Place(str(path)), "it is of no kind that is known here", f"say which: --from {'|'.join(KINDS)}")
            return
        if found.kind not in ("", is_kind):
            found.kind = f"{found.kind}, {is_kind}" if is_kind not in found.kind.split(", ") else found.kind
        else:
            found.kind = is_kind
        if KINDS[is_kind][1] != path.is_dir() and path.exists():
            what = "a directory" if KINDS[is_kind][1] else "a file"
            found.wrong(Place(str(path)), f"{is_kind} has {what} for each service")
            return
        KINDS[is_kind][0](path, found)
    except CardError as error:
        found.problems += error.problems
    except OSError as error:
        found.wrong(Place(str(path)), f"cannot be read: {error.strerror}")


def _is_service(entry: Path, kind: str) -> bool:
    """Whether an entry of a directory is to be read; what nobody would take for a service is passed over, and told."""
    if entry.name in _NO_SERVICES or entry.name.endswith(("~", ".dpkg-dist", ".dpkg-new", ".bak")):
        return False
    if kind:
        return KINDS[kind][1] == entry.is_dir() or entry.is_dir()
    try:
        return bool(kind_of(entry)) or entry.is_dir()
    except CardError:
        return False
