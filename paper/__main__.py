"""``python -m paper [--check | screen | fill FILE…]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from paper import ROOT, outdated, outputs


def main(words: list[str]) -> int:
    """Write what is made from code, or tell what is old. Returns the exit status."""
    if words == ["--check"]:
        for name in (old := outdated()):
            print(f"{name} is old: make paper")
        return 1 if old else 0
    if words[:1] == ["fill"]:
        from paper.transcript import fill

        for name in words[1:]:
            fill(Path(name), Path(tempfile.mkdtemp(prefix="arje-doc.", dir="/dev/shm")))
        return 0
    if words == ["screen"]:
        from paper.screen import write

        write()
        return 0
    for name, make in outputs().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
    return 0


sys.exit(main(sys.argv[1:]))
