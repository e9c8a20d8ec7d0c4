"""``vm/build``: the initramfs, in two layers that the kernel unpacks one over the other: what rarely changes, and arje.

base: Python with its standard library, the packages that arje imports, shared libraries, busybox, modules, stage 0.
arje: arje with its compiled module and what its imports compile, the guest's init, the scenarios. What one machine has
beside that, its cards above all, is a third layer (``layer.py``). Each is made anew when the contents of its inputs have
changed, and the same inputs give the same bytes. The layout is Debian's, with /usr merged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from vm import BUILD, HERE, bytecode, kernel, python
from vm.cpio import Tree

ROOT: Final = HERE.parent
#: Loaded by stage 0 where there is such a device, as nothing asks for them; the others come by modprobe(8) when wanted.
LOADED: Final = ("virtio_pci", "virtio_blk")
ON_DEMAND: Final = ("brd", "overlay", "veth", "bridge", "ext4", "crc32c_generic", "virtio_net", "i6300esb")
LIBRARIES: Final = "/usr/lib/x86_64-linux-gnu"
#: Opened by name when a card has a filter: no program is linked with it.
_SECCOMP: Final = f"{LIBRARIES}/libseccomp.so.2"
#: What a scenario has in common with the tests outside.
_MATRIX: Final = ("__init__", "rows", "driver", "judge", "witness")
_COMMAND: Final = "#!/usr/bin/python3 -Es\nfrom arje.{}.main import main\n\nraise SystemExit(main())\n"
#: What arje cannot start without; stage 0 looks for them, because what Python and the kernel say of it helps nobody.
_NEEDS: Final = (
    *("/usr/bin/python3", f"{python.STDLIB}/encodings/__init__.pyc", f"{python.STDLIB}/os.pyc"),
    *(
        f"{python.site_packages()}/{name}"
        for name in ("arje/__main__.py", "trio/__init__.pyc", "structlog/__init__.pyc")
    ),
)


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
    return hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in contents)).hexdigest()[:16]


def digest(files: dict[str, Path]) -> str:
    """Return what tells one set of inputs from another: every path and content, and the programs that pack them."""
    names = ("image.py", "python.py", "cpio.py", "bytecode.py", "kernel.py")
    makers = [sys.version.encode(), *((HERE / name).read_bytes() for name in names)]
    return _digest_of(
        [*makers, *(part for name in sorted(files) for part in (name.encode(), files[name].read_bytes()))]
    )


def base_files() -> dict[str, Path]:
    """Return what the base layer has, by their places in the machine. Raises NoMachine."""
    files = {**python.interpreter(), **python.packages(), **_programs(), "/init": HERE / "stage0.c"}
    linux = kernel.find()
    files |= {kernel.place(linux, name): path for name, path in kernel.modules(linux, (*LOADED, *ON_DEMAND))}
    known = BUILD / "libraries.json"  # looking for them is slow: those of the last time are inputs of this time
    direct = digest(files)
    libraries = json.loads(known.read_text()).get(direct) if known.exists() else None
    if libraries is None or not all(Path(path).exists() for path in libraries.values()):
        libraries = _shared_libraries(files)
        half = known.with_name(f".{known.name}.{os.getpid()}")
        half.write_text(json.dumps({direct: libraries}))
        half.rename(known)
    return files | {name: Path(path) for name, path in libraries.items()}


def _base() -> Path:
    files = base_files()
    path = BUILD / f"base-{digest(files)}.cpio"
    if not path.exists():
        tree = tree_of(files, source=False)
        linux = kernel.find()
        loaded = [name for name, _ in kernel.modules(linux, LOADED)]
        modules = dict(kernel.modules(linux, (*LOADED, *ON_DEMAND)))
        libraries = [name for name in files if name.startswith((LIBRARIES, "/usr/lib64/"))]
        tree.file("/etc/modules", "".join(f"{kernel.place(linux, name)}\n" for name in loaded).encode())
        for name, text in kernel.indexes(modules).items():
            tree.file(f"/usr/lib/modules/{linux.release}/{name}", text.encode())
        tree.file("/etc/arje/needs", "".join(f"{name}\n" for name in (*_NEEDS, *libraries)).encode())
        furnish(tree)
        _replace(path, tree.encode(), "base-*.cpio")
    return path


def _arje() -> Path:
    path = BUILD / f"arje-{digest(arje_files())}.cpio"
    if not path.exists():
        _replace(path, arje_tree().encode(), "arje-*.cpio")
    return path


def arje_files() -> dict[str, Path]:
    """Return arje's own files, the guest's and the scenarios', by their places in the machine."""
    places = python.site_packages()
    files = {f"{places}/arje/{path.relative_to(ROOT / 'arje')}": path for path in python.sources(ROOT / "arje")}
    for name in ("guest", "scenarios", "probes"):
        files |= {f"{places}/vm/{path.relative_to(HERE)}": path for path in python.sources(HERE / name)}
    files |= {f"{places}/tests/matrix/{name}.py": ROOT / "tests/matrix" / f"{name}.py" for name in _MATRIX}
    files[f"{places}/vm/__init__.py"] = HERE / "__init__.py"
    return files


def arje_tree() -> Tree:
    """Return arje as it is installed: its package with byte code and what its imports compile, and its two commands."""
    tree = tree_of(arje_files(), source=True)
    with tempfile.TemporaryDirectory() as directory:
        codes = Path(directory, "codes")
        environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-E", "-s", "-m", "arje.init.shelving", str(codes)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        tree.file(f"{python.site_packages()}/arje/readymade.codes", codes.read_bytes())
    for name, package in {"arje": "init", "arjectl": "ctl"}.items():
        tree.file(f"/usr/bin/{name}", _COMMAND.format(package).encode(), 0o755)
    return tree


def _programs() -> dict[str, Path]:
    busybox = next((path for path in map(Path, ("/bin/busybox", "/usr/bin/busybox")) if path.exists()), None)
    if busybox is None:
        raise kernel.NoMachine("busybox is not installed: run tools/packages")
    if b"/ld-linux" in busybox.read_bytes()[:4096]:  # its interpreter; tools/packages does not replace what is there
        raise kernel.NoMachine(f"{busybox} needs shared libraries, which a small root has not: install busybox-static")
    return {"/usr/bin/busybox": busybox.resolve()}


def _shared_libraries(files: dict[str, Path]) -> dict[str, str]:
    """What ldd(1) finds for every program and module, by its place in the machine; and libseccomp, where there is one."""
    elves = [str(path) for name, path in files.items() if name.endswith(".so") or name.startswith("/usr/bin/")]
    said = subprocess.run(["ldd", *elves], capture_output=True, text=True, check=False).stdout
    found = {_SECCOMP: _SECCOMP} if Path(_SECCOMP).exists() else {}
    for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE):
        loader = path.startswith("/lib64/")
        found[f"/usr/lib64/{Path(path).name}" if loader else f"{LIBRARIES}/{Path(path).name}"] = path
    return dict(sorted(found.items()))


def tree_of(files: dict[str, Path], *, source: bool) -> Tree:
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
            tree.file(name, compiled(path), 0o755)
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


def compiled(source: Path) -> bytes:
    """Compile a program of one file, static and small. Raises CalledProcessError."""
    return _output("gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", source)


def compiled_text(text: str) -> bytes:
    """Compile the text of a program, static and small. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program.c")
        path.write_text(text)
        return compiled(path)


def _output(*command: str | Path) -> bytes:
    """Run a command that writes the file behind its ``-o``, and return what it wrote. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "out")
        subprocess.run([*command, "-o", out], check=True)
        return out.read_bytes()


def furnish(tree: Tree) -> None:
    """What else a root directory has: a merged /usr, mount points, two users, and busybox under all its names."""
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.directory(f"/usr/{name}")
        tree.link(f"/{name}", f"usr/{name}")
    for name in ("dev", "proc", "sys", "run", "mnt", "srv", "root", "var/lib/arje", "var/cache/arje"):
        tree.directory(f"/{name}")
    tree.directory("/tmp", 0o1777)
    tree.character_device("/dev/console", 0o600, 5, 1)
    tree.link("/usr/bin/python3", python.NAME)
    tree.file("/etc/passwd", b"root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    tree.file("/etc/group", b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
    tree.file("/etc/hostname", b"arje\n")
    tree.file(
        "/etc/profile", b"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin\n"
    )  # Python looks from there
    tree.file("/etc/securetty", b"console\nttyS0\ntty1\n")
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if f"/usr/bin/{name}" not in tree.entries:
            tree.link(f"/usr/bin/{name}", "busybox")
    tree.link("/usr/sbin/modprobe", "../bin/busybox")  # where the kernel looks for it


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
