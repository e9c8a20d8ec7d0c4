"""The words of the .deb: control, maintainer scripts, changelog and copyright."""

from __future__ import annotations

import hashlib
import os
from email.utils import formatdate
from pathlib import Path
from typing import Final

from arje import __version__
from ship import ROOT

_MAINTAINER: Final = "The arje authors <arje@localhost>"
_CONTROL: Final = """Package: arje
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {next}~), {libraries}, libseccomp2
Recommends: uidmap, passt
Suggests: bash-completion
Section: admin
Priority: optional
Description: init and service supervisor whose isolation is verified and reported
 arje starts services from cards, keeps them, and says what isolation each of
 them really has: what a card asks for is read back from the kernel, and for
 every difference there is a typed reason with its remedy.
 .
 It runs as PID 1 of a container, as a system's or a user's manager beside any
 other init, or for one command (arje run). arjectl is the hand on it.
 .
 The Python packages that it needs newer than this Debian has them are carried
 in /usr/lib/arje and used by nothing else.
"""
_CONFFILES: Final = "/etc/profile.d/arje.sh\n/etc/X11/Xsession.d/60arje\n"
_POSTINST: Final = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    python3 -IS -m compileall -q /usr/lib/arje/python
    cd /usr/lib/arje/python
    python3 -BS -m arje.init.shelving
fi
"""
_PRERM: Final = """#!/bin/sh
set -e
if [ "$1" = remove ]; then
    if [ "$(cat /run/arje/lock 2>/dev/null)" = 1 ]; then
        echo "arje is process 1 of this system: boot another init first" >&2
        exit 1
    fi
    if [ -d /run/systemd/system ]; then
        deb-systemd-invoke stop arje.service || true
    fi
    # One that a hand has started: its services end with it, before its files go.
    pid=$(cat /run/arje/lock 2>/dev/null || true)
    if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then
        while kill -0 "$pid" 2>/dev/null && [ -e /run/arje/lock ]; do sleep 0.1; done
    fi
fi
find /usr/lib/arje/python -name __pycache__ -prune -exec rm -rf '{}' +
rm -f /usr/lib/arje/python/arje/readymade.codes
"""
_POSTRM: Final = """#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /etc/arje /var/lib/arje /var/cache/arje /run/arje
    rm -f /etc/systemd/system/multi-user.target.wants/arje.service
fi
"""
_COPYRIGHT: Final = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: arje

Files: *
Copyright: 2026 the arje authors
License: Expat

Files: /usr/lib/arje/python/*
Copyright: the authors of the packages named below
License: various
Comment: arje itself is under the licence above; the packages that it carries from
 PyPI are under their own, which follow here.

License: Expat
{own}
License: various
{others}"""


def version() -> str:
    """Return the version of the package: arje's own, and the packaging's."""
    return f"{__version__}-1"


def digest(path: Path) -> str:
    """Return the MD5 of a file: what ``md5sums`` holds, no secret depends on it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def texts(arch: str, python: str, libraries: str, licenses: dict[str, str], size: int) -> dict[str, str]:
    """Return each control file, and the documents that Debian wants, by name or path."""
    major, minor = python.split(".")
    date = formatdate(int(os.environ["SOURCE_DATE_EPOCH"]))
    return {
        "control": _CONTROL.format(
            version=version(),
            arch=arch,
            maintainer=_MAINTAINER,
            size=size,
            python=python,
            next=f"{major}.{int(minor) + 1}",
            libraries=libraries,
        ),
        "conffiles": _CONFFILES,
        "postinst": _POSTINST,
        "prerm": _PRERM,
        "postrm": _POSTRM,
        "usr/share/doc/arje/changelog.Debian": (
            f"arje ({version()}) unstable; urgency=medium\n\n  * Built from the tree; see changelog.gz.\n\n"
            f" -- {_MAINTAINER}  {date}\n"
        ),
        "usr/share/doc/arje/changelog": (ROOT / "CHANGELOG.md").read_text(),
        "usr/share/doc/arje/copyright": _COPYRIGHT.format(
            own=_indented((ROOT / "LICENSE").read_text()),
            others="\n .\n".join(f" {name}:\n .\n{_indented(text)}" for name, text in licenses.items()),
        ),
    }


def _indented(text: str) -> str:
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines()) + "\n"
