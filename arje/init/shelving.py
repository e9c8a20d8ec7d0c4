"""``python3 -m arje.init.shelving [FILE]``: import the manager, and keep what that compiled (readymade.py)."""

from __future__ import annotations

import sys
from pathlib import Path

from arje import later, readymade


def main(file: Path = readymade.FILE) -> None:
    """Fill a shelf by importing the manager, and write it. Raises OSError."""
    later.put_off()
    shelf = readymade.Shelf({}, fill=True)
    with readymade.used(shelf), later.no_search_for_threads():
        import arje.init.daemon
        import arje.init.duties  # noqa: F401 - what matters is what they import
    readymade.save(shelf, file)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:2]))
