"""What the .deb holds: where each file goes, what is left out of the carried packages, owners and times."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Final

from ship import ROOT, run, wheel

#: Of the carried packages: what only their developers, type checkers and test runs use.
_LEFT_OUT: Final = (
    *("*.dist-info", "cffi", "pycparser", "trio/_tests", "trio/testing", "*/py.typed", "**/*.pyi", "**/*.c", "**/*.h"),
    *("pydantic/v1", "pydantic/mypy.py", "pydantic/_hypothesis_plugin.py", "_cffi_backend.pyi", "cffi-stubs"),
    *("trio/_core/_tests", "trio/_tools"),
)
_LAUNCHER: Final = """#!/usr/bin/python3 -IS
import sys

sys.dont_write_bytecode = True  # all of ours is compiled; what else would be, no package owns
sys.path.insert(0, "/usr/lib/arje/python")
from {module} import {function}

sys.exit({function}())
"""
_COMMANDS: Final = {"arje": ("arje.init.main", "command"), "arjectl": ("arje.ctl.main", "run")}
#: File of the tree → its place in the package.
_FILES: Final = {
    "ship/login/arje.sh": "etc/profile.d/arje.sh",
    "ship/login/60arje": "etc/X11/Xsession.d/60arje",
    "ship/units/arje.system.service": "lib/systemd/system/arje.service",
    "ship/units/arje.user.service": "usr/lib/systemd/user/arje.service",
    "docs/man/arje.8": "usr/share/man/man8/arje.8",
    "docs/man/arjectl.1": "usr/share/man/man1/arjectl.1",
    "docs/man/arje-run.1": "usr/share/man/man1/arje-run.1",
    "docs/man/arje-login.1": "usr/share/man/man1/arje-login.1",
    "docs/man/card.5": "usr/share/man/man5/card.5",
    "ship/deb/README.Debian": "usr/share/doc/arje/README.Debian",
    "ship/deb/lintian-overrides": "usr/share/lintian/overrides/arje",
    "ship/Containerfile": "usr/share/doc/arje/examples/Containerfile",
}
_DIRECTORIES: Final = ("etc/arje/cards.d", "etc/arje/user-cards.d", "usr/lib/arje/cards.d", "usr/lib/arje/user-cards.d")
_COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/arjectl",
    "zsh": "usr/share/zsh/vendor-completions/_arjectl",
    "fish": "usr/share/fish/vendor_completions.d/arjectl.fish",
}


def licenses(site: Path) -> dict[str, str]:
    """Return the licence of each carried package, in its own words."""
    found = {}
    for info in sorted(site.glob("*.dist-info")):
        texts = [path for path in sorted(info.rglob("*")) if path.is_file() and path.name.upper().startswith("LICENSE")]
        if not info.name.startswith("arje-"):
            words = "\n\n".join(_shortened(path.read_text()) for path in texts)
            found[info.name.removesuffix(".dist-info")] = words or _license_field(info)
    return found


def _shortened(text: str) -> str:
    """Debian has the text of the Apache licence already."""
    apache = "Apache License" in text and "TERMS AND CONDITIONS" in text
    return "Apache License, Version 2.0: /usr/share/common-licenses/Apache-2.0" if apache else text


def _license_field(info: Path) -> str:
    lines = (info / "METADATA").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith(("License:", "License-Expression:")))


def trim(site: Path) -> None:
    """Remove what a running arje never imports."""
    for pattern in _LEFT_OUT:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for compiled in site.rglob("*.so"):
        run("strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", compiled)


def lay(root: Path, site: Path) -> None:
    """Put everything that is not a Python package in its place."""
    bin = root / "usr/bin"
    bin.mkdir(parents=True)
    for name, (module, function) in _COMMANDS.items():
        (bin / name).write_text(_LAUNCHER.format(module=module, function=function))
    login = (ROOT / "ship/login/arje-login").read_text().replace("#!python", "#!/usr/bin/python3 -IS", 1)
    path = '\nsys.path.insert(0, "/usr/lib/arje/python")\nfrom arje import paths  # noqa: E402\n'
    (bin / "arje-login").write_text(login.replace("\nfrom arje import paths\n", path, 1))
    for source, target in _FILES.items():
        place = root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, place)
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    shutil.copytree(ROOT / "cards.d", root / "usr/share/doc/arje/examples/cards.d")
    shutil.copytree(ROOT / "docs", root / "usr/share/doc/arje/docs", ignore=shutil.ignore_patterns("man"))
    for shell, target in _COMPLETIONS.items():
        place = root / target
        place.parent.mkdir(parents=True)
        words = ("-c", "import sys; from arje.ctl.main import main; sys.exit(main())", "completion", shell)
        place.write_text(run(wheel.tools(), *words, cwd=site))


def compress(root: Path) -> None:
    """Compress what Debian wants compressed: pages and changelogs."""
    for path in [*root.glob("usr/share/man/*/*"), *root.glob("usr/share/doc/arje/changelog*")]:
        packed = gzip.compress(path.read_bytes(), 9, mtime=0)
        path.with_name(path.name + ".gz").write_bytes(packed)
        path.unlink()


def size(root: Path) -> int:
    """Return how much it takes once installed, in KiB."""
    return sum(path.lstat().st_size + 1023 >> 10 for path in root.rglob("*"))


def settle(root: Path, when: int) -> None:
    """Give every file the modes that Debian has, and the time of the build's source: the same tree, the same package."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        elif not path.is_symlink():
            program = path.parent == root / "usr/bin" or (
                path.parent.name == "DEBIAN" and path.read_bytes()[:2] == b"#!"
            )
            path.chmod(0o755 if program else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)
