"""What one machine has beside the common initramfs: cards, compiled ahead, and whatever else it is given.

Cards are judged here with the paths that they have in the machine, so that arje there takes them from its cache without
importing what judges cards. The cache is believed only for files of that very content, by an arje of that very content.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path, PosixPath
from typing import Final

from vm import image
from vm.cpio import Tree

CARDS: Final = "/etc/arje/cards.d"
CACHE: Final = "/var/cache/arje/cards.cache"


def of_cards(cards: Path) -> Tree:
    """Return a layer with the cards of a directory, drop-ins and all, and what they came to."""
    tree = Tree()
    tree.directory(CARDS)
    for directory, _, names in os.walk(cards):
        for name in names:
            path = Path(directory, name)
            tree.file(f"{CARDS}/{path.relative_to(cards)}", path.read_bytes())
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
    from arje import paths
    from arje.card import cache, shelf
    from arje.card.specifiers import Surroundings

    class Inside(PosixPath):
        """A path as it is in the machine, whose file lies below ``root`` here."""

        def __fspath__(self) -> str:
            return root + str(self)

    memory = shelf.Memory(Surroundings(user=False))
    shelf.load_dirs([Inside(place) for place in paths.SYSTEM_CARDS], memory)
    cache.save(out, memory.known)


if __name__ == "__main__":
    _compile(sys.argv[1], Path(sys.argv[2]))
