"""Directories made of Debian packages, unpacked and not installed: no root is needed, and nothing of theirs is run.

apt fetches them; what is fetched stays in ``.build/debs``, and a directory of the same packages is made once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from vm import BUILD
from vm.kernel import NoMachine

#: What asks questions while it is installed, or installs: others depend on it only for that.
_LEFT_OUT: Final = {
    *(
        "debconf",
        "cdebconf",
        "dpkg",
        "tar",
        "install-info",
        "readline-common",
        "libnewt0.52",
        "libslang2",
        "libtextwrap1",
    ),
    *("libdebian-installer4", "perl-base", "gcc-12-base", "gcc-14-base", "adduser"),
}
_DEPENDS: Final = (
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
)
#: Nobody reads it in a machine that lives for seconds.
_NOT_UNPACKED: Final = (
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/info",
    "./usr/share/lintian",
)


def root(*packages: str) -> Path:
    """Return a directory with packages and all that they depend on, /usr merged. Raises NoMachine."""
    try:
        files = _fetched(_closure(packages))
        made = BUILD / f"debian-{hashlib.sha256(' '.join(file.name for file in files).encode()).hexdigest()[:16]}"
        if not made.exists():
            _unpack(files, made)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or b""
        words = said.decode(errors="replace").strip() if isinstance(said, bytes) else str(said)
        raise NoMachine(f"apt could not fetch {', '.join(packages)}: {words or error}") from error
    return made


def _closure(packages: tuple[str, ...]) -> list[str]:
    command = ["apt-cache", "depends", "--recurse", *_DEPENDS, *packages]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.partition(":")[0] for line in said if line and line[0] not in " <|"}
    return sorted(names - _LEFT_OUT)


def _fetched(names: list[str]) -> list[Path]:
    """Return the packages' files, of the versions that apt would install."""
    shelf = BUILD / "debs"
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:  # of what lies where it would go, apt does not speak
        ask = ["apt-get", "download", "--print-uris", *names]
        said = subprocess.run(ask, cwd=empty, capture_output=True, text=True, check=True).stdout
    wanted = {line.split()[1]: line.split()[1].partition("_")[0] for line in said.splitlines() if line.startswith("'")}
    missing = [name for file, name in wanted.items() if not (shelf / file).exists()]
    if missing:
        subprocess.run(["apt-get", "download", "-qq", *missing], cwd=shelf, capture_output=True, check=True)
    return [shelf / file for file in sorted(wanted)]


def _unpack(files: list[Path], made: Path) -> None:
    """Unpack into a directory, moved into place whole."""
    half = made.with_name(f".{made.name}.{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    (half / "usr").mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (half / "usr" / name).mkdir()
        (half / name).symlink_to(f"usr/{name}")
    for file in files:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as package:
            words = [
                "tar",
                "-x",
                "--keep-directory-symlink",
                "-C",
                str(half),
                *(f"--exclude={e}" for e in _NOT_UNPACKED),
            ]
            subprocess.run(words, stdin=package.stdout, capture_output=True, check=True)
    half.rename(made)
