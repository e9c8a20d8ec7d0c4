"""What a machine shows to people by itself: a login prompt on each console, and the shells for when it does not boot.

``getty@.toml`` is a card like any other, in the layer below all (:data:`BUILTIN`). Which terminals there are, and whether
root has a password, is known at boot only: ``gettys``, ``rescue`` and ``emergency`` are written into the runtime directory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from arje import paths
from arje.init import shell
from arje.init.kernel_line import EMERGENCY, RESCUE, Words

BUILTIN: Final = Path(__file__).parent / "cards.d"
GETTYS: Final = "gettys"
_ACTIVE: Final = Path("/sys/class/tty/console/active")
_SHELL: Final = """\
# Made by arje at boot.
description = "{what} on the console"
enabled = false
[payload]
exec = {exec}
argv = {argv}
env = {{ PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME = "/root", TERM = {term} }}
[soma]
controlling_tty = "{tty}"
stdio = {{ stdin = "tty:{tty}", stdout = "tty:{tty}", stderr = "tty:{tty}" }}
[supervision]
restart = "never"
stop = "HUP/2 TERM/2"
"""


def terminals(words: Words, active: Path = _ACTIVE, devices: Path = Path("/dev")) -> list[str]:
    """Return where people log in: each ``console=`` of the kernel line, else what the kernel's console is."""
    names = list(words.consoles)
    if not names:
        try:
            names = active.read_text().split()
        except OSError:
            names = []
    names = ["tty1" if name in ("tty0", "tty") else name for name in names]
    return [name for name in dict.fromkeys(names) if (devices / name).exists()]


def write_cards(directory: Path, words: Words, tty: str) -> None:
    """Write the cards of this boot. Raises OSError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    wants = json.dumps([f"getty@{name}" for name in terminals(words)])
    texts = {GETTYS: f'# Made by arje at boot.\ndescription = "Logins"\npayload = "virtual"\nwants = {wants}\n'}
    command = shell.command(trusted=bool(words.shell))
    if command:
        for label, what in ((RESCUE, "Rescue shell"), (EMERGENCY, "Emergency shell")):
            exec, argv = json.dumps(command[0]), json.dumps(command[1:])
            term = json.dumps(os.environ.get("TERM", "linux"))
            texts[label] = _SHELL.format(what=what, exec=exec, argv=argv, term=term, tty=tty)
    for label, text in texts.items():
        half = directory / f".{label}.new"
        half.write_text(text)
        half.rename(directory / f"{label}.toml")


def generated(runtime_dir: Path) -> Path:
    """Return where the cards of a boot are written."""
    return runtime_dir / paths.CARDS_NAME


def is_ours(file: str, runtime_dir: Path) -> bool:
    """Whether a card's file is one that arje itself brought: a machine with no other has nothing to do."""
    path = Path(file)
    return path.parent == BUILTIN or (
        path.parent == generated(runtime_dir) and path.stem in (GETTYS, RESCUE, EMERGENCY)
    )
