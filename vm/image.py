"""``vm/build``: the initramfs, in two layers that the kernel unpacks one over the other: what rarely changes, and arje.

base: Python with its standard library, the packages that arje imports, shared libraries, busybox, modules, stage 0.
arje: arje with its compiled module, the guest's init, the scenarios. Each layer is made anew when the contents of its
inputs have changed. The layout is Debian's, with /usr merged; Python and its packages lie where a Python below /usr looks.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vm import BUILD, HERE, bytecode, kernel
from vm.cpio import Tree

ROOT: Final = HERE.parent
MODULES: Final = ("overlay", "veth", "brd")
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
STDLIB: Final = f"/usr/lib/{PYTHON}"
LIBRARIES: Final = "/usr/lib/x86_64-linux-gnu"
#: What the standard library carries and a machine without a screen, a compiler and tests never imports.
_LEFT_OUT: Final = {
    *("test", "tests", "_tests", "__pycache__", "site-packages", "dist-packages", "idlelib", "tkinter", "turtledemo"),
    *("lib2to3", "ensurepip", "pydoc_data", "distutils", "msilib", "venv", "lib-dynload", "unittest", "wsgiref"),
}
_LEFT_OUT_FILES: Final = re.compile(r"(_test.*|xx.*|_xx.*|_ctypes_test.*|_tkinter.*)\.so|turtle\.py|config-.*")
#: What a scenario has in common with the tests outside.
_MATRIX: Final = ("__init__", "rows", "driver", "judge", "witness")
#: cffi's own Python is needed where a module is compiled only; its backend is needed always.
_NOT_IMPORTED: Final = {"cffi", "pycparser"}


def initramfs() -> Path:
    """Return the initramfs of this working tree, made anew where it must be. Raises NoMachine, CalledProcessError."""
    BUILD.mkdir(exist_ok=True)
    base, arje = _base(), _arje()
    whole = BUILD / f"initramfs-{base.stem.rpartition('-')[2]}-{arje.stem.rpartition('-')[2]}.cpio"
    if not whole.exists():
        _replace(whole, base.read_bytes() + arje.read_bytes(), "initramfs-*.cpio")
    return whole


def vmlinux() -> Path:
    """Return the uncompressed kernel. Raises NoMachine."""
    BUILD.mkdir(exist_ok=True)
    image = kernel.find().image.read_bytes()
    path = BUILD / f"vmlinux-{_digest_of([image])}"
    if not path.exists():
        _replace(path, kernel.vmlinux(image), "vmlinux-*")
    return path


def _replace(path: Path, data: bytes, older: str) -> None:
    """Write a file whole, and remove the ones that it replaces."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(data)
    half.rename(path)
    for other in BUILD.glob(older):
        if other != path:
            other.unlink(missing_ok=True)


def _digest_of(contents: list[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


def _digest(files: dict[str, Path]) -> str:
    """The digest of files by what they are called in the machine and what they hold, and of what makes images of them."""
    makers = [(HERE / name).read_bytes() for name in ("image.py", "cpio.py", "bytecode.py", "kernel.py")]
    return _digest_of(
        [*makers, *(part for name in sorted(files) for part in (name.encode(), files[name].read_bytes()))]
    )


def _base() -> Path:
    files = {**_python(), **_packages(), **_programs(), "/init": HERE / "stage0.c"}
    linux = kernel.find()
    order = kernel.modules(linux, MODULES)
    files |= {f"/usr/lib/modules/{linux.release}/{name}.ko": path for name, path in order}
    known = BUILD / "libraries.json"  # looking for them is slow: those of the last time are inputs of this time
    direct = _digest(files)
    libraries = json.loads(known.read_text()).get(direct) if known.exists() else None
    if libraries is None or not all(Path(path).exists() for path in libraries.values()):
        libraries = _shared_libraries(files)
        known.write_text(json.dumps({direct: libraries}))
    files |= {name: Path(path) for name, path in libraries.items()}
    path = BUILD / f"base-{_digest(files)}.cpio"
    if not path.exists():
        tree = _tree(files, source=False)
        tree.file(
            "/etc/modules", "".join(f"/usr/lib/modules/{linux.release}/{name}.ko\n" for name, _ in order).encode()
        )
        _furnish(tree)
        _replace(path, tree.encode(), "base-*.cpio")
    return path


def _arje() -> Path:
    places = _site_packages()
    files = {f"{places}/arje/{path.relative_to(ROOT / 'arje')}": path for path in _sources(ROOT / "arje")}
    for name in ("guest", "scenarios"):
        files |= {f"{places}/vm/{path.relative_to(HERE)}": path for path in _sources(HERE / name)}
    files |= {f"{places}/tests/matrix/{name}.py": ROOT / "tests/matrix" / f"{name}.py" for name in _MATRIX}
    files[f"{places}/vm/__init__.py"] = HERE / "__init__.py"
    path = BUILD / f"arje-{_digest(files)}.cpio"
    if not path.exists():
        _replace(path, _tree(files, source=True).encode(), "arje-*.cpio")
    return path


def _sources(top: Path) -> Iterator[Path]:
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name != "__pycache__"]
        yield from (Path(directory, name) for name in names if name.endswith((".py", ".so", ".varlink")))


def _python() -> dict[str, Path]:
    """The interpreter below this environment's, whoever built it, and its standard library."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    found = {f"/usr/bin/{PYTHON}": executable}
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


def _site_packages() -> str:
    """Where a Python below /usr looks for packages: Debian's has a place of its own."""
    return site.getsitepackages(["/usr"])[-1]


def _packages() -> dict[str, Path]:
    """The files of every package that arje imports, and of those that these import."""
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
            if file.suffix in (".py", ".so") and not _LEFT_OUT & set(file.parts):
                found[f"{_site_packages()}/{file}"] = Path(str(file.locate()))
    backend = importlib.util.find_spec("_cffi_backend")
    if backend is None or backend.origin is None:
        raise kernel.NoMachine("cffi is not installed in this environment: run make")
    found[f"{_site_packages()}/{Path(backend.origin).name}"] = Path(backend.origin)
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _programs() -> dict[str, Path]:
    busybox = next((path for path in map(Path, ("/bin/busybox", "/usr/bin/busybox")) if path.exists()), None)
    if busybox is None:
        raise kernel.NoMachine("busybox is not installed: run tools/packages")
    if b"/ld-linux" in busybox.read_bytes()[:4096]:  # its interpreter; tools/packages does not replace what is there
        raise kernel.NoMachine(f"{busybox} needs shared libraries, which a small root has not: install busybox-static")
    return {"/usr/bin/busybox": busybox.resolve()}


def _shared_libraries(files: dict[str, Path]) -> dict[str, str]:
    """What ldd(1) finds for every program and module, by its place in the machine."""
    elves = [str(path) for name, path in files.items() if name.endswith(".so") or name.startswith("/usr/bin/")]
    said = subprocess.run(["ldd", *elves], capture_output=True, text=True, check=False).stdout
    found = {}
    for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE):
        loader = path.startswith("/lib64/")
        found[f"/usr/lib64/{Path(path).name}" if loader else f"{LIBRARIES}/{Path(path).name}"] = path
    return dict(sorted(found.items()))


def _tree(files: dict[str, Path], *, source: bool) -> Tree:
    """Put files into a tree; Python's as byte code, and where ``source`` is set with the text that a traceback shows."""
    tree = Tree()
    texts = {name: path for name, path in files.items() if name.endswith(".py")}
    cached = sys.implementation.cache_tag
    for name, code in bytecode.compiled(texts).items():
        place = Path(name)
        beside = place.parent / "__pycache__" / f"{place.stem}.{cached}.pyc"
        tree.file(str(beside) if source else f"{name}c", code)
    for name, path in files.items():
        if name == "/init":
            tree.file(name, _stage0(path), 0o755)
        elif name.endswith(".ko"):
            tree.file(name, kernel.unpacked(path.read_bytes()))
        elif source or name not in texts:
            tree.file(name, _without_symbols(path), 0o755 if os.access(path, os.X_OK) else 0o644)
    return tree


def _without_symbols(path: Path) -> bytes:
    """Return a file without what only a debugger reads, a third of some Pythons."""
    data = path.read_bytes()
    if not data.startswith(b"\x7fELF") or b".debug_info\0" not in data:
        return data
    return _output("strip", "--strip-debug", path)


def _stage0(source: Path) -> bytes:
    """Compile stage 0, static and small."""
    return _output("gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", source)


def _output(*command: str | Path) -> bytes:
    """Run a command that writes the file behind its ``-o``, and return what it wrote. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "out")
        subprocess.run([*command, "-o", out], check=True)
        return out.read_bytes()


def _furnish(tree: Tree) -> None:
    """What else a root directory has: a merged /usr, mount points, two users, and busybox under all its names."""
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.directory(f"/usr/{name}")
        tree.link(f"/{name}", f"usr/{name}")
    for name in ("dev", "proc", "sys", "run", "mnt", "srv", "root"):
        tree.directory(f"/{name}")
    tree.directory("/tmp", 0o1777)
    tree.character_device("/dev/console", 0o600, 5, 1)
    tree.link(f"/usr/bin/{PYTHON.partition('.')[0]}", PYTHON)
    tree.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    tree.file("/etc/group", b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if f"/usr/bin/{name}" not in tree.entries:
            tree.link(f"/usr/bin/{name}", "busybox")


def main() -> int:
    """Make both and print their paths and sizes."""
    try:
        for path in (vmlinux(), initramfs()):
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size >> 20} MiB")
    except kernel.NoMachine as error:
        print(f"vm/build: {error}", file=sys.stderr)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
