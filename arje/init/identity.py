"""The machine's id (machine-id(5)): what tells this installation from all others, made once and kept.

Where /etc cannot be written to it is a file of /run, bound over /etc/machine-id, and another one at the next boot.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arje.native import machine

if TYPE_CHECKING:
    from arje.init.boot import Scene

FILE: Final = Path("/etc/machine-id")
_PASSING: Final = Path("/run/machine-id")
_PRODUCT: Final = Path("/sys/class/dmi/id/product_uuid")


def provide(scene: Scene) -> str:
    """Make sure that there is an id. Raises OSError where not even one for this run can be kept."""
    if _is_id(_text(FILE)):
        return ""
    made = scene.words.machine_id.replace("-", "") if _is_id(scene.words.machine_id.replace("-", "")) else _new(scene)
    try:
        FILE.parent.mkdir(exist_ok=True)
        half = FILE.with_name(".machine-id.new")
        half.write_text(f"{made}\n")
        half.chmod(0o444)
        half.rename(FILE)
    except OSError:
        _PASSING.write_text(f"{made}\n")
        _PASSING.chmod(0o444)
        machine.mount(str(_PASSING), str(FILE), flags=machine.BIND)
        return f"{made}, until the next boot"
    return made


def _new(scene: Scene) -> str:
    """As systemd-machine-id-setup(1): what the container's maker or the virtual machine says, else one by chance."""
    told = _text(_PRODUCT) if not scene.container and _is_guest() else ""
    told = os.environ.get("container_uuid", "") if scene.container else told  # noqa: SIM112 - so it is called
    told = told.strip().replace("-", "").lower()
    return told if _is_id(told) else _by_chance()


def _by_chance() -> str:
    """Return a random id in the form of RFC 9562's version 4, as machine-id(5) has it; the module uuid takes its time."""
    made = bytearray(os.urandom(16))
    made[6] = made[6] & 0x0F | 0x40
    made[8] = made[8] & 0x3F | 0x80
    return made.hex()


def _is_guest() -> bool:
    from arje.kernel import virtualization

    return virtualization.machine() == "kvm"


def _is_id(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{32}", text.strip())) and text.strip("0\n") != ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
