"""``make deb``: a package that needs nothing but Debian's Python, as it carries the rest of what arje imports.

Debian 12's trio, pydantic, structlog and cffi are too old for arje. So ``/usr/lib/arje/python`` is a tree of its own:
arje's wheel, and the wheels of ``vendor.txt`` without what only their developers use. The commands in /usr/bin look there
and at the standard library, nowhere else (``python3 -I -S``): they start fast, and no pip install changes what is imported.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path

from ship import BUILD, DIST, CannotShip, run, wheel
from ship.deb import control, tree

HERE = Path(__file__).parent
#: The Python of the Debian that the package is for.
PYTHON = "/usr/bin/python3"


def build() -> Path:
    """Return the .deb for this machine's Debian and architecture. Raises CannotShip."""
    built = wheel.wheel()
    arch = run("dpkg", "--print-architecture").strip()
    python = run(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    target = DIST / wheel.state() / f"arje_{control.version()}_{arch}.deb"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=BUILD) as directory:
        root = Path(directory, "arje")
        site = root / "usr/lib/arje/python"
        _unzip(built, site)
        vendored = vendor(python)
        for each in vendored:
            _unzip(each, site)
        licenses = tree.licenses(site)
        tree.trim(site)
        tree.lay(root, site)
        _deliver(root, control.texts(arch, python, _libraries(site), licenses, tree.size(root)))
        made = target.with_suffix(".tmp")
        tree.settle(root, int(os.environ["SOURCE_DATE_EPOCH"]))
        run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, made)
        made.rename(target)
    return target


def _deliver(root: Path, texts: dict[str, str]) -> None:
    """Write the control files; what begins with # is a script."""
    (root / "DEBIAN").mkdir()
    for name, text in texts.items():
        path = root / "DEBIAN" / name if "/" not in name else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    tree.compress(root)
    sums = "".join(
        f"{control.digest(path)}  {path.relative_to(root)}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.parts
    )
    (root / "DEBIAN/md5sums").write_text(sums)


def vendor(python: str) -> list[Path]:
    """Return the wheels that the package carries, from the directory of downloads or from PyPI, their hashes checked."""
    text = HERE / "vendor.txt"
    into = BUILD / f"vendor-{python}-{platform.machine()}-{control.digest(text)[:8]}"
    if not (into / ".ready").exists():
        shutil.rmtree(into, ignore_errors=True)
        pip = [wheel.tools(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        which = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
        platforms = [f"--platform=manylinux{tag}_{platform.machine()}" for tag in ("_2_28", "_2_17", "2014")]
        run(*map(str, pip), *which, *platforms, "--require-hashes", "-r", text, "-d", into)
        (into / ".ready").touch()
    return sorted(into.glob("*.whl"))


def _unzip(archive: Path, into: Path) -> None:
    """Unpack a wheel: what it would put beside the packages (commands, pages) is laid out elsewhere."""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if ".data/" not in name]
        opened.extractall(into, names)


def _libraries(site: Path) -> str:
    """Return the Debian packages whose libraries the compiled modules need (dpkg-shlibdeps(1))."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "debian").mkdir()
        (Path(directory) / "debian/control").write_text("Source: arje\n\nPackage: arje\nArchitecture: any\n")
        found = run("dpkg-shlibdeps", "-O", *(f"-e{path}" for path in site.rglob("*.so")), cwd=Path(directory))
    name, _, needed = found.strip().partition("=")
    if name != "shlibs:Depends":
        raise CannotShip(f"dpkg-shlibdeps says {found!r}")
    return needed
