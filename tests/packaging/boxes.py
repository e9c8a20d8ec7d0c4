"""A Debian of its own for a test: made once by mmdebstrap and kept, written to in a layer that goes with the test.

Each command runs in mount, pid, uts and ipc namespaces of its own, chrooted; what it writes stays for the next one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from ship import BUILD, run

#: What each root has beyond Debian's essential packages.
ROOTS: Final = {
    "python": ("python3",),
    "compiler": ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev"),
}
_ENTER: Final = """set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t tmpfs tmpfs dev
for each in null zero full random urandom tty; do : >dev/$each; mount --bind /dev/$each dev/$each; done
mkdir dev/shm dev/pts && chmod 1777 dev/shm
ln -s /proc/self/fd dev/fd
cp -L /etc/resolv.conf etc/resolv.conf
shift 2
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \\
    chroot . "$@"
"""


def root(name: str) -> Path:
    """Return the directory of a Debian with these packages. Raises CannotShip where it cannot be had."""
    packages = ROOTS[name]
    key = hashlib.sha256(" ".join(("bookworm", *packages)).encode()).hexdigest()[:8]
    place = BUILD / f"debian-{name}-{key}"
    if not place.exists():
        fresh = place.with_name(place.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        words = [
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            "--aptopt=Apt::Install-Recommends false",
        ]
        run("mmdebstrap", *words, "--dpkgopt=force-unsafe-io", "bookworm", fresh)
        fresh.rename(place)
    return place


class Box:
    """A root with a layer to write in. ``user``: in a user namespace as well, where root is root of the box alone."""

    def __init__(self, lower: Path, directory: Path) -> None:
        self.lower = lower
        self.directory = directory
        for name in ("upper", "work", "root"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    def command(self, *words: str, user: bool = False) -> list[str]:
        """Return the command line that runs a program in the box, as process 1 of it."""
        ids = ("--user", "--map-root-user") if user else ()
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL")
        return ["unshare", *ids, *spaces, "sh", "-c", _ENTER, "sh", str(self.lower), str(self.directory), *words]

    def sh(self, script: str, *, check: bool = True, timeout: float = 300) -> str:
        """Run a script in the box and return what it says."""
        words = self.command("/bin/sh", "-ec", script)
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def copy(self, source: Path, target: str) -> None:
        """Put a file or a directory into the box."""
        upper = self.directory / "upper"
        place = upper / target.lstrip("/")
        for parent in reversed(place.relative_to(upper).parents[:-1]):
            (upper / parent).mkdir(exist_ok=True)
            if (self.lower / parent).is_dir():  # /tmp stays everybody's
                shutil.copystat(self.lower / parent, upper / parent)
        shutil.copytree(source, place, dirs_exist_ok=True) if source.is_dir() else shutil.copyfile(source, place)

    def files(self) -> set[str]:
        """Return every path that the box has beyond its root, removals included."""
        upper = self.directory / "upper"
        return {f"/{path.relative_to(upper)}" for path in upper.rglob("*") if not path.is_dir() or path.is_symlink()}
