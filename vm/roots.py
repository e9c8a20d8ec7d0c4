"""A Debian root file system with arje in it, as an image of ext4: Debian's packages, unpacked, and arje beside them.

It has Debian's own programs, libraries and login; Python is the one that this environment has, as in the initramfs.
``/usr/lib/arje/stage0`` is what the initramfs goes on to, and ``init=/usr/bin/arje`` works there as well.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from vm import BUILD, HERE, debian, disk, image, python
from vm.cpio import Tree

PACKAGES: Final = (
    *("base-files", "bash", "dash", "coreutils", "grep", "sed", "procps", "util-linux", "mount", "login", "libc-bin"),
    *("libpam-modules", "libpam-runtime", "libseccomp2", "iproute2", "hostname"),
)
_SIZE: Final = 192 << 20
#: What the packages' own scripts would have written; root has no password.
_PASSWD: Final = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUP: Final = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"


def debian_with_arje() -> Path:
    """Return the image, made when it must be: copy it before a machine writes to it. Raises NoMachine."""
    packages = debian.root(*PACKAGES)
    files = _missing_in(packages)
    made = BUILD / f"root-{packages.name.rpartition('-')[2]}-{image.digest({**files, **image.arje_files()})}.ext4"
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".root-") as directory:
        root = Path(directory, "root")
        shutil.copytree(packages, root, symlinks=True)
        put_arje(root)
        _furnished().unpack(root)
        half = Path(directory, "image")
        disk.make(half, size=_SIZE, tree=root, label="debian")
        for older in BUILD.glob("root-*.ext4"):
            older.unlink(missing_ok=True)
        half.rename(made)
    return made


def image_of(directory: Path, *, with_arje: bool) -> Path:
    """Return an image of a root directory, which is left as it is; it goes with the next one. Raises OSError, NoMachine."""
    made = BUILD / "own-root.ext4"
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".root-") as work:
        root = Path(work, "root")
        subprocess.run(["cp", "-a", "--one-file-system", f"{directory}/.", root], check=True)
        if with_arje:
            put_arje(root)
        said = subprocess.run(["du", "-s", "--block-size=1M", root], capture_output=True, text=True, check=True).stdout
        half = Path(work, "image")
        disk.make(half, size=int(int(said.split()[0]) * 1.3 + 64) << 20, tree=root)
        half.rename(made)
    return made


def put_arje(root: Path) -> None:
    """Put arje into a root directory: its package, Python and the libraries that are not there, and stage 0."""
    image.tree_of(_missing_in(root), source=False).unpack(root)
    image.arje_tree().unpack(root)
    tree = Tree()
    tree.file("/usr/lib/arje/stage0", image.compiled(HERE / "stage0.c"), 0o755)
    tree.link("/usr/bin/python3", python.NAME)
    tree.unpack(root)


def _missing_in(root: Path) -> dict[str, Path]:
    """Return what of the initramfs a root needs: Python, and the libraries that it has not itself."""
    return {name: path for name, path in image.base_files().items() if _belongs(name, root)}


def _belongs(name: str, root: Path) -> bool:
    if name.startswith(("/usr/bin/python", "/usr/lib/python")):
        return True
    return name.startswith((image.LIBRARIES, "/usr/lib64/")) and not (root / name[1:]).exists()


def _furnished() -> Tree:
    tree = Tree()
    for name in ("dev", "proc", "sys", "run", "root", "tmp", "mnt", "boot", "var/lib/arje", "var/cache/arje"):
        tree.directory(f"/{name}", 0o1777 if name == "tmp" else 0o755)
    tree.file("/etc/passwd", _PASSWD.encode())
    tree.file("/etc/shadow", b"root::19000:0:99999:7:::\n", 0o600)
    tree.file("/etc/group", _GROUP.encode())
    tree.file("/etc/hostname", b"debian\n")
    tree.file("/etc/fstab", b"")
    for name in ("auth", "account", "password", "session"):  # pam-auth-update(8) would have written them
        tree.file(f"/etc/pam.d/common-{name}", f"{name} required pam_permit.so\n".encode())
    tree.file("/etc/arje/cards.d/idle.toml", b'[payload]\nexec = "/bin/sleep"\nargv = ["infinity"]\n')
    return tree
