"""Modules that are to be loaded at boot: modules-load.d(5) and ``modules_load=`` of the kernel line, by modprobe(8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arje import native
from arje.init import settings
from arje.kernel import helper

if TYPE_CHECKING:
    from arje.init.boot import Scene

_DIRECTORIES: Final = (
    *("/etc/modules-load.d", "/run/modules-load.d", "/usr/local/lib/modules-load.d", "/usr/lib/modules-load.d"),
    "/lib/modules-load.d",
)
_LONGEST: Final = 60.0  # seconds; a driver may look long for its device, and none may hold the boot


def load(scene: Scene) -> str:
    """Load every module. Raises OSError that names those refused, when all were tried."""
    wanted = names(_DIRECTORIES, scene.words.modules)
    if not wanted:
        return ""
    spawner, refused = native.Spawner(), []
    for name in wanted:
        done = helper.run(spawner, "modprobe", ["-b", "-q", name], seconds=_LONGEST)
        if done.status:
            refused.append(f"{name} ({done.said or f'exit {done.status}'})")
    if refused:
        raise OSError(f"{len(refused)} of {len(wanted)} not loaded: {', '.join(refused)}")
    return " ".join(wanted)


def names(directories: tuple[str, ...], more: Sequence[str] = ()) -> list[str]:
    """Return the modules by name, each once, those of the kernel line first."""
    found = list(more)
    for path in settings.files(directories, ".conf"):
        found += _named(path)
    return list(dict.fromkeys(found))


def _named(path: Path) -> list[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and line.strip()[0] not in "#;"]
