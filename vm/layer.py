"""What one machine has beside the common initramfs: cards, compiled ahead, and whatever else it is given.

Cards are judged here with the paths that they have in the machine, so that arje there takes them from its cache without
importing what judges cards. The cache is believed only for files of that very content, by an arje of that very content.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PosixPath
from types import MappingProxyType
from typing import Final

from vm import image, python
from vm.cpio import Tree

CARDS: Final = "/etc/arje/cards.d"
CACHE: Final = "/var/cache/arje/cards.cache"
#: What gives a shell in the machine, and where people sit at it.
SHELL: Final = ("/bin/sh", "-l")
TERMINALS: Final = ("ttyS0",)


def of_cards(cards: Path | None, more: Mapping[str, str] = MappingProxyType({})) -> Tree:
    """Return a layer with the cards of a directory, drop-ins and all, ``more`` by their names, and what they came to."""
    tree = Tree()
    tree.directory(CARDS)
    for name, text in more.items():
        tree.file(f"{CARDS}/{name}", text.encode())
    for path in sorted(cards.rglob("*") if cards is not None else ()):
        if path.is_file():
            tree.file(f"{CARDS}/{path.relative_to(cards)}", path.read_bytes())  # type: ignore[arg-type]
    tree.file(CACHE, compiled(tree), 0o600)
    return tree


def compiled(tree: Tree) -> bytes:
    """Return the cache of the cards in a tree, as arje writes it: a process of its own judges them.

    Raises CalledProcessError.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path, entry in tree.entries.items():
            if path.startswith(CARDS + "/") and entry.mode & 0o170000 == 0o100000:
                (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
                (root / path[1:]).write_bytes(entry.data)
        out = root / "cache"
        words = [sys.executable, "-m", "vm.layer", str(root), str(out)]
        subprocess.run(words, cwd=image.ROOT, env=os.environ | {"PYTHONHASHSEED": "0"}, check=True)
        return out.read_bytes()


def write(path: Path, *trees: Tree) -> None:
    """Write an initramfs: the common one, and layers over it. Raises NoMachine, CalledProcessError, OSError."""
    path.write_bytes(image.initramfs().read_bytes() + b"".join(tree.encode() for tree in trees))


def _compile(root: str, out: Path) -> None:
    """Judge the cards below ``root``, the ones that come with arje, and those that a boot here writes (consoles.py)."""
    from arje import paths
    from arje.card import cache, shelf
    from arje.card.specifiers import Surroundings
    from arje.init import consoles, kernel_line, shell

    class Inside(PosixPath):
        """A path as it is in the machine, whose file lies below ``root`` here."""

        def __fspath__(self) -> str:
            return root + str(self)

    own = Path(python.site_packages()) / consoles.BUILTIN.relative_to(image.ROOT)
    shutil.copytree(consoles.BUILTIN, f"{root}{own}")
    shell.command = lambda **_: list(SHELL)  # what is here says nothing of there
    consoles.terminals = lambda *_: list(TERMINALS)
    os.environ["TERM"] = "linux"
    generated = consoles.generated(paths.SYSTEM_RUNTIME)
    consoles.write_cards(Path(f"{root}{generated}"), kernel_line.parse(""), "/dev/console")
    layers = (own, paths.SYSTEM_RUNTIME / paths.TRANSIENT_NAME, *paths.SYSTEM_CARDS)
    memory = shelf.Memory(Surroundings(user=False))
    shelf.load_dirs([Inside(place) for place in layers], memory)
    cache.save(out, memory.known)


if __name__ == "__main__":
    _compile(sys.argv[1], Path(sys.argv[2]))
