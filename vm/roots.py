"""A Debian root file system with arje in it, as an image of ext4: Debian's packages, unpacked, and arje beside them.

It has Debian's own programs, libraries and login; Python is the one that this environment has, as in the initramfs.
``/usr/lib/arje/stage0`` is what the initramfs goes on to, and ``init=/usr/bin/arje`` works there as well.
"""

from __future__ import annotations

import shutil
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
    files = {name: path for name, path in image.base_files().items() if _belongs(name, packages)}
    made = BUILD / f"root-{packages.name.rpartition('-')[2]}-{image.digest({**files, **image.arje_files()})}.ext4"
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".root-") as directory:
        root = Path(directory, "root")
        shutil.copytree(packages, root, symlinks=True)
        for tree in (image.tree_of(files, source=False), image.arje_tree(), _furnished()):
            tree.unpack(root)
        half = Path(directory, "image")
        disk.make(half, size=_SIZE, tree=root, label="debian")
        for older in BUILD.glob("root-*.ext4"):
            older.unlink(missing_ok=True)
        half.rename(made)
    return made


def _belongs(name: str, packages: Path) -> bool:
    """Whether a file of the initramfs belongs here: Python, and the libraries that Debian's packages did not bring."""
    if name.startswith(("/usr/bin/python", "/usr/lib/python")):
        return True
    return name.startswith((image.LIBRARIES, "/usr/lib64/")) and not (packages / name[1:]).exists()


def _furnished() -> Tree:
    tree = Tree()
    for name in ("dev", "proc", "sys", "run", "root", "tmp", "mnt", "boot", "var/lib/arje", "var/cache/arje"):
        tree.directory(f"/{name}", 0o1777 if name == "tmp" else 0o755)
    tree.file("/usr/lib/arje/stage0", image.compiled(HERE / "stage0.c"), 0o755)
    tree.link("/usr/bin/python3", python.NAME)
    tree.file("/etc/passwd", _PASSWD.encode())
    tree.file("/etc/shadow", b"root::19000:0:99999:7:::\n", 0o600)
    tree.file("/etc/group", _GROUP.encode())
    tree.file("/etc/hostname", b"debian\n")
    tree.file("/etc/fstab", b"")
    for name in ("auth", "account", "password", "session"):  # pam-auth-update(8) would have written them
        tree.file(f"/etc/pam.d/common-{name}", f"{name} required pam_permit.so\n".encode())
    tree.file("/etc/arje/cards.d/idle.toml", b'[payload]\nexec = "/bin/sleep"\nargv = ["infinity"]\n')
    return tree
