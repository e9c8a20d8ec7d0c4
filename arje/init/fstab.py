"""The file systems and swap areas of fstab(5), by mount(8) and swapon(8): they know every option, and their helpers.

The kernel mounts a root read-only where nobody says otherwise; fstab's line for it says how it is meant. File systems of
the network are left to cards: they need one. They are not checked here: an initramfs has done that, or a card does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from arje import native
from arje.kernel import helper

if TYPE_CHECKING:
    from arje.init.boot import Scene

FILE: Final = Path("/etc/fstab")
_LONGEST: Final = 90.0  # seconds for one command: a file system may replay its journal


def lines(path: Path = FILE) -> list[list[str]]:
    """Return the fields of every line; none where there is no file."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return [line.split() for line in text.splitlines() if len(line.split()) > 2 and not line.lstrip().startswith("#")]


def mount_all(scene: Scene) -> str:
    """Mount the root as it is meant, and what else fstab names; swap on. Raises OSError that names what failed."""
    found = lines()
    if not found:
        return ""
    commands = [["mount", "-a", "-O", "no_netdev"]]
    root = next((fields for fields in found if fields[1] == "/"), None)
    if root is not None:
        options = root[3] if len(root) > 3 else "defaults"
        commands.insert(0, ["mount", "-o", f"remount,{options}", "/"])
    if any(fields[2] == "swap" for fields in found):
        commands.append(["swapon", "-a"])
    spawner, refused = native.Spawner(), []
    for program, *words in commands:
        try:
            done = helper.run(spawner, program, words, seconds=_LONGEST)
            told = done.said or f"exit {done.status}" if done.status else ""
        except OSError as error:
            told = error.strerror or str(error)
        if told:
            refused.append(f"{program} {' '.join(words)}: {told}")
    if refused:
        raise OSError("; ".join(refused))
    return ", ".join(" ".join(command) for command in commands)
