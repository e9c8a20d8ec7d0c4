"""A Debian kernel for the machine: found in /boot, or fetched with apt; its vmlinux; and the modules that are used.

Fetched means unpacked, not installed: it needs neither root nor an initramfs of its own, and what no virtual machine has
(sound, screens, radio) is left in the package. QEMU gets the uncompressed vmlinux through its PVH entry: the emulated
processor would need seconds to unpack it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from vm import BUILD

PACKAGE: Final = "linux-image-amd64"
_NOT_UNPACKED: Final = ("drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband", "drivers/iio", "sound")
#: How a compressed file begins, and the program that unpacks it; what lies behind the end is passed over.
_UNPACKERS: Final[dict[bytes, tuple[str, ...]]] = {
    b"\xfd7zXZ\0": ("xz", "-dc", "--single-stream"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq"),
    b"\x1f\x8b\x08": ("gzip", "-dcq"),
}


class NoMachine(Exception):
    """What a virtual machine needs is not here, and could not be had; the text says what to do."""


class Kernel(NamedTuple):
    """One kernel of Debian's: its release, the compressed image, and the directory of its modules."""

    release: str
    image: Path
    modules: Path


def find() -> Kernel:
    """Return the newest kernel of this machine, or fetch one. Raises NoMachine."""
    fetched = BUILD / "kernel"
    for root in (Path("/"), fetched):
        if kernels := sorted(_kernels(root), key=lambda kernel: _version(kernel.release)):
            return kernels[-1]
    _fetch(fetched)
    return max(_kernels(fetched), key=lambda kernel: _version(kernel.release))


def _kernels(root: Path) -> list[Kernel]:
    found = []
    for image in (root / "boot").glob("vmlinuz-*-amd64"):
        release = image.name.removeprefix("vmlinuz-")
        modules = root / "lib/modules" / release / "kernel"
        if modules.is_dir():
            found.append(Kernel(release, image, modules))
    return found


def _version(release: str) -> list[int]:
    return [int(part) for part in release.replace("-", ".").split(".") if part.isdigit()]


def _fetch(into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    try:
        names = subprocess.run(["apt-cache", "depends", PACKAGE], capture_output=True, text=True, check=True).stdout
        name = next(word for word in names.split() if word.startswith("linux-image-") and word != PACKAGE)
        subprocess.run(["apt-get", "download", "-qq", name], cwd=into, capture_output=True, check=True)
        (package,) = into.glob(f"{name}_*.deb")
        _unpack(package, into)
        package.unlink()
    except (OSError, subprocess.CalledProcessError, StopIteration, ValueError) as error:
        said = getattr(error, "stderr", b"") or b""
        words = said.decode(errors="replace").strip() if isinstance(said, bytes) else str(said)
        raise NoMachine(f"no Debian kernel here, and apt could not fetch {PACKAGE}: {words or error}") from error


def _unpack(package: Path, into: Path) -> None:
    """Extract a package's kernel; moved into place whole."""
    unpack = ["dpkg-deb", "--fsys-tarfile", str(package)]
    left_out = [f"--exclude=*/kernel/{directory}" for directory in _NOT_UNPACKED]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE) as tarfile:
        half = into / "half"
        half.mkdir(exist_ok=True)
        extract = ["tar", "-x", "-C", str(half), *left_out, "./boot", "./lib/modules"]
        subprocess.run(extract, stdin=tarfile.stdout, capture_output=True, check=True)
    for name in ("boot", "lib"):
        (half / name).rename(into / name)
    half.rmdir()


def vmlinux(image: bytes) -> bytes:
    """Return the ELF kernel inside a bzImage (kernel: arch/x86/boot, "payload_offset"). Raises ValueError, NoMachine."""
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")
    begin = (image[0x1F1] + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    length = int.from_bytes(image[0x24C:0x250], "little")
    kernel = unpacked(image[begin : begin + length - 4])  # the last word is the unpacked size
    if not kernel.startswith(b"\x7fELF"):
        raise ValueError("the bzImage holds no ELF kernel")
    return kernel


def unpacked(data: bytes) -> bytes:
    """Return what compressed data holds; data that is not compressed as it is. Raises NoMachine."""
    command = next((command for magic, command in _UNPACKERS.items() if data.startswith(magic)), None)
    if command is None:
        return data
    try:
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise NoMachine(f"{command[0]} is not installed") from error


def modules(kernel: Kernel, names: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Return the named modules and what they need, in the order in which they are to be loaded; built-in ones are none."""
    files = {_name(path): path for path in kernel.modules.rglob("*.ko*")}
    order: dict[str, Path] = {}

    def take(name: str) -> None:
        if name in order or name not in files:
            return
        for needed in _depends(unpacked(files[name].read_bytes())):
            take(needed)
        order[name] = files[name]

    for name in names:
        take(name)
    return list(order.items())


def place(kernel: Kernel, name: str) -> str:
    """Return where a module lies in the machine."""
    return f"/usr/lib/modules/{kernel.release}/kernel/{name}.ko"


def indexes(modules: dict[str, Path]) -> dict[str, str]:
    """Return what modprobe(8) looks modules up in: ``modules.dep`` and ``modules.alias``, of these alone.

    ``modules`` is in the order of loading; modules.dep has what a module needs the other way round.
    """
    needs, aliases = "", ""
    for name, path in modules.items():
        module = unpacked(path.read_bytes())
        needed = _closure(name, modules)
        deeper = [other for other in reversed(modules) if other in needed]
        needs += " ".join([f"kernel/{name}.ko:", *(f"kernel/{other}.ko" for other in deeper)]) + "\n"
        aliases += "".join(f"alias {alias} {name}\n" for alias in _said(module, b"alias"))
    return {"modules.dep": needs, "modules.alias": aliases}


def _closure(name: str, modules: dict[str, Path]) -> set[str]:
    """Everything that a module needs."""
    direct = {other for other in _depends(unpacked(modules[name].read_bytes())) if other in modules}
    return direct.union(*(_closure(other, modules) for other in direct))


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _depends(module: bytes) -> list[str]:
    return [name.replace("-", "_") for text in _said(module, b"depends") for name in text.split(",") if name]


def _said(module: bytes, name: bytes) -> list[str]:
    """Every ``name=text`` of a module's .modinfo: strings that end in NUL."""
    return [text.decode() for text in re.findall(rb"\0" + name + rb"=([^\0]*)(?=\0)", module)]
